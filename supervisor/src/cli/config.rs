//! `polypeer config check`: reads `config.toml` and reports the first mistake.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use crate::cli_error::CliError;
use crate::config::DaemonConfig;

/// Check the configuration
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check config.toml
    Check,
}

impl Config {
    pub(super) fn run(self, context: &Context) -> Result<(), CliError> {
        let Command::Check = self.command;
        let path = context.home.config_file();
        let exists = path.exists();
        DaemonConfig::load(&context.home)?;
        let document = json!({ "path": path, "exists": exists, "valid": true });
        context.printer.either(&document, || match exists {
            true => format!("{} is valid", path.display()),
            false => format!("{} does not exist: the defaults apply", path.display()),
        })
    }
}
