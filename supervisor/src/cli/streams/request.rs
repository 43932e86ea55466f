//! `polypeer request PEER PROTOCOL`: one message to a handler of requests, and its reply. The message is stdin, the
//! reply goes to stdout.

use std::io::IsTerminal;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use data_encoding::BASE64;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::Session;
use crate::cli::peer::PeerArgument;
use crate::cli::{Context, time_limit};
use crate::cli_error::CliError;

/// Send one message to a protocol of a peer and print its reply
#[derive(Debug, Args)]
pub(in crate::cli) struct Request {
    /// Name, node id or its start, or ticket; `local`: this node
    peer: PeerArgument,
    /// Protocol to ask, such as echo/1
    protocol: Protocol,
    /// Time limit for the reply, such as 30 (seconds) or 5m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = time_limit::parse)]
    timeout: Option<Duration>,
}

impl Request {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let message = message().await?;
        let peer = self.peer.resolve(context).await?;
        let mut session = Session::open(context).await?;
        let target = peer.target();
        let reply = session.client.call(target.clone(), self.protocol, message, self.timeout).await;
        let reply = session.answered(&target, reply).await?;
        if context.printer.json {
            return context.printer.document(&match std::str::from_utf8(&reply) {
                Ok(text) => json!({ "reply": text }),
                Err(_) => json!({ "reply_base64": BASE64.encode(&reply) }),
            });
        }
        context.printer.raw();
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&reply).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(CliError::failed(format!("failed to write the reply: {error}"), "check where the output goes"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the message from stdin; it is empty on a terminal.
async fn message() -> Result<Vec<u8>, CliError> {
    let mut message = Vec::new();
    if std::io::stdin().is_terminal() {
        return Ok(message);
    }
    let limit = u64::try_from(MAX_PAYLOAD).unwrap_or(u64::MAX).saturating_add(1);
    tokio::io::stdin()
        .take(limit)
        .read_to_end(&mut message)
        .await
        .map_err(|error| CliError::failed(format!("failed to read stdin: {error}"), "check what it is connected to"))?;
    if message.len() > MAX_PAYLOAD {
        let text = format!("a request has at most {MAX_PAYLOAD} bytes");
        return Err(CliError::usage(text, "more fits through a stream: `polypeer pipe`"));
    }
    Ok(message)
}
