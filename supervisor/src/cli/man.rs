//! `polypeer man`: writes a manual page for each command, generated from the definition of the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use serde_json::json;

use super::{Cli, Context};
use crate::cli_error::CliError;

/// Write the manual pages into a folder
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder for polypeer.1, polypeer-run.1 and so on; made if missing
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Result<(), CliError> {
        let folder = self.folder;
        let written = std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(Cli::command(), &folder));
        written.map_err(|error| {
            let message = format!("failed to write manual pages into {}: {error}", folder.display());
            CliError::failed(message, "check the owner and the permissions of the folder")
        })?;
        if context.printer.json {
            return context.printer.document(&json!({ "folder": folder }));
        }
        context.printer.say(format!("read them with `man -l {}`", folder.join("polypeer.1").display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_the_page_above_it_names() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        clap_mangen::generate_to(Cli::command(), folder.path()).expect("written");
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a page");
        assert!(page("polypeer.1").contains("polypeer\\-plugin(1)"));
        assert!(page("polypeer-plugin.1").contains("polypeer\\-plugin\\-install(1)"));
        assert!(page("polypeer-plugin-install.1").contains("plugin.toml"));
    }
}
