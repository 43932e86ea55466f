//! The command line: `polypeer` is daemon and client. Data goes to stdout, talk to stderr; every error ends in a hint;
//! exit codes are those of [`Exit`]. `run` becomes [`crate::daemon`]; everything else asks it over
//! [`crate::control`], and [`streams`] moves bytes through the gateway.

pub mod args;
mod doctor;
mod node;
mod plugin;
mod run;
pub mod streams;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use crate::cli_error::{CliError, Exit};
use crate::config::DaemonConfig;
use crate::control::client::Control;
use crate::control::{Answer, Request};
use crate::daemon;
use crate::home::Home;
use crate::output::Printer;
use args::{Cli, Command, Config};

/// What a command needs to know beside its own arguments.
pub struct Context {
    /// Which node.
    pub home: Home,
    /// How to talk.
    pub printer: Printer,
}

impl Context {
    /// A connection to the daemon.
    ///
    /// # Errors
    /// When there is none.
    pub async fn control(&self) -> Result<Control, CliError> {
        Control::connect(&self.home).await
    }

    /// One request to the daemon, on a connection of its own.
    ///
    /// # Errors
    /// When there is no daemon, or it says what is wrong.
    pub async fn ask(&self, request: Request) -> Result<Answer, CliError> {
        self.control().await?.request(&request).await
    }

    /// Whether the daemon starts no plugins in this run, as far as it says so.
    pub async fn only_serves_newcomers(&self) -> bool {
        let answer = self.ask(Request::Status).await;
        matches!(answer, Ok(Answer::Status(status)) if status.warnings.iter().any(|text| text == daemon::SEED_ONLY))
    }
}

/// Does what the arguments of this process say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::told(&error),
    };
    let printer = Printer::new(cli.global.json, cli.global.quiet);
    log_to_stderr(&cli);
    let done = Home::find(cli.global.home.as_deref()).map_err(CliError::from).and_then(|home| {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| {
            CliError::failed(format!("failed to start: {error}"), "check the limits on processes and open files")
        })?;
        let done = runtime.block_on(Box::pin(run(cli.command, Context { home, printer: printer.clone() })));
        // A thread may be in a read of stdin that never ends.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.exit.code())
        }
    }
}

async fn run(command: Command, context: Context) -> Result<(), CliError> {
    match command {
        Command::Run(options) => run::run(context, options).await,
        Command::Status => node::status(&context).await,
        Command::Id => node::id(&context).await,
        Command::Ticket => node::ticket(&context).await,
        Command::Peers { command } => node::peers(&context, command).await,
        Command::Plugin { command } => plugin::run(&context, command).await,
        Command::Pipe { peer, protocol } => streams::pipe::run(&context, peer.0, protocol).await,
        Command::Serve { protocol, command } => streams::serve::run(&context, protocol, command).await,
        Command::Send { files } => streams::send::run(&context, &files).await,
        Command::Get(options) => streams::get::run(&context, options).await,
        Command::Chat { peer } => streams::chat::run(&context, peer.0).await,
        Command::Doctor { peer } => doctor::run(&context, peer).await,
        Command::Config { command: Config::Check } => check_config(&context),
        Command::Shutdown => node::shutdown(&context).await,
    }
}

fn check_config(context: &Context) -> Result<(), CliError> {
    let path = context.home.config_file();
    let there = path.exists();
    DaemonConfig::load(&context.home)?;
    let found = serde_json::json!({ "path": path, "exists": there, "valid": true });
    context.printer.either(&found, || match there {
        true => format!("{} is valid", path.display()),
        false => format!("{} does not exist: the defaults apply", path.display()),
    })
}

/// What the daemon must never answer to a request.
pub(crate) fn unexpected(answer: &Answer) -> CliError {
    CliError::new(
        Exit::Failed,
        format!("the daemon answered something else than what was asked: {answer:?}")
            .chars()
            .take(300)
            .collect::<String>(),
        "restart the daemon: it may be of another version",
    )
}

/// Own remarks and those of the parts below, on stderr. The daemon tells what an operator wants to know by default,
/// the other commands only what went wrong.
fn log_to_stderr(cli: &Cli) {
    use std::io::IsTerminal;
    let usual = if matches!(cli.command, Command::Run(_)) { 2 } else { 1 };
    let level = if cli.global.quiet { 0 } else { usual + cli.global.verbose };
    let level = ["error", "warn", "info", "debug", "trace"][usize::from(level.min(4))];
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter = tracing_subscriber::EnvFilter::new(level);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false)
        .init();
}
