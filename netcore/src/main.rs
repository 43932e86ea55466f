//! The network core's process. `polypeer` starts it and configures it through the admin session on descriptor 3 (under
//! Windows, on stdin and stdout). It logs to stderr and exits when the admin session ends.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use polypeer_ipc_protocol::transport::admin::{AdminEnd, inherited};
use polypeer_netcore::identity::Identity;
use polypeer_netcore::{Options, logging, open_files};
use tracing_subscriber::filter::Targets;

/// The network core of Polypeer. Not for use by hand: `polypeer run` starts it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The node's folder
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
    /// What to log
    #[arg(long, value_name = "FILTER", default_value = logging::USUAL, value_parser = logging::filter)]
    log: Targets,
    /// Print the node id of an existing key, and exit
    #[arg(long)]
    id: bool,
}

fn main() -> ExitCode {
    // Before anything else, as another file could get this descriptor number.
    let admin = inherited();
    let arguments = Arguments::parse();
    if arguments.id {
        return match print_id(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        };
    }
    logging::start(arguments.log.clone());
    match admin.context("there is no admin session: this program is started by polypeer; run: `polypeer run`") {
        Ok(admin) => match run(arguments, admin) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        },
        Err(error) => failed(&error, 2),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "polypeer-netcore: {error:#}"); // There is nowhere else to report it.
    ExitCode::from(code)
}

fn print_id(arguments: &Arguments) -> anyhow::Result<()> {
    let identity = Identity::load(&arguments.home.join("identity.key"))?;
    Ok(writeln!(std::io::stdout(), "{}", identity.node())?)
}

fn run(arguments: Arguments, admin: AdminEnd) -> anyhow::Result<()> {
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(polypeer_netcore::run(Options::new(arguments.home), admin));
    runtime.shutdown_background();
    Ok(ended?)
}
