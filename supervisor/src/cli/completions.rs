//! `polypeer completions`: prints a shell's completion script, generated from the definition of the command line.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot;

use super::{Cli, Context};
use crate::cli_error::CliError;

/// Print the completion script of a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Shell to complete for
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<(), CliError> {
        let script = script(self.shell);
        context.printer.either(&serde_json::json!({ "script": script }), || script.trim_end().into())
    }
}

fn script(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut Cli::command(), "polypeer", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_commands_at_both_levels() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for word in ["shutdown", "install", "--home"] {
                assert!(script.contains(word.trim_start_matches('-')), "{shell:?} does not know {word}");
            }
        }
    }
}
