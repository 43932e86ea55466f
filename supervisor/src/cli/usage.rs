//! Errors in the arguments: the parser's own text, or with `--json` a document as for any other error. Help and
//! version, which the parser reports as errors too, are printed and succeed.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::cli_error::{CliError, Exit};
use crate::output::Printer;

/// Prints the error, or the help that was asked for. Returns the exit code of the process.
pub(super) fn report(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print(); // A closed stdout is no error.
        return ExitCode::SUCCESS;
    }
    if wants_json(std::env::args_os().skip(1)) {
        Printer::new(true, false).error(&cli_error(error));
    } else {
        let _ = error.print(); // There is nowhere else to report it.
    }
    ExitCode::from(Exit::Usage.code())
}

/// Whether `--json` is among the options of this program; those after `--` belong to another one.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.take_while(|argument| argument != OsStr::new("--")).any(|argument| argument == OsStr::new("--json"))
}

/// The parser's text has paragraphs: the error, possibly a tip, the usage, a reference to `--help`.
fn cli_error(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let usage = text.lines().find(|line| line.starts_with("Usage: ")).unwrap_or_default();
        return CliError::usage("a command is missing", more(usage));
    }
    let message = paragraphs.next().unwrap_or_default();
    let rest: Vec<String> = paragraphs.collect();
    let starting = |with: &str| rest.iter().find_map(|paragraph| paragraph.strip_prefix(with));
    let hint = starting("tip: ").map_or_else(|| more(starting("Usage: ").unwrap_or_default()), str::to_owned);
    CliError::usage(message.strip_prefix("error: ").unwrap_or(&message), hint)
}

fn more(usage: &str) -> String {
    match usage.strip_prefix("Usage: ").unwrap_or(usage) {
        "" => "see `polypeer --help`".to_owned(),
        usage => format!("usage: {usage}; --help says more"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn of(line: &str) -> CliError {
        cli_error(&Cli::try_parse_from(line.split(' ')).expect_err("it makes no sense"))
    }

    #[test]
    fn one_line_says_what_is_wrong_and_one_what_to_do() {
        for (line, message, hint) in [
            ("polypeer frobnicate", "unrecognized subcommand 'frobnicate'", "usage: polypeer [OPTIONS] <COMMAND>"),
            ("polypeer statu", "unrecognized subcommand 'statu'", "'status'"),
            ("polypeer status --al", "unexpected argument '--al' found", "usage: polypeer status [OPTIONS]"),
            ("polypeer pipe", "were not provided: <PEER> <PROTOCOL>", "usage: polypeer pipe <PEER> <PROTOCOL>"),
            ("polypeer peers ping Bob", "expected a name, a node id or its start, a ticket", "--help"),
            ("polypeer plugin", "a command is missing", "usage: polypeer plugin"),
        ] {
            let error = of(line);
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(message) && error.hint.contains(hint), "{line}: {error:?}");
            assert!(!error.message.contains('\n') && !error.message.starts_with("error"), "{line}: {error:?}");
            assert!(!error.hint.contains('\n'), "{line}: {error:?}");
        }
    }

    #[test]
    fn options_of_a_served_command_are_its_own() {
        let wants = |line: &str| wants_json(line.split(' ').map(OsString::from));
        assert!(wants("--json frobnicate") && wants("status --al --json"));
        assert!(!wants("serve echo/1 --foo -- cat --json") && !wants("status"));
    }
}
