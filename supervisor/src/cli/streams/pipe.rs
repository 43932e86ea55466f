//! `polypeer pipe PEER PROTOCOL`: stdin and stdout over a stream. Each direction ends by itself. The command ends when
//! both have ended, whether or not stdin has, or when stdout is closed; it fails when a direction was cut or reset.

use std::io::ErrorKind;
use std::time::Duration;

use clap::Args;
use polypeer_ipc_protocol::client::{DataStream, StreamError};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Session;
use crate::cli::peer::PeerArgument;
use crate::cli::{Context, time_limit};
use crate::cli_error::{CliError, Exit, of_stream};

/// Bytes moved at a time.
const CHUNK: usize = 128 << 10;

/// Connect stdin and stdout to a protocol of a peer
#[derive(Debug, Args)]
pub(in crate::cli) struct Pipe {
    /// Name, node id or its start, or ticket; `local`: this node
    peer: PeerArgument,
    /// Protocol to open, such as echo/1
    protocol: Protocol,
    /// Give up when no byte moves for so long, such as 30 (seconds) or 5m
    #[arg(long, value_name = "TIME", value_parser = time_limit::parse)]
    timeout: Option<Duration>,
}

impl Pipe {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let peer = self.peer.resolve(context).await?;
        let mut session = Session::open(context).await?;
        let target = peer.target();
        let stream = session.client.open(target.clone(), self.protocol, self.timeout).await;
        let stream = session.answered(&target, stream).await?;
        let moved = watch::Sender::new(Instant::now());
        let carried = tokio::select! {
            carried = carry(context, stream, &moved) => carried,
            () = idle(&moved, self.timeout) => {
                let limit = self.timeout.unwrap_or_default().as_secs_f32();
                let message = format!("no byte moved for {limit} s");
                return Err(CliError::new(Exit::Unreachable, message, "the other end may be busy; allow more --timeout"));
            }
        };
        session.explained(carried).await
    }
}

/// Waits until nothing has moved for `limit`; for ever without one.
async fn idle(moved: &watch::Sender<Instant>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let until = *moved.borrow() + limit;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

/// Carries both directions to their ends.
async fn carry(context: &Context, stream: DataStream, moved: &watch::Sender<Instant>) -> Result<(), CliError> {
    let (mut from_peer, mut to_peer) = stream.split();
    let watch = to_peer.watch();
    let sending = async {
        let mut stdin = tokio::io::stdin();
        let copied = tokio::select! {
            copied = copy(&mut stdin, &mut to_peer, || _ = moved.send_replace(Instant::now())) => copied,
            why = watch.stopped() => Err(CopyError::Write(why.into())),
        };
        match copied {
            // The peer reads no further; its answer may still arrive.
            Err(CopyError::Write(error)) if StreamError::of(&error) == Some(&StreamError::Stopped { code: 0 }) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        to_peer.shutdown().await.map_err(CopyError::Write)
    };
    let receiving = async {
        let mut stdout = tokio::io::stdout();
        let arrived = || {
            context.printer.raw();
            moved.send_replace(Instant::now());
        };
        copy(&mut from_peer, &mut stdout, arrived).await
    };
    let (received, sent) = both(receiving, sending).await;
    match received {
        Some(Ok(_)) | None => {}
        // The reader of stdout has finished, such as `head`.
        Some(Err(CopyError::Write(error))) if error.kind() == ErrorKind::BrokenPipe => {
            return from_peer.stop(0).await.map_err(|error| of_stream(&error));
        }
        Some(Err(error)) => return Err(error.into_cli_error("stdout")),
    }
    if let Some(Err(error)) = sent {
        return Err(error.into_cli_error("stdin"));
    }
    to_peer.closed().await.map_err(|error| of_stream(&error.into()))
}

/// Waits for both directions, but for one that has failed here: what arrives is still taken if the peer reads no more,
/// while the end of `receiving` by a failure ends both.
async fn both(
    receiving: impl Future<Output = Result<u64, CopyError>>,
    sending: impl Future<Output = Result<(), CopyError>>,
) -> (Option<Result<u64, CopyError>>, Option<Result<(), CopyError>>) {
    let (mut receiving, mut sending) = (std::pin::pin!(receiving), std::pin::pin!(sending));
    let (mut received, mut sent) = (None, None);
    loop {
        tokio::select! {
            done = &mut receiving, if received.is_none() => received = Some(done),
            done = &mut sending, if sent.is_none() => sent = Some(done),
        }
        let failed = matches!(&received, Some(Err(_))) || matches!(&sent, Some(Err(error)) if error.is_local());
        if failed || (received.is_some() && sent.is_some()) {
            return (received, sent);
        }
    }
}

/// The side of a copy that failed.
pub(super) enum CopyError {
    Read(std::io::Error),
    Write(std::io::Error),
}

impl CopyError {
    /// Whether the failure is of this end, and not of the stream.
    fn is_local(&self) -> bool {
        let (Self::Read(error) | Self::Write(error)) = self;
        StreamError::of(error).is_none()
    }

    /// The error for a copy between a stream and `local`.
    fn into_cli_error(self, local: &str) -> CliError {
        let (Self::Read(error) | Self::Write(error)) = self;
        match StreamError::of(&error) {
            Some(_) => of_stream(&error),
            None => CliError::failed(format!("failed to use {local}: {error}"), "check what it is connected to"),
        }
    }
}

/// Copies until the end of `from`, and flushes after each read, of which `moved` is told. Returns the number of bytes.
pub(super) async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: impl Fn(),
) -> Result<u64, CopyError> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let read = from.read(&mut buffer).await.map_err(CopyError::Read)?;
        if read == 0 {
            return Ok(total);
        }
        moved();
        to.write_all(&buffer[..read]).await.map_err(CopyError::Write)?;
        to.flush().await.map_err(CopyError::Write)?;
        total += read as u64;
    }
}
