//! Polypeer's daemon and command line: installs plugins, grants them what the operator allows, spawns, limits and
//! restarts them, and runs the network core.
//!
//! ```text
//!  person ──► cli ──► control::client ══socket══► control::server ──► daemon ──► install, store
//!              │ └──► streams ══gateway══► netcore                      │
//!              ▼                              ▲                         ▼
//!        output, cli_error                    ╚══admin session══ supervise ──► process, limits ──► plugins
//!                                                                       └────► reaper
//! ```
//!
//! Arrows are calls, double lines are sockets. Modules, each depending on those of its line and below only:
//!
//! - [`cli`]: one file per command; [`cli::streams`]: commands that are clients of the gateway
//! - [`daemon`]: `polypeer run`: starts everything, answers the control socket, stops everything
//! - [`control`]: messages, server and client of the control socket; the documents of `--json`
//! - [`output`]: data to stdout, messages to stderr; [`cli_error`]: message, hint and exit code of every failure
//! - [`supervise`]: the task that owns netcore and the plugins: their order, states and restarts
//! - `logging`: the daemon's log
//! - `reaper`: a helper process that kills what outlives the supervisor
//! - [`process`]: one child: spawning, its init, namespaces, output, end
//! - [`limits`]: control groups, and what replaces them where there are none
//! - [`install`]: packages: inspecting, copying and replacing plugins' folders; [`store`]: the SQLite database
//! - [`config`]: `config.toml`; [`manifest`]: `plugin.toml`; [`toml_file`]: what both share
//! - [`petname`]: the operator's names of peers, and how a peer is shown
//! - `log_files`: writing, rotating and reading the files of logs; `reader`: whether anybody reads stdout
//! - [`home`]: paths, locks and sockets of one node; [`netcore`]: the supervisor's end of the admin session
//! - `terminal`: text that cannot control a terminal, and colours; `ticks`: when what looks again and again does so
//! - `files`: owners, rights and flushing of files; `kernel`: system calls without a safe wrapper

// These macros panic when nobody reads the output, which must end no process.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod cli_error;
pub mod config;
pub mod control;
pub mod daemon;
mod files;
pub mod home;
pub mod install;
#[cfg(target_os = "linux")]
mod kernel;
pub mod limits;
mod log_files;
mod logging;
pub mod manifest;
pub mod netcore;
pub mod output;
pub mod petname;
pub mod process;
mod reader;
#[cfg(target_os = "linux")]
pub mod reaper;
pub mod store;
pub mod supervise;
mod terminal;
mod ticks;
pub mod toml_file;

use std::process::ExitCode;

/// Runs the hidden subcommand that this process was started as, if any. Call it first in `main`, while the process is
/// single-threaded.
pub fn internal_command() -> Option<ExitCode> {
    supervise::internal_command()
}
