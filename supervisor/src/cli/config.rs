//! `polypeer config …`: checks `config.toml`, shows the value of every setting, prints the commented example.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::config::{Configuration, DaemonConfig, Flags, example};
use crate::control::documents::{SettingDocument, SettingSource};
use crate::control::{Answer, Request};
use crate::output::clean;

/// Check, show and explain the configuration
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check config.toml
    Check,
    /// Show the value of every setting and where it comes from
    Show,
    /// Print a commented example of config.toml: every key with its meaning and its default
    Example,
}

impl Config {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self.command {
            Command::Check => check(context),
            Command::Show => show(context).await,
            Command::Example => {
                let text = example::text();
                context.printer.either(&json!({ "example": text }), || text.trim_end().to_owned())
            }
        }
    }
}

fn check(context: &Context) -> Result<(), CliError> {
    let path = context.home.config_file();
    let exists = path.exists();
    DaemonConfig::load(&context.home)?;
    let document = json!({ "path": path, "exists": exists, "valid": true });
    context.printer.either(&document, || match exists {
        true => format!("{} is valid", path.display()),
        false => format!("{} does not exist: the defaults apply", path.display()),
    })
}

/// What the daemon runs with, or would start with.
async fn show(context: &Context) -> Result<(), CliError> {
    let settings = match context.ask(Request::Settings).await {
        Ok(Answer::Settings(settings)) => settings,
        Ok(other) => return Err(unexpected(&other)),
        Err(error) if error.exit == Exit::NotRunning => {
            let settings = Configuration::load(&context.home, &Flags::default())?.settings;
            context.printer.say("no daemon runs: this is what it would start with");
            settings
        }
        Err(error) => return Err(error),
    };
    context.printer.either(&settings, || {
        let row = |setting: &SettingDocument| {
            let source = match setting.source {
                SettingSource::Default => "default",
                SettingSource::File => "file",
                SettingSource::Flag => "flag",
            };
            let value = if setting.value == Value::Null { "-".into() } else { clean(&setting.value.to_string()) };
            vec![setting.key.clone(), value, source.into()]
        };
        context.printer.table(&["KEY", "VALUE", "FROM"], &settings.iter().map(row).collect::<Vec<_>>())
    })
}
