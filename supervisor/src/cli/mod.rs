//! The command line: `polypeer` is daemon and client. One file per command holds its arguments, what it does and its
//! text output; [`Command`] lists them all. Data goes to stdout, messages to stderr; every error ends with a hint; exit
//! codes are those of [`Exit`].
//!
//! - `run` starts [`crate::daemon`]; every other command sends a request to it over [`crate::control`]
//! - [`streams`]: the commands that open or accept streams, as clients of the gateway
//! - `plugin`: the commands below `polypeer plugin`; `peers`: those below `polypeer peers`
//! - `top`: the command that stays on the screen
//! - `peer`: a peer as typed, and the peer that is meant
//! - `help`: the command line as it is shown; `usage`: errors in the arguments themselves

mod completions;
mod config;
mod doctor;
mod help;
mod id;
mod log_level;
mod logs;
mod man;
mod peer;
mod peers;
mod plugin;
mod reload;
mod run;
mod shutdown;
mod status;
pub mod streams;
mod ticket;
mod time_limit;
mod top;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};

use crate::cli_error::{CliError, Exit};
use crate::config::{Level, LogSettings};
use crate::control::client::Control;
use crate::control::{Answer, Request};
use crate::home::Home;
use crate::output::Printer;
use crate::{daemon, logging};

const EXIT_CODES: &str = "Exit codes: 0 done · 1 failed · 2 wrong usage or bad input · 3 the daemon is not running · \
                          4 refused (grant, limit, block; the daemon is busy) · 5 peer not reachable";

/// One peer on the machine, many peer-to-peer applications on top of it.
#[derive(Debug, Parser)]
#[command(name = "polypeer", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options before or after any subcommand.
#[derive(Debug, Clone, Args)]
struct Global {
    /// The node's folder [default: POLYPEER_HOME, or the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Print only data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print whole tables, and log more; repeat for more detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

/// The commands, in the order of `polypeer --help`. Each one's help text is the first line of its arguments' doc.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Status(status::Status),
    Id(id::Id),
    Ticket(ticket::Ticket),
    Peers(peers::Peers),
    Plugin(plugin::Plugin),
    Pipe(streams::pipe::Pipe),
    Request(streams::request::Request),
    Serve(streams::serve::Serve),
    Send(streams::send::Send),
    Get(streams::get::Get),
    Files(streams::files::Files),
    Chat(streams::chat::Chat),
    Top(top::Top),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Reload(reload::Reload),
    Logs(logs::Logs),
    LogLevel(log_level::LogLevel),
    #[command(visible_alias = "stop")]
    Shutdown(shutdown::Shutdown),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Run(command) => command.run(context).await,
            Self::Status(command) => command.run(context).await,
            Self::Id(command) => command.run(context).await,
            Self::Ticket(command) => command.run(context).await,
            Self::Peers(command) => command.run(context).await,
            Self::Plugin(command) => command.run(context).await,
            Self::Pipe(command) => command.run(context).await,
            Self::Request(command) => command.run(context).await,
            Self::Serve(command) => command.run(context).await,
            Self::Send(command) => command.run(context).await,
            Self::Get(command) => command.run(context).await,
            Self::Files(command) => command.run(context).await,
            Self::Chat(command) => command.run(context).await,
            Self::Top(command) => command.run(context).await,
            Self::Doctor(command) => command.run(context).await,
            Self::Config(command) => command.run(context).await,
            Self::Reload(command) => command.run(context).await,
            Self::Logs(command) => command.run(context).await,
            Self::LogLevel(command) => command.run(context).await,
            Self::Shutdown(command) => command.run(context).await,
            Self::Completions(command) => command.run(context),
            Self::Man(command) => command.run(context),
        }
    }
}

/// What a command needs beside its own arguments.
pub struct Context {
    pub home: Home,
    pub printer: Printer,
}

impl Context {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// When no daemon runs.
    pub async fn control(&self) -> Result<Control, CliError> {
        Control::connect(&self.home).await
    }

    /// Sends one request to the daemon, on a connection of its own.
    ///
    /// # Errors
    /// When no daemon runs, or the request fails.
    pub async fn ask(&self, request: Request) -> Result<Answer, CliError> {
        self.control().await?.request(&request).await
    }

    /// Sends one request to the network core, through the daemon.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_netcore(&self, request: AdminRequest) -> Result<AdminResponse, CliError> {
        match self.ask(Request::Net { request }).await? {
            Answer::Net(response) => Ok(*response),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the daemon runs with `--seed-only` and so starts no plugins.
    pub async fn is_seed_only(&self) -> bool {
        let answer = self.ask(Request::Status).await;
        matches!(answer, Ok(Answer::Status(status)) if status.warnings.iter().any(|text| text == daemon::SEED_ONLY))
    }
}

/// Runs the command in the arguments of this process.
pub fn main() -> ExitCode {
    let cli = match help::parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    let Global { home: asked, json, quiet, verbose } = cli.global;
    let mut command = cli.command;
    let is_daemon = matches!(command, Command::Run(_));
    if let Command::Run(run) = &mut command {
        (run.quiet, run.verbose) = (quiet, verbose);
    }
    let usual = if is_daemon { Level::Info } else { Level::Warn };
    let level = if quiet { Level::Error } else { usual.more(verbose) };
    logging::start(&LogSettings { level, ..LogSettings::default() }, is_daemon);
    let mut printer = Printer::new(json, quiet).wide(verbose > 0);
    let done = Home::find(asked.as_deref()).map_err(CliError::from).and_then(|home| {
        if asked.is_some() {
            printer = printer.clone().on(home.clone());
        }
        let runtime = runtime(is_daemon).map_err(|error| {
            CliError::failed(format!("failed to start: {error}"), "check the limits on processes and open files")
        })?;
        let context = Context { home, printer: printer.clone() };
        let done = runtime.block_on(Box::pin(command.run(&context)));
        // A thread may be blocked in a read of stdin.
        runtime.shutdown_background();
        done
    });
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.exit.code())
        }
    };
    logging::flush();
    code
}

/// The daemon has one thread, beside those for what blocks: it hands small things on, and passing them from thread to
/// thread would take longer than the work.
fn runtime(is_daemon: bool) -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    let mut builder = if is_daemon { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}

/// The error for a response that does not fit its request.
pub(crate) fn unexpected(answer: &impl std::fmt::Debug) -> CliError {
    CliError::new(
        Exit::Failed,
        format!("unexpected response from the daemon: {answer:?}").chars().take(300).collect::<String>(),
        "restart the daemon: it may be of another version",
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after() {
        for line in [
            &["polypeer", "--home", "/x", "--json", "status"][..],
            &["polypeer", "status", "--json", "--home", "/x"],
            &["polypeer", "--json", "plugin", "list", "--home", "/x"],
            &["polypeer", "plugin", "list", "--json", "--home=/x"],
        ] {
            let cli = Cli::try_parse_from(line).expect("it is understood");
            assert!(cli.global.json && cli.global.home.as_deref() == Some("/x".as_ref()), "{line:?}");
        }
    }
}
