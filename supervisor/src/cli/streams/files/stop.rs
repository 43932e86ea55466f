//! `polypeer files stop`: keeps files and offers them no more.

use clap::Args;

use super::{Which, change};
use crate::cli::Context;
use crate::cli_error::CliError;

/// Stop offering files to others; the node keeps them until they expire or are removed
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    which: Which,
}

impl Stop {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        change(context, &self.which, "stop", "stopped offering").await
    }
}
