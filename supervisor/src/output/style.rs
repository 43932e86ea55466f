//! Colours of words for states: green for what works, yellow for what is under way or worse than it could be, red for
//! what does not work, dim for what is at rest.

use anstyle::{AnsiColor, Style};

/// Headings and names of values.
pub const HEADING: Style = Style::new().bold();
/// What works.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is under way, or works worse than it could.
pub const UNSURE: Style = AnsiColor::Yellow.on_default();
/// What does not work.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is at rest.
pub const QUIET: Style = Style::new().dimmed();

/// The style of a word for a state. What follows the word, as in `connected, protected`, does not matter.
pub fn of_state(state: &str) -> Style {
    match state.split([',', ' ', ':', ';']).next().unwrap_or_default() {
        "ready" | "connected" | "ok" | "working" | "running" | "public" => GOOD,
        "starting" | "stopping" | "backoff" | "warning" | "asking" => UNSURE,
        "failed" | "failing" | "blocked" | "banned" | "PROBLEM" => BAD,
        "stopped" | "idle" | "known" | "named" | "off" | "info" => QUIET,
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_decides() {
        assert_eq!(of_state("connected, protected"), GOOD);
        assert_eq!(of_state("banned for 5m 0s"), BAD);
        assert_eq!(of_state("idle"), QUIET);
        assert_eq!(of_state("what nobody knows"), Style::new());
    }
}
