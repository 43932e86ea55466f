//! The control protocol of the bundled app `files`, as `contrib/apps/files/PROTOCOL.md` has it: requests, answers, and
//! its refusals as errors for people. `send`, `get` and `files` speak it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polypeer_ipc_protocol::client::DataStream;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};

use super::{Session, lines};
use crate::cli::Context;
use crate::cli_error::{CliError, Exit, of_stream};

/// The app that stores and serves files, and its protocol for the operator.
pub(super) const APP: &str = "files";
pub(super) const PROTOCOL: &str = "files-control/1";
/// Bytes moved at a time.
pub(super) const CHUNK: usize = 256 << 10;

/// Codes of the app's refusals.
const UNKNOWN: u32 = 1;
const DISK_FULL: u32 = 3;
const DAMAGED: u32 = 5;
const BUSY: u32 = 6;
const SOURCES_AWAY: u32 = 9;
const STORE_FULL: u32 = 10;

/// A refusal of the app.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
    #[serde(default)]
    pub(super) code: u32,
}

/// An answer of the app, or its refusal.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer<T> {
    Refused(Refusal),
    Given(T),
}

impl Refusal {
    /// The error for a refusal; `what` failed.
    pub(super) fn to_error(&self, context: &Context, what: &str) -> CliError {
        let exit = match self.code {
            UNKNOWN => Exit::Usage,
            BUSY | STORE_FULL => Exit::Refused,
            SOURCES_AWAY => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let hint = match self.code {
            UNKNOWN => "see what is here with `polypeer files list`".to_owned(),
            DISK_FULL => format!(
                "make room on the disk that has {}: `polypeer files list` shows what the node keeps there, `polypeer files \
                 remove` deletes it",
                context.home.root().display()
            ),
            DAMAGED => {
                "run the same command again: what is damaged is fetched anew, from the link's sources".to_owned()
            }
            BUSY => "try again in a moment".to_owned(),
            STORE_FULL => "`polypeer files list` shows what the node keeps, `polypeer files remove` makes room; \
                           `polypeer plugin limit files disk=SIZE` sets another limit for the app's next start"
                .to_owned(),
            SOURCES_AWAY => {
                "check that a node that offers the file is online, then run the same command again".to_owned()
            }
            _ => "see `polypeer plugin logs files`".to_owned(),
        };
        CliError::new(exit, format!("{what}: {}", self.error), hint)
    }
}

/// Opens a stream with one request without content; the answer can be read from it.
pub(super) async fn request(
    context: &Context,
    session: &Session,
    request: &Value,
) -> Result<BufReader<DataStream>, CliError> {
    let mut stream = session.app(context, APP, PROTOCOL).await?;
    // The app may answer and close the stream before all of this is done: what can be read says how it went.
    if lines::write(&mut stream, request).await.is_ok() {
        let _ = stream.shutdown().await;
    }
    Ok(BufReader::with_capacity(CHUNK, stream))
}

/// Sends one request without content, and reads all lines of the answer.
pub(super) async fn ask<T: DeserializeOwned>(
    context: &Context,
    session: &Session,
    document: &Value,
) -> Result<Result<Vec<T>, Refusal>, CliError> {
    let mut stream = request(context, session, document).await?;
    let mut given = Vec::new();
    while let Some(answer) = lines::read(&mut stream).await.map_err(|error| of_stream(&error))? {
        match answer {
            Answer::Given(line) => given.push(line),
            Answer::Refused(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(given))
}

/// A progress bar, hidden unless stderr is a terminal. Without a size it shows what was moved. What is `done` already
/// is not part of the speed.
pub(super) fn progress_bar(context: &Context, size: Option<u64>, done: u64, name: &str) -> ProgressBar {
    let template = match size {
        Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{msg} {spinner} {bytes} {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).expect("a template of ours");
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::hidden());
    let bar = bar.with_style(style).with_message(crate::output::clean(name));
    if done > 0 {
        bar.set_position(done);
        bar.tick(); // Takes note of the position.
        bar.reset_eta();
    }
    if context.printer.shows_progress() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use crate::output::Printer;

    #[test]
    fn refusals_say_what_to_do() {
        let context = Context { home: Home::at("/home/of/node"), printer: Printer::new(false, true) };
        for (code, exit, hint) in [
            (UNKNOWN, Exit::Usage, "files list"),
            (2, Exit::Failed, "plugin logs"),
            (DISK_FULL, Exit::Failed, "make room on the disk that has /home/of/node"),
            (DAMAGED, Exit::Failed, "fetched anew"),
            (BUSY, Exit::Refused, "in a moment"),
            (SOURCES_AWAY, Exit::Unreachable, "is online"),
            (STORE_FULL, Exit::Refused, "files remove"),
        ] {
            let error = Refusal { error: "why".into(), code }.to_error(&context, "failed to get a");
            assert!(error.exit == exit && error.hint.contains(hint), "{code}: {error:?}");
            assert_eq!(error.message, "failed to get a: why");
        }
    }

    #[test]
    fn what_was_there_is_not_part_of_the_speed() {
        let context = Context { home: Home::at("/home/of/node"), printer: Printer::new(false, true) };
        let bar = progress_bar(&context, Some(10 << 30), 5 << 30, "a");
        assert_eq!((bar.position(), bar.per_sec()), (5 << 30, 0.0));
    }

    #[test]
    fn answers_are_told_from_refusals() {
        let of = |text: &str| serde_json::from_str::<Answer<Value>>(text).expect("an answer");
        assert!(matches!(of(r#"{"error":"no","code":3}"#), Answer::Refused(Refusal { code: 3, .. })));
        assert!(matches!(of(r#"{"size":3}"#), Answer::Given(_)));
    }
}
