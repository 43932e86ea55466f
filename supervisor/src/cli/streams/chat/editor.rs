//! The line that is being typed on a terminal, and how something is printed above it. The editor tells [`Above`] at
//! each key what it shows; `Above` clears that, prints, and draws it again. (The editor's own printer would not do: of
//! several keys that arrive at once, it leaves all but the first until another one comes.)

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Editor, Helper};
use unicode_width::UnicodeWidthChar;

/// Before what is typed.
pub(super) const PROMPT: &str = "> ";
/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// The editor of a conversation.
pub(super) type LineEditor = Editor<Follower, MemHistory>;

/// Makes an editor that tells `above` what it shows. It stays on the thread that made it.
///
/// # Errors
/// When the terminal cannot be used for that.
pub(super) fn editor(above: Above) -> rustyline::Result<LineEditor> {
    let config = Config::builder().auto_add_history(true).build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(Follower(above)));
    Ok(editor)
}

/// Prints above the line that is being typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Above(Arc<Mutex<Option<Typing>>>);

/// What the editor shows after the prompt, and the cursor's place in it, bytes.
#[derive(Debug)]
struct Typing {
    line: String,
    cursor: usize,
}

impl Above {
    fn typing(&self) -> MutexGuard<'_, Option<Typing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a text, which has returned when it is printed.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let typing = self.typing();
        let columns = terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| usize::from(width.0).max(1));
        let output = match &*typing {
            Some(Typing { line, cursor }) => redrawn(text, line, *cursor, columns),
            None => format!("{text}\n"),
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(output.as_bytes())?;
        stdout.flush()
    }

    /// Notes that no line is being typed.
    pub(super) fn done(&self) {
        *self.typing() = None;
    }
}

/// Clears the line, prints `text`, and draws the line and the cursor again.
fn redrawn(text: &str, line: &str, cursor: usize, columns: usize) -> String {
    let before = place(line.get(..cursor).unwrap_or(line), columns);
    let end = place(line, columns);
    let up = |rows: usize| if rows > 0 { format!("\x1b[{rows}A") } else { String::new() };
    let right = if before.1 > 0 { format!("\x1b[{}C", before.1) } else { String::new() };
    let wrapped = if end.1 == 0 && !line.ends_with('\n') { "\n" } else { "" };
    format!("{}\r\x1b[J{text}\n{PROMPT}{line}{wrapped}{}\r{right}", up(before.0), up(end.0 - before.0))
}

/// The row and column behind the prompt and `line`.
fn place(line: &str, columns: usize) -> (usize, usize) {
    let (mut row, mut column) = (0, 0);
    for character in PROMPT.chars().chain(line.chars()) {
        let width = character.width().unwrap_or(0);
        if character == '\n' || column + width > columns {
            (row, column) = (row + 1, 0);
        }
        column += width;
        if column == columns {
            (row, column) = (row + 1, 0);
        }
    }
    (row, column)
}

/// Follows what the editor shows.
#[derive(Debug)]
pub(super) struct Follower(Above);

impl Highlighter for Follower {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        *self.0.typing() = Some(Typing { line: line.to_owned(), cursor: pos });
        Cow::Borrowed(line)
    }

    /// Each key draws the line: that is when this is told of it.
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

impl Completer for Follower {
    type Candidate = String;
}

impl Hinter for Follower {
    type Hint = String;
}

impl Validator for Follower {}

impl Helper for Follower {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_cleared_and_drawn_again_with_the_cursor_where_it_was() {
        assert_eq!(redrawn("news", "hello", 5, 80), "\r\x1b[Jnews\n> hello\r\x1b[7C");
        assert_eq!(redrawn("news", "hello", 2, 80), "\r\x1b[Jnews\n> hello\r\x1b[4C");
        assert_eq!(redrawn("news", "", 0, 80), "\r\x1b[Jnews\n> \r\x1b[2C");
        // 10 columns: `> 12345678` fills the first row, the cursor is on the second.
        assert_eq!(redrawn("news", "12345678", 8, 10), "\x1b[1A\r\x1b[Jnews\n> 12345678\n\r");
        assert_eq!(redrawn("news", "123456789012", 3, 10), "\r\x1b[Jnews\n> 123456789012\x1b[1A\r\x1b[5C");
    }

    #[test]
    fn place_counts_wide_characters_and_wraps_them_whole() {
        assert_eq!(place("日本", 80), (0, 6));
        assert_eq!(place("1日", 4), (1, 2), "it does not fit into the last column");
        assert_eq!(place("one\ntwo", 80), (1, 3));
    }
}
