//! The admin session on Windows: two anonymous pipes. A frame's body is the message followed by an `Option<String>`,
//! the name of the pipe for netcore to listen on.

use std::io::{self, IsTerminal};
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs::File;

use super::super::{FrameReader, FrameWriter, TransportError};
use crate::codec;

/// A child's end of the admin session, for its stdin and stdout.
#[derive(Debug)]
pub struct AdminEnd {
    /// From the supervisor: the child's stdin.
    pub reader: OwnedHandle,
    /// From netcore: the child's stdout.
    pub writer: OwnedHandle,
}

/// A plugin's gateway, attached to a frame: the pipe's name, `\\.\pipe\…`.
pub type Handover = PathBuf;

/// The end of the admin session that this process inherited: its stdin and stdout. Fails if these are a console.
pub fn inherited() -> io::Result<AdminEnd> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    if stdin.is_terminal() || stdout.is_terminal() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "stdin and stdout are a console"));
    }
    let reader = stdin.as_handle().try_clone_to_owned()?;
    Ok(AdminEnd { reader, writer: stdout.as_handle().try_clone_to_owned()? })
}

/// One end of the admin session.
#[derive(Debug)]
pub struct AdminChannel {
    sender: AdminSender,
    receiver: AdminReceiver,
}

impl AdminChannel {
    /// A connected pair: this process's end, and the end for a child.
    pub fn pair() -> io::Result<(Self, AdminEnd)> {
        let (reader, far_writer) = io::pipe()?;
        let (far_reader, writer) = io::pipe()?;
        let near = Self::from_end(AdminEnd { reader: reader.into(), writer: writer.into() })?;
        Ok((near, AdminEnd { reader: far_reader.into(), writer: far_writer.into() }))
    }

    /// Uses one end, such as that of [`inherited`]. Needs a runtime: an anonymous pipe can only be read and written by
    /// a thread that blocks, here one of the runtime's.
    pub fn from_end(end: AdminEnd) -> io::Result<Self> {
        let file = |handle: OwnedHandle| File::from_std(handle.into());
        Ok(Self {
            sender: AdminSender(FrameWriter::new(file(end.writer))),
            receiver: AdminReceiver(FrameReader::new(file(end.reader))),
        })
    }

    /// See [`AdminSender::send`].
    pub async fn send<T: Serialize>(&mut self, message: &T, attached: Option<&Handover>) -> Result<(), TransportError> {
        self.sender.send(message, attached).await
    }

    /// See [`AdminReceiver::recv`].
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<Handover>)>, TransportError> {
        self.receiver.recv().await
    }

    /// Two halves for two tasks. The session ends when both are dropped.
    pub fn split(self) -> (AdminSender, AdminReceiver) {
        (self.sender, self.receiver)
    }
}

/// The send half.
#[derive(Debug)]
pub struct AdminSender(FrameWriter<File>);

impl AdminSender {
    /// Sends one message with `attached` behind it. If cancelled, the next call sends the rest of the frame.
    pub async fn send<T: Serialize>(&mut self, message: &T, attached: Option<&Handover>) -> Result<(), TransportError> {
        let name = attached.map(|name| name.to_string_lossy());
        self.0.send(&(message, name)).await
    }
}

/// The receive half.
#[derive(Debug)]
pub struct AdminReceiver(FrameReader<File>);

impl AdminReceiver {
    /// The next message and its attachment, at most one; `None` if the session ends between frames. Cancel-safe.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<Handover>)>, TransportError> {
        let body = match self.0.next().await {
            Ok(Some(body)) => body,
            // Windows reports so that the other end of a pipe was closed.
            Err(TransportError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            Ok(None) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (message, name): (T, Option<String>) = codec::decode(body)?;
        Ok(Some((message, name.map(PathBuf::from).into_iter().collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_name_arrives_with_its_own_frame() {
        let (mut near, far) = AdminChannel::pair().expect("a pair");
        let mut far = AdminChannel::from_end(far).expect("the other end");
        let name = PathBuf::from(r"\\.\pipe\one");
        near.send(&1u32, None).await.expect("sent");
        near.send(&2u32, Some(&name)).await.expect("sent");
        drop(near);
        assert_eq!(far.recv::<u32>().await.expect("valid"), Some((1, vec![])));
        assert_eq!(far.recv::<u32>().await.expect("valid"), Some((2, vec![name])));
        assert_eq!(far.recv::<u32>().await.expect("a clean end"), None);
    }
}
