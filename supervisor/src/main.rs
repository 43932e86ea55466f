//! The polypeer command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: these are single-threaded helpers of a running daemon.
    if let Some(code) = polypeer_supervisor::process::internal_command() {
        return code;
    }
    polypeer_supervisor::cli::main()
}
