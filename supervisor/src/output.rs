//! Output: data to stdout, messages and errors to stderr, as the options, the terminal, `NO_COLOR` and `TERM` say. On a
//! terminal, tables fit its width (`table`) and words for states have colours ([`style`]); what goes elsewhere is
//! complete and plain.

pub mod style;
mod table;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::Style;
use serde::Serialize;
use tracing::Level;

pub use table::{Column, cut};

use crate::cli_error::CliError;
use crate::home::Home;
use crate::logging;
pub use crate::terminal::clean;
use crate::terminal::shows_colors;

/// Narrowest terminal that output is fitted to, columns; on a narrower one it is cut as if it were this wide.
const NARROWEST: usize = 40;

/// Prints to the person who typed the command. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Printer {
    /// Print data as one JSON document.
    pub json: bool,
    quiet: bool,
    /// Whether stdout shows colours.
    color: bool,
    /// Whether stderr shows colours.
    colors_errors: bool,
    /// Columns of the terminal that stdout is; `None` means that output is complete.
    width: Option<usize>,
    /// Whether something was printed to stdout: an error is no document after that.
    printed: Arc<AtomicBool>,
    /// The `--home` of this command, which the commands in hints keep.
    home: Option<Home>,
}

impl Printer {
    pub fn new(json: bool, quiet: bool) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let width = stdout.is_terminal().then(|| terminal_size::terminal_size_of(&stdout)).flatten();
        Self {
            json,
            quiet,
            color: shows_colors(&stdout),
            colors_errors: shows_colors(&stderr),
            width: width.map(|(width, _)| usize::from(width.0).max(NARROWEST)).filter(|_| !json),
            printed: Arc::default(),
            home: None,
        }
    }

    /// The same printer; if `wide`, its tables and texts are complete, however wide the terminal is.
    #[must_use]
    pub fn wide(&self, wide: bool) -> Self {
        Self { width: self.width.filter(|_| !wide), ..self.clone() }
    }

    /// Columns that output is fitted to; `None` when it is complete, as into a pipe.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// The same printer for a command that was given `--home`.
    #[must_use]
    pub fn on(&self, home: Home) -> Self {
        Self { home: Some(home), ..self.clone() }
    }

    /// The command line that runs `words` on the node of this command.
    pub fn command(&self, words: &str) -> String {
        self.home.as_ref().map_or_else(|| format!("polypeer {words}"), |home| home.command(words))
    }

    /// A hint whose commands in `` `polypeer …` `` keep the `--home` of this command. Without it, they would be about
    /// another node.
    pub fn hint(&self, text: &str) -> String {
        match &self.home {
            Some(home) => text
                .replace("`polypeer --home", "`polypeer\0")
                .replace("`polypeer ", &format!("`{} ", home.command("").trim_end()))
                .replace("`polypeer\0", "`polypeer --home"),
            None => text.into(),
        }
    }

    /// Prints a line to stdout. A closed stdout is no error.
    ///
    /// # Errors
    /// When writing fails for another reason, such as a full disk.
    pub fn data(&self, text: &str) -> Result<(), CliError> {
        self.raw();
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::failed(format!("failed to write the output: {error}"), "check where the output goes"))
            }
            _ => Ok(()),
        }
    }

    /// Notes that a command writes its data to stdout itself.
    pub fn raw(&self) {
        self.printed.store(true, Ordering::Relaxed);
    }

    /// Prints one JSON document to stdout.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn document(&self, document: &impl Serialize) -> Result<(), CliError> {
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
            logging::announce(Level::INFO, &self.hint(text.as_ref()));
        }
    }

    /// Prints an error and its hint to stderr; with `--json` also as a document to stdout, unless something was printed
    /// there: it never mixes with data.
    pub fn error(&self, error: &CliError) {
        let hint = self.hint(&error.hint);
        if self.json && !self.printed.load(Ordering::Relaxed) {
            let told = CliError { hint: hint.clone(), ..error.clone() };
            let _ = self.document(&serde_json::json!({ "error": told.document() })); // There is nowhere else to report it.
        }
        let named = |style: Style, name: &str| if self.colors_errors { painted(style, name) } else { name.to_owned() };
        let (bad, next) = (named(style::BAD, "error:"), named(style::HEADING, "hint:"));
        logging::announce(Level::ERROR, &format!("{bad} {}\n{next} {hint}", error.message));
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
        let mut stderr = io::stderr();
        let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()); // The answer shows whether it was seen.
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        Some(read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Formats a heading: bold on a terminal.
    pub fn heading(&self, text: &str) -> String {
        self.paint(style::HEADING, text)
    }

    /// Formats a word for a state: in its colour on a terminal.
    pub fn state(&self, text: &str) -> String {
        self.paint(style::of_state(text), text)
    }

    /// Formats a text in a style, on a terminal.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.color { painted(style, text) } else { text.into() }
    }

    /// Formats a table: aligned columns, two spaces apart. On a terminal, columns are dropped and cut until it fits.
    pub fn table<C: Into<Column> + Copy>(&self, columns: &[C], rows: &[Vec<String>]) -> String {
        let columns: Vec<Column> = columns.iter().map(|column| (*column).into()).collect();
        let mut lines = table::lines(&columns, rows, self.width).into_iter();
        let plain = |line: Vec<(Column, String)>| {
            let cells: Vec<_> = line.into_iter().map(|(_, cell)| cell).collect();
            cells.join("  ").trim_end().to_owned()
        };
        let heading = lines.next().map(plain).unwrap_or_default();
        let rows = lines.map(|line| {
            let cells = line.into_iter().map(|(column, cell)| match column.is_state && self.color {
                true => (column, self.state(&cell)),
                false => (column, cell),
            });
            plain(cells.collect())
        });
        [self.heading(&heading)].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }

    /// Formats a text that begins after `indent` columns: on a terminal, broken at spaces, the further lines indented
    /// as much.
    pub fn wrapped(&self, text: &str, indent: usize) -> String {
        let Some(columns) = self.width else { return text.to_owned() };
        table::wrap(text, columns.saturating_sub(indent)).join(&format!("\n{:indent$}", ""))
    }

    /// Formats names and values, the values aligned and, on a terminal, broken at spaces.
    pub fn pairs(&self, pairs: &[(&str, String)]) -> String {
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let lines = pairs.iter().map(|(name, value)| {
            let indent = format!("\n{:width$}  ", "");
            let lines: Vec<_> = value.split('\n').map(|line| self.wrapped(line, width + 2)).collect();
            format!("{}  {}", self.heading(&format!("{name:<width$}")), lines.join(&indent))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Printer {
        Printer {
            json: false,
            quiet: false,
            color: false,
            colors_errors: false,
            width: None,
            printed: Arc::default(),
            home: None,
        }
    }

    #[test]
    fn tables_are_aligned_without_trailing_space() {
        let rows = [vec!["chat".into(), "ready".into()], vec!["é".into(), "x".into()]];
        assert_eq!(plain().table(&["ID", "STATE"], &rows), "ID    STATE\nchat  ready\né     x");
        assert_eq!(plain().pairs(&[("a", "1\n2".into()), ("long", "3".into())]), "a     1\n      2\nlong  3");
        let narrow = Printer { width: Some(10), ..plain() };
        assert_eq!(narrow.pairs(&[("a", "one two three".into())]), "a  one two\n   three");
        assert_eq!(narrow.table(&["ID", "STATE"], &[vec!["a".into(), "x".repeat(20)]]), "ID  STATE\na   xxxxxxx…");
        assert_eq!(narrow.wide(true).table(&["ID"], &[vec!["x".repeat(20)]]), format!("ID\n{}", "x".repeat(20)));
    }

    #[test]
    fn states_have_colours_where_colours_are_shown() {
        let colored = Printer { color: true, ..plain() };
        let columns = [Column::kept("ID"), Column::state("STATE")];
        let table = colored.table(&columns, &[vec!["a".into(), "ready".into()]]);
        assert_eq!(table, "\x1b[1mID  STATE\x1b[0m\na   \x1b[32mready\x1b[0m");
        assert_eq!(plain().table(&columns, &[vec!["a".into(), "ready".into()]]), "ID  STATE\na   ready");
    }

    #[test]
    fn hints_keep_the_home_of_their_command() {
        let printer = plain().on(Home::at("/x y"));
        let told = printer.hint("see `polypeer logs`, or start `polypeer --home /z run`; polypeer is fine");
        assert_eq!(told, "see `polypeer --home '/x y' logs`, or start `polypeer --home /z run`; polypeer is fine");
        assert_eq!(plain().hint("see `polypeer logs`"), "see `polypeer logs`");
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
