//! `polypeer send PATH…`: copies files, folders and the standard input into the app `files`, and prints a link to each.
//! [`source`] is what is read, [`pack`] makes an archive of a folder.

mod pack;
mod source;
mod unchanged;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use polypeer_ipc_protocol::client::{DataStream, StreamError};
use polypeer_ipc_protocol::ticket::Ticket;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};

use self::source::Source;
use super::file_link::FileLink;
use super::files_app::{APP, Answer, PROTOCOL, Refusal, progress_bar};
use super::{Session, handover, lines};
use crate::cli::Context;
use crate::cli_error::{CliError, of_stream};
use crate::manifest::values::parse_duration;

/// The path that stands for the standard input.
const STDIN: &str = "-";

/// Answers of the app to `add`, one document per line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Added {
    Done { hash: String, size: u64 },
    Progress { progress: u64 },
}

/// Offer files and folders to others; prints a link for each
#[derive(Debug, Args)]
pub(in crate::cli) struct Send {
    /// Files and folders to offer; - is the standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Name in the link [default: the file's or folder's own, `stdin` for the standard input]
    #[arg(long)]
    name: Option<String>,
    /// Time after which it is deleted from the node, such as 12h or 7d [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires: Option<Duration>,
}

impl Send {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let Self { paths, name, expires } = self;
        if name.is_some() && paths.len() > 1 {
            return Err(CliError::usage("--name is for one file, and several are given", "send them one by one"));
        }
        let mut session = Session::open(context).await?;
        let sending = Sending { context, session: &session, ticket: session.client.node().await?.ticket, expires };
        let mut documents = Vec::new();
        let mut failed = Vec::new();
        for path in &paths {
            match sending.send(path, name.as_deref()).await {
                Ok(link) => {
                    let text = link.to_string();
                    if !context.printer.json {
                        context.printer.data(&text)?;
                    }
                    documents
                        .push(json!({ "link": text, "name": link.name, "hash": link.hash, "size_bytes": link.size }));
                }
                Err(error) => {
                    documents.push(json!({ "path": path.to_string_lossy(), "error": error.document() }));
                    failed.push(error);
                }
            }
        }
        // A single failure is a document of its own, as that of any command.
        if context.printer.json && (paths.len() > 1 || failed.is_empty()) {
            context.printer.document(&documents)?;
        }
        // For a person; a program that reads the messages has no use for it.
        if failed.len() < paths.len() && context.printer.shows_progress() {
            context
                .printer
                .say("whoever has the link can fetch it while this node runs; `polypeer files stop` ends that");
        }
        let done = all_or_first(context, failed, paths.len());
        session.explained(done).await
    }
}

/// Fails with the only error, or with the first one's exit code after all have been printed.
fn all_or_first(context: &Context, mut failed: Vec<CliError>, all: usize) -> Result<(), CliError> {
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)),
        count => {
            failed.iter().for_each(|error| context.printer.error(error));
            let message = format!("{count} of {all} were not sent; the first: {}", failed[0].message);
            Err(CliError::new(failed[0].exit, message, failed[0].hint.clone()))
        }
    }
}

/// What every path of one command is sent with.
struct Sending<'a> {
    context: &'a Context,
    session: &'a Session,
    ticket: Ticket,
    expires: Option<Duration>,
}

impl Sending<'_> {
    async fn send(&self, path: &Path, name: Option<&str>) -> Result<FileLink, CliError> {
        let source = if path == Path::new(STDIN) { Source::stdin(name) } else { Source::open(path, name).await }?;
        let (name, is_folder) = (source.name.clone(), source.is_folder());
        let stream = self.session.app(self.context, APP, PROTOCOL).await?;
        let (hash, size) = self.copy(source, stream).await?;
        Ok(FileLink { hash, name, size: Some(size), from: vec![self.ticket.clone()], is_folder })
    }

    /// Copies the content into the app; its hash and size.
    async fn copy(&self, mut source: Source, stream: DataStream) -> Result<(String, u64), CliError> {
        let name = source.name.clone();
        let bar = progress_bar(self.context, source.expected(), 0, &name);
        let expires = self.expires.map(|time| time.as_secs().max(1));
        let descriptor = if handover::is_offered(self.context) { source.descriptor().await } else { None };
        let request = json!({ "op": "add", "name": name, "size": source.size(), "expires_s": expires,
                              "handover": descriptor.is_some() });
        let (from_app, mut to_app) = tokio::io::split(stream);
        let mut from_app = BufReader::new(from_app);
        lines::write(&mut to_app, &request).await.map_err(|error| of_stream(&error))?;
        let refused = |refusal: Refusal| refusal.to_error(self.context, &format!("failed to send {name}"));
        // A clone is a snapshot: it does not matter what happens to the file afterwards.
        let is_cloned = match descriptor {
            Some(file) => match lines::read(&mut from_app).await.map_err(|error| of_stream(&error))? {
                Some(Answer::Given(token)) => handover::give(self.context, &token, file).await,
                Some(Answer::Refused(refusal)) => return Err(refused(refusal)),
                None => return Err(of_stream(&StreamError::Lost.into())),
            },
            None => false,
        };
        let writing = async {
            while !is_cloned && let Some(bytes) = source.next().await.map_err(Stopped::Source)? {
                to_app.write_all(&bytes).await.map_err(|_| Stopped::Stream)?;
                bar.inc(bytes.len() as u64);
            }
            // Without this end the app keeps nothing of it.
            to_app.shutdown().await.map_err(|_| Stopped::Stream)
        };
        let reading = async {
            loop {
                match lines::read::<Answer<Added>>(&mut from_app).await {
                    Ok(Some(Answer::Given(Added::Progress { progress }))) => {
                        bar.set_position(progress.max(bar.position()));
                    }
                    Ok(Some(Answer::Given(Added::Done { hash, size }))) => return Ok((hash, size)),
                    Ok(Some(Answer::Refused(refusal))) => return Err(refused(refusal)),
                    Ok(None) => return Err(of_stream(&StreamError::Lost.into())),
                    Err(error) => return Err(of_stream(&error)),
                }
            }
        };
        // When the app refuses midway, writing fails; the reason that it sends is the better error.
        let mut reading = std::pin::pin!(reading);
        let done = tokio::select! {
            done = &mut reading => done,
            written = writing => match written {
                Err(Stopped::Source(error)) => Err(error),
                Ok(()) | Err(Stopped::Stream) => reading.await,
            },
        };
        bar.finish_and_clear();
        done
    }
}

/// Why writing ended early.
enum Stopped {
    /// The app closed or stopped the stream; its last answer has the reason.
    Stream,
    /// The content could not be read, or changed.
    Source(CliError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli_error::Exit;
    use crate::home::Home;
    use crate::output::Printer;

    #[test]
    fn exit_code_of_several_is_that_of_the_first_failure() {
        let context = Context { home: Home::at("/nowhere"), printer: Printer::new(false, true) };
        let (first, second) = (CliError::usage("no such file", "check"), CliError::failed("cut", "again"));
        assert_eq!(all_or_first(&context, vec![], 2), Ok(()));
        assert_eq!(all_or_first(&context, vec![second.clone()], 2), Err(second.clone()));
        let both = all_or_first(&context, vec![first, second], 3).expect_err("two failed");
        assert_eq!((both.exit, both.message.as_str()), (Exit::Usage, "2 of 3 were not sent; the first: no such file"));
    }
}
