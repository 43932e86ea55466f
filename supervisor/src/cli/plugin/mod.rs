//! `polypeer plugin …`: installs plugins, starts and stops them, shows and changes what they may use. One file per
//! command; [`Command`] lists them.

mod change;
mod grants;
mod info;
mod install;
mod limit;
mod list;
mod logs;
mod new;
mod remove;

use clap::{Args, Subcommand};

use super::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::control::documents::PluginDocument;
use crate::control::{Answer, Request};
use crate::output::clean;

/// Install, start, stop, inspect and limit plugins
#[derive(Debug, Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::New),
    Install(install::Install),
    #[command(visible_alias = "ls")]
    List(list::List),
    Info(info::Info),
    /// Start a plugin; succeeds if it is running
    Start(change::Id),
    /// Stop a plugin until it or the daemon is started again
    Stop(change::Id),
    /// Stop and start a plugin
    Restart(change::Id),
    /// Start a plugin now and whenever the daemon starts
    Enable(change::Id),
    /// Stop a plugin and do not start it with the daemon
    Disable(change::Id),
    #[command(visible_aliases = ["rm", "uninstall"])]
    Remove(remove::Remove),
    Logs(logs::Logs),
    Limit(limit::Limit),
    Grants(grants::Grants),
}

impl Plugin {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self.command {
            Command::New(command) => command.run(context),
            Command::Install(command) => command.run(context).await,
            Command::List(command) => command.run(context).await,
            Command::Info(command) => command.run(context).await,
            Command::Start(plugin) => plugin.change(context, |id| Request::PluginStart { id }).await,
            Command::Stop(plugin) => plugin.change(context, |id| Request::PluginStop { id }).await,
            Command::Restart(plugin) => plugin.change(context, |id| Request::PluginRestart { id }).await,
            Command::Enable(plugin) => plugin.enable(context, true).await,
            Command::Disable(plugin) => plugin.enable(context, false).await,
            Command::Remove(command) => command.run(context).await,
            Command::Logs(command) => command.run(context).await,
            Command::Limit(command) => command.run(context).await,
            Command::Grants(command) => command.run(context).await,
        }
    }
}

/// Sends a request whose answer is a plugin.
async fn ask(context: &Context, request: Request) -> Result<Box<PluginDocument>, CliError> {
    match answer(context, request).await? {
        Answer::Plugin(plugin) => Ok(plugin),
        other => Err(unexpected(&other)),
    }
}

/// Sends a request, and says what goes on until it is answered.
async fn answer(context: &Context, request: Request) -> Result<Answer, CliError> {
    let mut control = context.control().await?;
    let mut answer = control.request(&request).await?;
    while let Answer::Progress(text) = answer {
        context.printer.say(clean(&text));
        answer = control.next().await?;
    }
    Ok(answer)
}

/// Prints the state of a plugin after a change.
fn print_state(context: &Context, plugin: &PluginDocument) -> Result<(), CliError> {
    if context.printer.json {
        return context.printer.document(plugin);
    }
    context.printer.say(format!("{} is {}", plugin.id, plugin.state));
    Ok(())
}

/// A list of phrases, one a line.
fn bullets(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  - {}", clean(line))).collect::<Vec<_>>().join("\n")
}

/// Asks the operator to confirm, unless `yes`.
fn confirm(context: &Context, yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    match context.printer.confirm(question) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::new(Exit::Refused, "cancelled: you answered no", "nothing was changed")),
        None => Err(CliError::new(
            Exit::Refused,
            "this needs your confirmation, and there is no terminal to ask on",
            "check what it does, then run the command again with --yes",
        )),
    }
}
