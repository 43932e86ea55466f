//! The network core's process. `polypeer` starts it and configures it through the admin session on descriptor 3 (under
//! Windows, on stdin and stdout). It logs to stderr and exits when the admin session ends.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use polypeer_ipc_protocol::transport::admin::{AdminEnd, inherited};
use polypeer_netcore::{Options, open_files};
use tracing_subscriber::EnvFilter;

/// The network core of Polypeer. Not for use by hand: `polypeer run` starts it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The node's folder
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
}

fn main() -> ExitCode {
    // Before anything else, as another file could get this descriptor number.
    let admin = inherited();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("POLYPEER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match admin.context("there is no admin session: this program is started by polypeer; run: polypeer run") {
        Ok(admin) => match run(arguments, admin) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        },
        Err(error) => failed(&error, 2),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("polypeer-netcore: {error:#}");
    ExitCode::from(code)
}

fn run(arguments: Arguments, admin: AdminEnd) -> anyhow::Result<()> {
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("gateway").build()?;
    let ended = runtime.block_on(polypeer_netcore::run(Options::new(arguments.home), admin));
    runtime.shutdown_background();
    Ok(ended?)
}
