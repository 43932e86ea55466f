//! The program `polypeer`: daemon and command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: the single-threaded helper processes of a running daemon.
    if let Some(code) = polypeer_supervisor::internal_command() {
        return code;
    }
    polypeer_supervisor::cli::main()
}
