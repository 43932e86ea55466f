//! `polypeer serve PROTOCOL -- CMD…`: runs a process per stream that peers open, with the stream as its stdin and
//! stdout. The processes are children of this command: not confined, and ended with their stream or with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use polypeer_ipc_protocol::client::{Client, DataStream, StreamReader};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Origin, Scope};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinSet;

use super::Session;
use super::children::{self, Served};
use super::pipe::{CopyError, copy};
use crate::cli::Context;
use crate::cli::peer::{PeerArgument, known_peers};
use crate::cli_error::{CliError, Exit};
use crate::control::known::KnownPeers;

/// Processes at a time; further streams are refused.
const MAX_CHILDREN: usize = 64;
/// Attempts to reconnect after netcore ended, and the pause between them.
const RECONNECTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// Code for the caller when the process failed; the exit status stays private.
const FAILED: u32 = ErrorCode::HandlerFailed.number();

/// Run a command for each stream that peers open; the command is not confined
#[derive(Debug, Args)]
pub(in crate::cli) struct Serve {
    /// Protocol to serve, such as echo/1
    protocol: Protocol,
    /// Serve only this peer; may be repeated [default: any peer]
    #[arg(long, value_name = "PEER")]
    peer: Vec<PeerArgument>,
    /// Command and arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Serve {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let Self { protocol, peer, command } = self;
        let program = command.first().map_or("", String::as_str);
        if !children::exists(program) {
            let message = format!("{program} is no program that can be run");
            return Err(CliError::usage(message, "check its path, or that it is in a folder of PATH and executable"));
        }
        let (mut peers, mut names) = (BTreeSet::new(), Vec::new());
        for peer in peer {
            let peer = peer.resolve(context).await?;
            peers.insert(peer.node());
            names.push(peer.shown());
        }
        let whom = if names.is_empty() { "any peer".to_owned() } else { names.join(", ") };
        let mut session = Session::open(context).await?;
        listen(&session.client, &protocol).await?;
        context.printer.say(format!(
            "serving {protocol} to {whom} with {:?}, which is not confined and runs with your rights; Ctrl-C ends it",
            command.join(" ")
        ));
        let mut served = JoinSet::new();
        let done = tokio::select! {
            done = serve_streams(context, &mut session, &protocol, &peers, &command, &mut served) => done,
            () = children::interrupted() => Ok(()),
        };
        served.shutdown().await; // Ends the processes.
        session.explained(done).await
    }
}

/// Serves streams, until the session is over for good.
async fn serve_streams(
    context: &Context,
    session: &mut Session,
    protocol: &Protocol,
    peers: &BTreeSet<NodeId>,
    command: &[String],
    served: &mut JoinSet<()>,
) -> Result<(), CliError> {
    let own = session.client.node_id();
    // As they are now: a name that is given later is shown when the command is run again.
    let known = Arc::new(known_peers(context).await?);
    let allows = |origin: &Origin| match origin {
        Origin::Peer(node) => peers.is_empty() || *node == own || peers.contains(node),
        Origin::Local(_) => true,
    };
    loop {
        let event = session.events.next().await;
        while served.try_join_next().is_some() {}
        match event {
            Some(Event::Stream { stream, origin, .. }) if !allows(&origin) => {
                context.printer.say(format!("refused a stream of {}: only others are served", shown(&origin, &known)));
                let why = Failure::new(ErrorCode::Refused, "its operator serves this protocol to other peers only");
                let _ = session.client.refuse(stream, why).await; // The stream may have ended meanwhile.
            }
            Some(Event::Stream { stream, origin, .. }) if served.len() >= MAX_CHILDREN => {
                let who = shown(&origin, &known);
                context.printer.say(format!("refused a stream of {who}: {MAX_CHILDREN} processes are running"));
                let busy = Failure::new(ErrorCode::Refused, format!("{MAX_CHILDREN} streams are being served"));
                let _ = session.client.refuse(stream, busy).await; // As above.
            }
            Some(Event::Stream { stream, origin, protocol }) => {
                let (client, printer, command) = (session.client.clone(), context.printer.clone(), command.to_owned());
                let who = shown(&origin, &known);
                served.spawn(async move {
                    match serve(&client, stream, &origin, &protocol, &command).await {
                        Ok(()) => printer.say(format!("served {who}")),
                        Err(Unserved::Left) => printer.say(format!("{who} left before the end")),
                        Err(Unserved::Failed(problem)) => printer.say(format!("failed to serve {who}: {problem}")),
                    }
                });
            }
            Some(Event::Closing(failure)) => {
                if failure.is(ErrorCode::ShuttingDown) {
                    return Err(CliError::from_failure(&failure));
                }
                context.printer.say(format!("the session ended ({failure}); reconnecting"));
                reconnect(session, protocol, &failure).await?;
                context.printer.say(format!("serving {protocol} again"));
            }
            Some(_) => {}
            None => return Err(CliError::from_failure(&ErrorCode::ConnectionLost.into())),
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

/// Who opened a stream, for people.
fn shown(origin: &Origin, known: &KnownPeers) -> String {
    match origin {
        Origin::Peer(node) => known.shown(node),
        Origin::Local(_) => name(origin),
    }
}

/// Who opened a stream, for the command that serves it.
fn name(origin: &Origin) -> String {
    match origin {
        Origin::Peer(node) => node.to_string(),
        Origin::Local(plugin) => format!("the plugin {plugin}"),
    }
}

/// Why a stream was not served to its end.
enum Unserved {
    /// The other side ended it, or is gone.
    Left,
    /// The process, or this end.
    Failed(String),
}

/// Runs one process on one stream until both have ended.
async fn serve(
    client: &Client,
    stream: u64,
    origin: &Origin,
    protocol: &Protocol,
    command: &[String],
) -> Result<(), Unserved> {
    let environment = [("POLYPEER_PEER", name(origin)), ("POLYPEER_PROTOCOL", protocol.to_string())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (process, stdin, stdout) = match Served::start(command, &environment) {
        Ok(started) => started,
        Err(error) => {
            let why = "the command that serves it there cannot be run";
            let _ = client.refuse(stream, Failure::new(ErrorCode::HandlerFailed, why)).await; // It may be gone.
            return Err(Unserved::Failed(format!("{} cannot be run: {error}", command.join(" "))));
        }
    };
    match client.accept(stream).await {
        Ok(stream) => carry(stream, process, stdin, stdout, &command.join(" ")).await,
        Err(_) => {
            process.end().await;
            Err(Unserved::Left)
        }
    }
}

/// Carries a stream between a peer and a process, and ends the process once the peer neither writes nor reads.
async fn carry(
    stream: DataStream,
    mut process: Served,
    stdin: ChildStdin,
    mut stdout: ChildStdout,
    command: &str,
) -> Result<(), Unserved> {
    let (mut from_peer, mut to_peer) = stream.split();
    let watch = to_peer.watch();
    // Open until the process has ended if the stream is cut: that must not look to it like the end of its input.
    let mut stdin = Some(stdin);
    let (mut fed, mut answered, mut status) = (false, false, None);
    {
        let mut feeding = std::pin::pin!(feed(&mut from_peer, &mut stdin));
        let mut answering = std::pin::pin!(async {
            let copied = copy(&mut stdout, &mut to_peer, || ()).await;
            drop(stdout);
            copied
        });
        let mut unread = false;
        while status.is_none() || !answered {
            let left = tokio::select! {
                done = &mut feeding, if !fed => {
                    fed = done.is_ok();
                    done.is_err() || (fed && unread)
                }
                done = &mut answering, if !answered => {
                    answered = true;
                    unread |= done.is_err();
                    fed && unread
                }
                _ = watch.stopped(), if !unread => {
                    unread = true;
                    fed
                }
                ended = process.ended(), if status.is_none() => {
                    status = Some(ended);
                    false
                }
            };
            if left {
                process.end().await;
                return Err(Unserved::Left);
            }
        }
    }
    match status {
        Some(Ok(status)) if status.success() => {
            drop(process);
            if !fed {
                // It answered without reading all of its input.
                from_peer.stop(0).await.map_err(|_| Unserved::Left)?;
            }
            to_peer.closed().await.map_err(|_| Unserved::Left)
        }
        failed => {
            let _ = to_peer.reset(FAILED).await; // The other side may be gone.
            let _ = from_peer.stop(FAILED).await;
            Err(Unserved::Failed(match failed {
                Some(Ok(status)) => format!("{command} ended with {status}"),
                Some(Err(error)) => error.to_string(),
                None => "it did not end".to_owned(),
            }))
        }
    }
}

/// Passes what the peer writes to the process. It is no error when the process stops reading.
async fn feed(from_peer: &mut StreamReader, stdin: &mut Option<ChildStdin>) -> Result<(), ()> {
    if let Some(input) = stdin
        && let Err(CopyError::Read(_)) = copy(from_peer, input, || ()).await
    {
        return Err(());
    }
    *stdin = None;
    Ok(())
}
