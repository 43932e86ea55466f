//! `polypeer log-level`: shows or changes how much the daemon and the network core log, until the next reload or
//! restart.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::config::Level;
use crate::control::{Answer, LevelChange, Request};

/// Show or change how much is logged, until the next reload or restart
#[derive(Debug, Args)]
pub(super) struct LogLevel {
    /// error, warn, info, debug or trace; PART=LEVEL such as netcore=debug; or default for the levels of config.toml
    #[arg(value_name = "LEVEL")]
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Default,
    Set(LevelChange),
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self::Default);
        }
        let (target, level) = match text.split_once('=') {
            Some((target, level)) => (Some(target.parse()?), level),
            None => (None, text),
        };
        let level = Level::from_str(level, false).map_err(|_| "expected error, warn, info, debug or trace")?;
        Ok(Self::Set(LevelChange { target, level }))
    }
}

impl LogLevel {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let reset = self.changes.iter().any(|change| matches!(change, Change::Default));
        let set = |change| if let Change::Set(change) = change { Some(change) } else { None };
        let changes = self.changes.into_iter().filter_map(set).collect();
        match context.ask(Request::LogLevel { changes, reset }).await? {
            Answer::LogLevel(levels) => context.printer.either(&levels, || {
                let targets = levels.targets.iter().map(|(target, level)| format!("\n{target}={level}"));
                format!("{}{}", levels.level, targets.collect::<String>())
            }),
            other => Err(unexpected(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_of_everything_or_of_a_part() {
        assert!(matches!("debug".parse(), Ok(Change::Set(LevelChange { target: None, level: Level::Debug }))));
        assert!(matches!("netcore=warn".parse(), Ok(Change::Set(LevelChange { target: Some(_), level: Level::Warn }))));
        assert!(matches!("default".parse(), Ok(Change::Default)));
        for bad in ["loud", "chat=debug", "netcore=", "DEBUG"] {
            assert!(bad.parse::<Change>().is_err(), "{bad}");
        }
    }
}
