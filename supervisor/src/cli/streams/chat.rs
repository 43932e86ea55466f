//! `polypeer chat PEER`: sends lines of stdin to the peer and prints its messages. On a terminal it ends with the
//! input; with a pipe it ends once every message was delivered.

use std::time::Duration;

use clap::Args;
use polypeer_ipc_protocol::ids::NodeId;
use serde::Deserialize;
use serde_json::json;
use std::io::IsTerminal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Session, lines};
use crate::cli::Context;
use crate::cli::peer::PeerArgument;
use crate::cli_error::{CliError, of_stream};
use crate::output::clean;

const APP: &str = "chat";
const PROTOCOL: &str = "chat-control/1";
/// Longest line of input, bytes: the longest message of the app.
const MAX_TEXT: u64 = 64 << 10;
/// Time limit for the delivery of messages after the end of the input.
const LINGER: Duration = Duration::from_secs(15);

/// Documents of the app, one per line. Unknown ones are skipped.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Ready {
        #[allow(dead_code, reason = "tells this document from the others")]
        ready: bool,
        peer: NodeId,
    },
    Message {
        from: NodeId,
        text: String,
        at: u64,
        state: String,
        #[serde(default)]
        error: Option<String>,
    },
    Failed {
        error: String,
    },
    Other(serde::de::IgnoredAny),
}

/// Exchange messages with a peer, line by line
#[derive(Debug, Args)]
pub(in crate::cli) struct Chat {
    /// Name, node id or its start, or ticket
    peer: PeerArgument,
}

impl Chat {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let peer = self.peer.resolve_other(context).await?.ticket;
        let session = Session::open(context).await?;
        let stream = session.app(context, APP, PROTOCOL).await?;
        let (from_app, mut to_app) = tokio::io::split(stream);
        let mut from_app = BufReader::new(from_app);
        let whom = if peer.addresses.is_empty() { peer.node.to_string() } else { peer.to_string() };
        let told = |error: std::io::Error| of_stream(&error);
        lines::write(&mut to_app, &json!({ "op": "open", "peer": whom })).await.map_err(told)?;

        let (sender, mut typed) = tokio::sync::mpsc::channel(1);
        tokio::spawn(read_lines(sender));
        // A cancelled read would lose part of a line, so a task of its own reads.
        let (hears, mut heard) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let said = lines::read::<Said>(&mut from_app).await;
                let last = !matches!(said, Ok(Some(_)));
                if hears.send(said).await.is_err() || last {
                    return;
                }
            }
        });
        let interactive = std::io::stdin().is_terminal();
        let mut conversation = Conversation { me: session.client.node_id(), waiting: 0, failed: 0 };
        let mut input_ended = false;
        let end = tokio::time::sleep(Duration::MAX);
        let mut end = std::pin::pin!(end);
        loop {
            if input_ended && (interactive || conversation.waiting == 0) {
                break;
            }
            tokio::select! {
                said = heard.recv() => match said.transpose().map_err(told)?.flatten() {
                    Some(said) => conversation.handle(context, said)?,
                    None => return Err(CliError::failed("the app chat ended the conversation", "see `polypeer plugin logs chat`")),
                },
                line = typed.recv(), if !input_ended => match line {
                    Some(Ok(text)) if text.is_empty() => {}
                    Some(Ok(text)) => {
                        conversation.waiting += 1;
                        lines::write(&mut to_app, &json!({ "text": text })).await.map_err(told)?;
                    }
                    Some(Err(error)) => return Err(error),
                    None => {
                        input_ended = true;
                        end.as_mut().reset(tokio::time::Instant::now() + LINGER);
                    }
                },
                () = &mut end => break,
            }
        }
        to_app.shutdown().await.map_err(told)?;
        conversation.result()
    }
}

/// Messages in flight.
struct Conversation {
    me: NodeId,
    /// Messages neither delivered nor failed.
    waiting: u64,
    failed: u64,
}

impl Conversation {
    fn handle(&mut self, context: &Context, said: Said) -> Result<(), CliError> {
        match said {
            Said::Ready { peer, .. } => context.printer.say(format!("chatting with {peer}; end the input to leave")),
            Said::Failed { error } => {
                return Err(CliError::failed(
                    format!("the app chat says: {}", clean(&error)),
                    "check the peer with `polypeer peers ping PEER`",
                ));
            }
            Said::Message { from, text, at, state, .. } if state == "received" => {
                if context.printer.json {
                    let line = json!({ "from": from, "text": text, "at": at });
                    return context.printer.data(&line.to_string());
                }
                let name: String = from.to_string().chars().take(8).collect();
                return context.printer.data(&format!("{name}: {}", clean(&text)));
            }
            Said::Message { from, state, error, .. } if from == self.me => match state.as_str() {
                "delivered" => self.waiting = self.waiting.saturating_sub(1),
                "failed" => {
                    self.waiting = self.waiting.saturating_sub(1);
                    self.failed += 1;
                    let reason = error.map(|error| format!(": {}", clean(&error))).unwrap_or_default();
                    context.printer.say(format!("not delivered{reason}"));
                }
                _ => {}
            },
            Said::Message { .. } | Said::Other(_) => {}
        }
        Ok(())
    }

    fn result(&self) -> Result<(), CliError> {
        let hint = "check the peer with `polypeer peers ping PEER`, then send it again";
        match (self.failed, self.waiting) {
            (0, 0) => Ok(()),
            (0, waiting) => Err(CliError::failed(format!("{waiting} messages are not delivered yet"), hint)),
            (failed, _) => Err(CliError::failed(format!("{failed} messages were not delivered"), hint)),
        }
    }
}

/// Reads stdin line by line until its end.
async fn read_lines(lines: tokio::sync::mpsc::Sender<Result<String, CliError>>) {
    let mut stdin = BufReader::new(tokio::io::stdin());
    loop {
        let mut line = Vec::new();
        let read = (&mut stdin).take(MAX_TEXT).read_until(b'\n', &mut line).await;
        let text = match read {
            Ok(0) => return,
            Ok(read) if read as u64 == MAX_TEXT && !line.ends_with(b"\n") => Err(CliError::usage(
                format!("a line is longer than {MAX_TEXT} bytes"),
                "send it as a file: `polypeer send`",
            )),
            Ok(_) => String::from_utf8(line)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|_| CliError::usage("the input is not UTF-8 text", "send it as a file: `polypeer send`")),
            Err(error) => {
                Err(CliError::failed(format!("failed to read stdin: {error}"), "check what it is connected to"))
            }
        };
        if lines.send(text).await.is_err() {
            return;
        }
    }
}
