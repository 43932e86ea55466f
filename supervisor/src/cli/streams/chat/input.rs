//! What is typed: lines of a pipe, or of the terminal's editor, with its commands.

use std::io::IsTerminal;
use std::thread;

use rustyline::error::ReadlineError;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use super::HISTORY;
use super::editor::{Above, PROMPT, editor};
use crate::cli_error::CliError;

/// Longest line, bytes: the longest message of the app.
const MAX_TEXT: usize = 64 << 10;
/// The commands of a conversation on a terminal.
pub(super) const HELP: &str = "/history [N]  print the newest messages\n/quit         leave, as Ctrl-D does\n\
                               //text        send a line that begins with /";

/// Lines until the end of the input, or why it cannot be read.
pub(super) type Lines = mpsc::Receiver<Result<String, CliError>>;

/// Whether a person sits at both ends.
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Reads stdin line by line; the next line is read once the last was taken.
pub(super) fn of_pipe() -> Lines {
    let (lines, read) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut stdin = BufReader::new(tokio::io::stdin());
        while let Some(line) = line(&mut stdin).await {
            let last = line.is_err();
            if lines.send(line).await.is_err() || last {
                return;
            }
        }
    });
    read
}

async fn line(stdin: &mut BufReader<tokio::io::Stdin>) -> Option<Result<String, CliError>> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX);
    match stdin.take(limit + 1).read_until(b'\n', &mut line).await {
        Ok(0) => None,
        Ok(_) if line.len() > MAX_TEXT && !line.ends_with(b"\n") => Some(Err(too_long())),
        Ok(_) => Some(
            String::from_utf8(line)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|_| CliError::usage("the input is not UTF-8 text", "send it as a file: `polypeer send`")),
        ),
        Err(error) => {
            Some(Err(CliError::failed(format!("failed to read stdin: {error}"), "check what it is connected to")))
        }
    }
}

fn too_long() -> CliError {
    CliError::usage(format!("a line is longer than {MAX_TEXT} bytes"), "send it as a file: `polypeer send`")
}

/// Reads lines from the terminal's editor, on a thread of its own; also returns what prints above the line.
pub(super) fn of_terminal() -> (Lines, Above) {
    let (lines, read) = mpsc::channel(1);
    let above = Above::default();
    let follows = above.clone();
    thread::spawn(move || {
        let unusable = |error: ReadlineError| {
            CliError::failed(format!("failed to read the terminal: {error}"), "check the terminal")
        };
        let mut editor = match editor(follows.clone()) {
            Ok(editor) => editor,
            Err(error) => return drop(lines.blocking_send(Err(unusable(error)))),
        };
        loop {
            let line = editor.readline(PROMPT);
            follows.done();
            let line = match line {
                Ok(line) if line.len() > MAX_TEXT => Err(too_long()),
                Ok(line) => Ok(line),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
                Err(error) => Err(unusable(error)),
            };
            let last = line.is_err();
            if lines.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    (read, above)
}

/// A line typed on a terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Text(String),
    Help,
    History(u32),
    Quit,
    /// A command that there is not; it is not sent by mistake.
    Unknown(String),
    Nothing,
}

/// Tells commands from text.
pub(super) fn parse(line: &str) -> Typed {
    let Some(command) = line.strip_prefix('/') else {
        return if line.is_empty() { Typed::Nothing } else { Typed::Text(line.to_owned()) };
    };
    if command.starts_with('/') {
        return Typed::Text(command.to_owned());
    }
    let mut words = command.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("help"), None, None) => Typed::Help,
        (Some("quit"), None, None) => Typed::Quit,
        (Some("history"), None, None) => Typed::History(HISTORY),
        (Some("history"), Some(count), None) => {
            count.parse().ok().filter(|count| *count > 0).map_or(Typed::Unknown(line.to_owned()), Typed::History)
        }
        _ => Typed::Unknown(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_not_sent_by_mistake() {
        for (line, typed) in [
            ("hello", Typed::Text("hello".into())),
            ("", Typed::Nothing),
            ("/help", Typed::Help),
            ("/quit", Typed::Quit),
            ("/history", Typed::History(20)),
            ("/history 5", Typed::History(5)),
            ("/history many", Typed::Unknown("/history many".into())),
            ("/halp", Typed::Unknown("/halp".into())),
            ("/", Typed::Unknown("/".into())),
            ("//etc/passwd", Typed::Text("/etc/passwd".into())),
        ] {
            assert_eq!(parse(line), typed, "{line}");
        }
    }
}
