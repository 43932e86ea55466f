//! `polypeer pipe PEER PROTOCOL`: stdin and stdout over a stream. Each direction ends by itself. The command ends when
//! both have ended or stdout is closed, and fails when a direction was cut or reset.

use std::io::ErrorKind;

use clap::Args;
use polypeer_ipc_protocol::client::StreamError;
use polypeer_ipc_protocol::ids::Protocol;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Session;
use crate::cli::Context;
use crate::cli::peer::PeerArgument;
use crate::cli_error::{CliError, of_stream};

/// Bytes moved at a time.
const CHUNK: usize = 128 << 10;

/// Connect stdin and stdout to a protocol of a peer
#[derive(Debug, Args)]
pub(in crate::cli) struct Pipe {
    /// Name, node id or its start, or ticket
    peer: PeerArgument,
    /// Protocol to open, such as echo/1
    protocol: Protocol,
}

impl Pipe {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let peer = self.peer.resolve_other(context).await?;
        let session = Session::open(context).await?;
        let stream = session.client.open(peer.target(), self.protocol, None).await?;
        let (mut from_peer, mut to_peer) = tokio::io::split(stream);
        let sending = async {
            match copy(&mut tokio::io::stdin(), &mut to_peer).await {
                // The peer reads no further; its answer may still arrive.
                Err(CopyError::Write(error)) if StreamError::of(&error) == Some(&StreamError::Stopped { code: 0 }) => {
                    Ok(())
                }
                Err(error) => Err(Some(error.into_cli_error("stdin"))),
                Ok(_) => to_peer.shutdown().await.map_err(|error| Some(of_stream(&error))),
            }
        };
        let receiving = async {
            let mut stdout = tokio::io::stdout();
            copy(&mut from_peer, &mut stdout).await.map_err(|error| match error {
                CopyError::Write(error) if error.kind() == ErrorKind::BrokenPipe => None,
                error => Some(error.into_cli_error("stdout")),
            })
        };
        let done = tokio::try_join!(sending, receiving);
        let mut stream = from_peer.unsplit(to_peer);
        match done {
            Ok(_) => {}
            Err(Some(error)) => return Err(error),
            // The reader of stdout has finished, such as `head`.
            Err(None) => return stream.stop(0).await.map_err(|error| of_stream(&error)),
        }
        match stream.closed().await {
            Ok(()) | Err(StreamError::Stopped { code: 0 }) => Ok(()),
            Err(error) => Err(of_stream(&error.into())),
        }
    }
}

/// The side of a copy that failed.
pub(super) enum CopyError {
    Read(std::io::Error),
    Write(std::io::Error),
}

impl CopyError {
    /// The error for a copy between a stream and `local`.
    fn into_cli_error(self, local: &str) -> CliError {
        let (Self::Read(error) | Self::Write(error)) = self;
        match StreamError::of(&error) {
            Some(_) => of_stream(&error),
            None => CliError::failed(format!("failed to use {local}: {error}"), "check what it is connected to"),
        }
    }
}

/// Copies until the end of `from`, and flushes after each read. Returns the number of bytes.
pub(super) async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<u64, CopyError> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let read = from.read(&mut buffer).await.map_err(CopyError::Read)?;
        if read == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..read]).await.map_err(CopyError::Write)?;
        to.flush().await.map_err(CopyError::Write)?;
        total += read as u64;
    }
}
