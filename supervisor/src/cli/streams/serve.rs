//! `polypeer serve PROTOCOL -- CMD…`: runs a process per stream that peers open, with the stream as its stdin and
//! stdout. The processes are children of this command: not confined, and killed when it ends.

use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use polypeer_ipc_protocol::client::{Client, DataStream};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Origin, Scope};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::Session;
use super::pipe::copy;
use crate::cli::Context;
use crate::cli_error::{CliError, Exit};

/// Processes at a time; further streams are refused.
const MAX_CHILDREN: usize = 64;
/// Attempts to reconnect after netcore ended, and the pause between them.
const RECONNECTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// Reset code when the process failed; the exit status stays private.
const COMMAND_FAILED: u32 = 1;

/// Run a command for each stream that peers open; the command is not confined
#[derive(Debug, Args)]
pub(in crate::cli) struct Serve {
    /// Protocol to serve, such as echo/1
    protocol: Protocol,
    /// Command and arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Serve {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let Self { protocol, command } = self;
        let mut session = Session::open(context).await?;
        listen(&session.client, &protocol).await?;
        context.printer.say(format!(
            "serving {protocol} to any peer with {:?}, which is not confined and runs with your rights; Ctrl-C ends it",
            command.join(" ")
        ));
        let mut children = JoinSet::new();
        loop {
            let event = session.events.next().await;
            while children.try_join_next().is_some() {}
            match event {
                Some(Event::Stream { stream, origin, .. }) if children.len() >= MAX_CHILDREN => {
                    context
                        .printer
                        .say(format!("refused a stream of {}: {MAX_CHILDREN} processes are running", name(&origin)));
                    let busy = Failure::new(ErrorCode::Refused, format!("{MAX_CHILDREN} streams are being served"));
                    let _ = session.client.refuse(stream, busy).await; // The stream may have ended meanwhile.
                }
                Some(Event::Stream { stream, origin, protocol }) => {
                    let (client, printer, command) = (session.client.clone(), context.printer.clone(), command.clone());
                    children.spawn(async move {
                        let who = name(&origin);
                        let ended = match client.accept(stream).await {
                            Ok(stream) => serve(stream, &origin, &protocol, &command).await,
                            Err(error) => Err(error.failure().to_string()),
                        };
                        match ended {
                            Ok(()) => printer.say(format!("served {who}")),
                            Err(problem) => printer.say(format!("failed to serve {who}: {problem}")),
                        }
                    });
                }
                Some(Event::Closing(failure)) => {
                    context.printer.say(format!("the session ended ({failure}); reconnecting"));
                    reconnect(&mut session, &protocol, &failure).await?;
                    context.printer.say(format!("serving {protocol} again"));
                }
                Some(_) => {}
                None => return Err(CliError::from_failure(&ErrorCode::ConnectionLost.into())),
            }
        }
    }
}

async fn listen(client: &Client, protocol: &Protocol) -> Result<(), CliError> {
    client.listen(protocol.clone(), Scope::Peers, CallMode::Streams).await.map_err(CliError::from)
}

async fn reconnect(session: &mut Session, protocol: &Protocol, why: &Failure) -> Result<(), CliError> {
    for _ in 0..RECONNECTS {
        tokio::time::sleep(PAUSE).await;
        if session.reconnect().await.is_ok() && listen(&session.client, protocol).await.is_ok() {
            return Ok(());
        }
    }
    Err(CliError::new(Exit::Failed, format!("the session ended: {why}"), "check `polypeer status`, then run it again"))
}

fn name(origin: &Origin) -> String {
    match origin {
        Origin::Peer(node) => node.to_string(),
        Origin::Local(plugin) => format!("the plugin {plugin}"),
    }
}

/// Runs one process on one stream until both have ended.
async fn serve(mut stream: DataStream, origin: &Origin, protocol: &Protocol, command: &[String]) -> Result<(), String> {
    let spawned = Command::new(&command[0])
        .args(&command[1..])
        .env("POLYPEER_PEER", name(origin))
        .env("POLYPEER_PROTOCOL", protocol.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let _ = stream.reset(COMMAND_FAILED).await; // The other side may be gone.
            return Err(format!("{} cannot be run: {error}", command[0]));
        }
    };
    let mut stdin = child.stdin.take().expect("asked for above");
    let mut stdout = child.stdout.take().expect("asked for above");
    let (mut from_peer, mut to_peer) = tokio::io::split(stream);
    let feeding = async {
        // It is no error when the process stops reading. A cut stream must not look to it like the end of its input.
        match copy(&mut from_peer, &mut stdin).await {
            Err(super::pipe::CopyError::Read(error)) => Err(error.to_string()),
            _ => {
                drop(stdin);
                Ok(())
            }
        }
    };
    let answering = async {
        match copy(&mut stdout, &mut to_peer).await {
            Ok(_) => child.wait().await.map_err(|error| error.to_string()),
            Err(super::pipe::CopyError::Read(error) | super::pipe::CopyError::Write(error)) => Err(error.to_string()),
        }
    };
    let (fed, status) = {
        let (mut feeding, mut answering) = (std::pin::pin!(feeding), std::pin::pin!(answering));
        let mut fed = false;
        let status = loop {
            tokio::select! {
                done = &mut feeding, if !fed => match done {
                    Ok(()) => fed = true,
                    Err(problem) => break Err(problem),
                },
                done = &mut answering => break done,
            }
        };
        (fed, status)
    };
    let mut stream = from_peer.unsplit(to_peer);
    match status {
        Ok(status) if status.success() && fed => stream.closed().await.map_err(|error| error.to_string()),
        Ok(status) if status.success() => {
            // It answered without reading all of its input.
            stream.finish().await.map_err(|error| error.to_string())?;
            stream.stop(0).await.map_err(|error| error.to_string())
        }
        failed => {
            let _ = stream.reset(COMMAND_FAILED).await; // The other side may be gone.
            let _ = stream.stop(COMMAND_FAILED).await;
            Err(failed.map_or_else(|problem| problem, |status| format!("{} ended with {status}", command[0])))
        }
    }
}
