//! `polypeer send FILE…`: copies files into the app `files` and prints a link to each.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use polypeer_ipc_protocol::client::StreamError;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use super::file_link::{FileLink, is_safe_name};
use super::{Session, file_error, lines};
use crate::cli::Context;
use crate::cli_error::{CliError, of_stream};

/// The app that stores and serves files, and its protocol for the operator.
pub(super) const APP: &str = "files";
pub(super) const PROTOCOL: &str = "files-control/1";
/// Bytes moved at a time.
const CHUNK: usize = 256 << 10;

/// Responses of the app to `add`, one document per line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Added {
    Failed { error: String },
    Done { hash: String, size: u64, name: String },
    Progress { progress: u64 },
}

/// Offer files to others; prints a link for each
#[derive(Debug, Args)]
pub(in crate::cli) struct Send {
    /// Files to offer
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Send {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let session = Session::open(context).await?;
        let ticket = session.client.node().await?.ticket;
        let mut sent = Vec::new();
        for file in &self.files {
            let link = FileLink { from: vec![ticket.clone()], ..send(context, &session, file).await? };
            if !context.printer.json {
                context.printer.data(&link.to_string())?;
            }
            sent.push(
                json!({ "link": link.to_string(), "name": link.name, "hash": link.hash, "size_bytes": link.size }),
            );
        }
        if context.printer.json { context.printer.document(&sent) } else { Ok(()) }
    }
}

async fn send(context: &Context, session: &Session, path: &Path) -> Result<FileLink, CliError> {
    let told = |error: std::io::Error| file_error("read", path, &error);
    let mut file = tokio::fs::File::open(path).await.map_err(told)?;
    let metadata = file.metadata().await.map_err(told)?;
    let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_safe_name(name));
    let (true, Some(name)) = (metadata.is_file(), name) else {
        let message = format!("{} is not a regular file with a plain name", path.display());
        return Err(CliError::usage(message, "give the path of a file; pack a folder first, such as with tar"));
    };
    let stream = session.app(context, APP, PROTOCOL).await?;
    let (from_app, mut to_app) = tokio::io::split(stream);
    let mut from_app = BufReader::new(from_app);
    let size = metadata.len();
    let bar = progress_bar(context, size, 0, name);
    let writing = async {
        lines::write(&mut to_app, &json!({ "op": "add", "name": name, "size": size }))
            .await
            .map_err(|_| Stopped::Stream)?;
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut buffer[..room]).await.map_err(|error| Stopped::Other(told(error)))?;
            if read == 0 {
                let message = format!("{} became shorter while it was read", path.display());
                return Err(Stopped::Other(CliError::failed(message, "try again when it is not being written to")));
            }
            to_app.write_all(&buffer[..read]).await.map_err(|_| Stopped::Stream)?;
            left -= read as u64;
            bar.inc(read as u64);
        }
        to_app.shutdown().await.map_err(|_| Stopped::Stream)
    };
    let reading = async {
        loop {
            match lines::read::<Added>(&mut from_app).await {
                Ok(Some(Added::Progress { progress })) => bar.set_position(progress.max(bar.position())),
                Ok(Some(Added::Done { hash, size, name })) => {
                    return Ok(FileLink { hash, name, size: Some(size), from: vec![] });
                }
                Ok(Some(Added::Failed { error })) => {
                    return Err(CliError::failed(
                        format!("the app {APP} refused {name}: {error}"),
                        "see `polypeer plugin logs files`",
                    ));
                }
                Ok(None) => return Err(of_stream(&StreamError::Lost.into())),
                Err(error) => return Err(of_stream(&error)),
            }
        }
    };
    // When the app refuses midway, writing fails; the reason that it sends is the better error.
    let mut reading = std::pin::pin!(reading);
    let link = tokio::select! {
        link = &mut reading => link,
        written = writing => match written {
            Err(Stopped::Other(error)) => Err(error),
            Ok(()) | Err(Stopped::Stream) => reading.await,
        },
    };
    bar.finish_and_clear();
    link
}

/// Why writing ended early.
enum Stopped {
    /// The app closed or stopped the stream; its last response has the reason.
    Stream,
    /// The file could not be read.
    Other(CliError),
}

/// A progress bar, hidden unless stderr is a terminal.
pub(super) fn progress_bar(context: &Context, size: u64, done: u64, name: &str) -> ProgressBar {
    if !context.printer.shows_progress() {
        return ProgressBar::hidden();
    }
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style = indicatif::ProgressStyle::with_template(template).expect("a template of ours");
    ProgressBar::new(size).with_style(style).with_message(name.to_owned()).with_position(done)
}
