//! `polypeer files list`: the files that the node keeps, with what they take.

use clap::Args;

use super::super::Session;
use super::{Kept, kept};
use crate::cli::Context;
use crate::cli_error::CliError;
use crate::manifest::values::shown_size;
use crate::output::{clean, duration};

/// Digits of a hash that are shown: enough to tell the files of a store apart.
pub(super) const SHOWN_DIGITS: usize = 12;

/// List the files that the node keeps: those sent, and those fetched a short time ago
#[derive(Debug, Args)]
pub(super) struct List {}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let files = kept(context, &Session::open(context).await?).await?;
        if context.printer.json {
            return context.printer.document(&files);
        }
        if files.is_empty() {
            context.printer.say("no files; `polypeer send FILE` offers one");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = files.iter().map(row).collect();
        context.printer.data(&context.printer.table(&["HASH", "SIZE", "OFFERED", "EXPIRES", "NAME"], &rows))?;
        let bytes = files.iter().map(|file| file.have_bytes).sum();
        let count = if files.len() == 1 { "1 file".into() } else { format!("{} files", files.len()) };
        context.printer.say(format!("{count}, {}", shown_size(bytes)));
        Ok(())
    }
}

fn row(file: &Kept) -> Vec<String> {
    vec![
        file.hash.chars().take(SHOWN_DIGITS).collect(),
        match file.have_bytes < file.size_bytes {
            true => format!("{} of {}", shown_size(file.have_bytes), shown_size(file.size_bytes)),
            false => shown_size(file.size_bytes),
        },
        if file.offered { "yes" } else { "no" }.into(),
        file.expires_s.map_or_else(|| "never".into(), |left| format!("in {}", duration(left))),
        clean(&file.name),
    ]
}
