//! Output: data to stdout, messages and errors to stderr, as the options, the terminal and `NO_COLOR` say.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cli_error::CliError;

/// Prints to the person who typed the command. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Printer {
    /// Print data as one JSON document.
    pub json: bool,
    quiet: bool,
    color: bool,
    /// Whether the JSON document was printed.
    documented: Arc<AtomicBool>,
}

impl Printer {
    pub fn new(json: bool, quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, quiet, color: !plain && io::stdout().is_terminal(), documented: Arc::default() }
    }

    /// Prints a line to stdout. A closed stdout is no error.
    ///
    /// # Errors
    /// When writing fails for another reason, such as a full disk.
    pub fn data(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::failed(format!("failed to write the output: {error}"), "check where the output goes"))
            }
            _ => Ok(()),
        }
    }

    /// Prints one JSON document to stdout.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn document(&self, document: &impl Serialize) -> Result<(), CliError> {
        self.documented.store(true, Ordering::Relaxed);
        self.data(&serde_json::to_string_pretty(document).expect("our documents have text keys"))
    }

    /// Prints a document with `--json`, else text.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn either(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.json { self.document(document) } else { self.data(&text()) }
    }

    /// Prints a message to stderr, unless `--quiet`.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            to_stderr(text.as_ref());
        }
    }

    /// Prints an error and its hint to stderr; with `--json` also as a document to stdout, unless one was printed.
    pub fn error(&self, error: &CliError) {
        if self.json && !self.documented.load(Ordering::Relaxed) {
            let _ = self.document(&serde_json::json!({ "error": error.document() })); // There is nowhere else to report it.
        }
        to_stderr(&format!("error: {}\nhint: {}", error.message, error.hint));
    }

    /// Whether progress can be shown.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Asks a yes-or-no question. `None` without a terminal to ask on.
    pub fn confirm(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        eprint!("{question} [y/N] ");
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        Some(read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Formats a heading: bold on a terminal.
    pub fn heading(&self, text: &str) -> String {
        if self.color { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
    }

    /// Formats a table: aligned columns, two spaces apart.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> String {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        let mut lines = vec![self.heading(&line(&mut headings.iter().copied()))];
        lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
        lines.join("\n")
    }

    /// Formats names and values, the values aligned.
    pub fn pairs(&self, pairs: &[(&str, String)]) -> String {
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let lines = pairs.iter().map(|(name, value)| {
            let indent = format!("\n{:width$}  ", "");
            format!("{}  {}", self.heading(&format!("{name:<width$}")), value.replace('\n', &indent))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Prints a line to stderr; a closed stderr is ignored.
fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Formats a duration in at most two units: `45s`, `3m 0s`, `2h 5m`, `4d 1h`.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m {}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// Formats a value that may be unknown: `-`.
pub fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Makes untrusted text safe for a terminal: control characters become `\u{…}`.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Printer {
        Printer { json: false, quiet: false, color: false, documented: Arc::default() }
    }

    #[test]
    fn tables_are_aligned_without_trailing_space() {
        let rows = [vec!["chat".into(), "ready".into()], vec!["é".into(), "x".into()]];
        assert_eq!(plain().table(&["ID", "STATE"], &rows), "ID    STATE\nchat  ready\né     x");
        assert_eq!(plain().pairs(&[("a", "1\n2".into()), ("long", "3".into())]), "a     1\n      2\nlong  3");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [(5, "5s"), (65, "1m 5s"), (7500, "2h 5m"), (90_000, "1d 1h")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
