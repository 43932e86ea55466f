//! `polypeer files remove`: deletes files that the node keeps.

use clap::Args;

use super::{Which, change};
use crate::cli::Context;
use crate::cli_error::CliError;

/// Delete files from the node, which offers them no more; the originals stay
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    which: Which,
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        change(context, &self.which, "remove", "removed").await
    }
}
