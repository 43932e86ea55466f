//! `polypeer top`: traffic, memory and processor time of the node and its plugins, again and again. `rates` makes the
//! document of two samples, `screen` draws it, `live` keeps it on the terminal.

mod live;
mod rates;
mod screen;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Context, unexpected};
use crate::cli_error::CliError;
use crate::control::sample::Sample;
use crate::control::{Answer, Request};
use crate::output::{Column, Printer};
use crate::reader;
use rates::{TopDocument, rates};

const COLUMNS: [Column; 7] = [
    Column::kept("NAME").cut_to(8),
    Column::state("STATE"),
    Column::kept("CPU"),
    Column::kept("MEMORY"),
    Column::dropped("SENT/S", 1),
    Column::dropped("RECEIVED/S", 1),
    Column::dropped("RESTARTS", 2),
];

/// Show traffic, memory and processor time of the node and its plugins as they change
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal, q ends it. Into a pipe it prints one table, with --json one document; with --json \
                        and --samples, one document a line."
)]
pub(super) struct Top {
    /// Seconds between two samples
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// With --json, the number of samples to print, one a line; 0 means until it is stopped
    #[arg(long, value_name = "NUMBER", requires = "json")]
    samples: Option<u64>,
}

impl Top {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let every = Duration::from_secs(self.every);
        let printer = &context.printer;
        let mut source = Source::start(context).await?;
        match (printer.json, self.samples) {
            (true, None) => printer.document(&source.next(every).await?),
            (true, Some(samples)) => tokio::select! {
                done = print_samples(printer, source, every, samples) => done,
                () = reader::gone() => Ok(()),
            },
            (false, _) if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() => {
                live::run(source, every).await
            }
            (false, _) => {
                let document = source.next(every).await?;
                let rows: Vec<_> = document.processes.iter().map(screen::cells).collect();
                printer.data(&format!("{}\n{}", screen::totals(&document), printer.table(&COLUMNS, &rows)))
            }
        }
    }
}

/// Prints documents, one a line; without an end if `samples` is 0.
async fn print_samples(
    printer: &Printer,
    mut source: Source<'_>,
    every: Duration,
    samples: u64,
) -> Result<(), CliError> {
    let mut printed = 0;
    loop {
        let document = source.next(every).await?;
        printer.data(&serde_json::to_string(&document).expect("our documents have text keys"))?;
        printed += 1;
        if printed == samples {
            return Ok(());
        }
    }
}

/// Asks the daemon for samples.
struct Source<'a> {
    context: &'a Context,
    last: (Instant, Sample),
}

impl<'a> Source<'a> {
    async fn start(context: &'a Context) -> Result<Self, CliError> {
        Ok(Self { context, last: (Instant::now(), sample(context).await?) })
    }

    /// The rates of the time `every` from now on.
    async fn next(&mut self, every: Duration) -> Result<TopDocument, CliError> {
        tokio::time::sleep(every).await;
        self.now().await
    }

    /// The rates since the last sample.
    async fn now(&mut self) -> Result<TopDocument, CliError> {
        let (before, after) = (&self.last, (Instant::now(), sample(self.context).await?));
        let document = rates(&before.1, &after.1, after.0.saturating_duration_since(before.0));
        self.last = after;
        Ok(document)
    }

    /// The last sample, without rates.
    fn first(&self) -> TopDocument {
        rates(&self.last.1, &self.last.1, Duration::ZERO)
    }
}

async fn sample(context: &Context) -> Result<Sample, CliError> {
    match context.ask(Request::Sample).await? {
        Answer::Sample(sample) => Ok(*sample),
        other => Err(unexpected(&other)),
    }
}
