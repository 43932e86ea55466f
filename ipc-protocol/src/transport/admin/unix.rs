//! The admin session on Unix: an inherited socket pair whose frames may carry a descriptor.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, recvmsg, sendmsg, sockopt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::super::TransportError;
use crate::codec;
use crate::frame::{self, HEADER};
use crate::limits::MAX_FRAME;

/// Descriptors in one read. The admin session attaches one to a frame; more are an error.
const MAX_DESCRIPTORS: usize = 4;
/// Size of a read, bytes.
const READ: usize = 16 << 10;

/// Flags of sendmsg and recvmsg. macOS has neither: a Rust program ignores SIGPIPE there anyway, and a child that
/// another thread starts at that moment can inherit a received descriptor.
#[cfg(target_os = "linux")]
const SEND: MsgFlags = MsgFlags::MSG_NOSIGNAL;
#[cfg(target_os = "linux")]
const RECEIVE: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const SEND: MsgFlags = MsgFlags::empty();
#[cfg(not(target_os = "linux"))]
const RECEIVE: MsgFlags = MsgFlags::empty();

/// The descriptor of the admin session in netcore.
const ADMIN: RawFd = 3;

/// A child's end of the admin session: a blocking Unix socket, descriptor 3 of netcore.
pub type AdminEnd = OwnedFd;

/// A plugin's gateway, attached to a frame: its listening socket.
pub type Handover = OwnedFd;

/// The end of the admin session that this process inherited: descriptor 3. Fails if that is not an open socket. Call it
/// once, before anything else could have opened a descriptor of that number.
pub fn inherited() -> io::Result<AdminEnd> {
    socket_of(ADMIN)
}

/// Takes over an inherited descriptor. Fails if it is not an open socket.
fn socket_of(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl and getsockopt fail on a number that is not open; the borrow ends in this function.
    #[allow(unsafe_code, reason = "a descriptor number becomes a descriptor")]
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    nix::sys::socket::getsockopt(&borrowed, sockopt::SockType)?;
    // SAFETY: the descriptor is open (just used), and by the caller's promise nobody else in this process owns it.
    #[allow(unsafe_code, reason = "a descriptor number becomes a descriptor")]
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// One end of the admin session: frames both ways, each with at most one descriptor attached to its first byte.
#[derive(Debug)]
pub struct AdminChannel {
    sender: AdminSender,
    receiver: AdminReceiver,
}

impl AdminChannel {
    /// A connected pair: this process's end, and the end for a child, which is blocking and closed on `exec` unless
    /// the spawner maps it to descriptor 3.
    pub fn pair() -> io::Result<(Self, AdminEnd)> {
        let (near, far) = StdUnixStream::pair()?;
        Ok((Self::from_end(near.into())?, far.into()))
    }

    /// Uses one end, such as that of [`inherited`]. Needs a runtime.
    pub fn from_end(end: AdminEnd) -> io::Result<Self> {
        let stream = StdUnixStream::from(end);
        stream.set_nonblocking(true)?;
        let stream = Arc::new(UnixStream::from_std(stream)?);
        let sender = AdminSender { stream: stream.clone(), frame: Vec::new(), sent: 0, descriptor: None };
        let receiver = AdminReceiver { stream, buffer: Vec::new(), start: 0, offset: 0, descriptors: VecDeque::new() };
        Ok(Self { sender, receiver })
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
pub struct AdminSender {
    stream: Arc<UnixStream>,
    /// The frame being sent.
    frame: Vec<u8>,
    sent: usize,
    /// Attached to the first byte of `frame`; kept so that a cancelled send can be completed.
    descriptor: Option<OwnedFd>,
}

impl AdminSender {
    /// Sends one message, with a copy of `attached` beside its first byte. If cancelled, the next call sends the rest
    /// of the frame.
    pub async fn send<T: Serialize>(&mut self, message: &T, attached: Option<&Handover>) -> Result<(), TransportError> {
        self.flush().await?;
        frame::write(message, &mut self.frame)?;
        self.descriptor = attached.map(OwnedFd::try_clone).transpose()?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), TransportError> {
        while self.sent < self.frame.len() {
            let attached = self.descriptor.as_ref().map(|fd| [fd.as_raw_fd()]);
            let bytes = [IoSlice::new(&self.frame[self.sent..])];
            let control = attached.as_ref().map(|fds| ControlMessage::ScmRights(fds));
            let send = || Ok(sendmsg::<()>(self.stream.as_raw_fd(), &bytes, control.as_slice(), SEND, None)?);
            self.sent += self.stream.async_io(Interest::WRITABLE, send).await?;
            self.descriptor = None;
        }
        self.frame.clear();
        self.frame.shrink_to(READ);
        self.sent = 0;
        Ok(())
    }
}

/// The receive half.
#[derive(Debug)]
pub struct AdminReceiver {
    stream: Arc<UnixStream>,
    buffer: Vec<u8>,
    /// Start of the bytes in `buffer` that have not been returned yet.
    start: usize,
    /// Position in the whole session of the first byte of `buffer`.
    offset: u64,
    /// Received descriptors, each with the position at which its read ended. The kernel ends a read at the bytes that a
    /// descriptor is attached to, so it belongs to the last frame that starts before that position.
    descriptors: VecDeque<(u64, Vec<OwnedFd>)>,
}

impl AdminReceiver {
    /// The next message and the descriptors attached to it; `None` if the session ends between frames. Cancel-safe.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<Handover>)>, TransportError> {
        let length = loop {
            if let Some(body) = frame::split(&self.buffer[self.start..])? {
                break body.len();
            }
            if !self.read().await? {
                let rest = self.buffer.len() - self.start;
                return if rest == 0 { Ok(None) } else { Err(TransportError::Cut) };
            }
        };
        let body = self.start + HEADER..self.start + HEADER + length;
        self.start = body.end;
        let end = self.offset + body.end as u64;
        let message = codec::decode(&self.buffer[body])?;
        let mut attached = Vec::new();
        while self.descriptors.front().is_some_and(|(until, _)| *until <= end) {
            attached.extend(self.descriptors.pop_front().into_iter().flat_map(|(_, fds)| fds));
        }
        Ok(Some((message, attached)))
    }

    /// Reads once; false at the end of the session.
    async fn read(&mut self) -> Result<bool, TransportError> {
        self.buffer.drain(..self.start);
        self.offset += self.start as u64;
        self.start = 0;
        self.buffer.shrink_to(2 * READ);
        debug_assert!(self.buffer.len() <= MAX_FRAME + HEADER, "a whole frame was taken out before");
        let (stream, buffer) = (&self.stream, &mut self.buffer);
        let (read, fds) = stream.async_io(Interest::READABLE, || receive(stream, buffer)).await?;
        if fds.len() > MAX_DESCRIPTORS {
            return Err(TransportError::Descriptors);
        }
        if !fds.is_empty() {
            self.descriptors.push_back((self.offset + self.buffer.len() as u64, fds));
        }
        Ok(read > 0)
    }
}

/// Reads once and appends to `buffer`. Returns the number of bytes, and the descriptors attached to them.
fn receive(stream: &UnixStream, buffer: &mut Vec<u8>) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let before = buffer.len();
    buffer.resize(before + READ, 0);
    let mut parts = [IoSliceMut::new(&mut buffer[before..])];
    let result = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), RECEIVE);
    let read = result.as_ref().map_or(0, |message| message.bytes);
    let descriptors = result.map_err(io::Error::from).and_then(|message| descriptors(&message));
    buffer.truncate(before + read);
    Ok((read, descriptors?))
}

fn descriptors(message: &RecvMsg<'_, '_, ()>) -> io::Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows of them.
            #[allow(unsafe_code, reason = "the kernel hands descriptors over as numbers")]
            received.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::gateway::Payload;

    fn payload(length: usize) -> Payload {
        Payload(vec![5; length].into())
    }

    #[tokio::test]
    async fn each_descriptor_arrives_with_its_own_frame() {
        let (mut near, far) = AdminChannel::pair().expect("a pair");
        let mut far = AdminChannel::from_end(far).expect("the other end");
        let (mut kept, given) = StdUnixStream::pair().expect("something to send");
        let given = OwnedFd::from(given);
        near.send(&1u32, None).await.expect("sent");
        near.send(&2u32, Some(&given)).await.expect("sent");
        near.send(&3u32, None).await.expect("sent");
        near.send(&4u32, Some(&given)).await.expect("sent");
        near.send(&5u32, Some(&given)).await.expect("sent");
        drop((near, given));
        let mut seen = Vec::new();
        while let Some((number, mut fds)) = far.recv::<u32>().await.expect("valid") {
            seen.push((number, fds.len()));
            if let Some(fd) = fds.pop() {
                StdUnixStream::from(fd).write_all(b"x").expect("the descriptor works");
            }
        }
        assert_eq!(seen, [(1, 0), (2, 1), (3, 0), (4, 1), (5, 1)]);
        let mut text = String::new();
        kept.read_to_string(&mut text).expect("all copies are closed");
        assert_eq!(text, "xxx");
    }

    #[tokio::test]
    async fn frame_larger_than_the_socket_buffer_keeps_its_descriptor() {
        let (near, far) = AdminChannel::pair().expect("a pair");
        let mut far = AdminChannel::from_end(far).expect("the other end");
        let (_kept, given) = StdUnixStream::pair().expect("something to send");
        let given = OwnedFd::from(given);
        let (mut sender, _receiver) = near.split();
        let large = payload(MAX_FRAME - 8);
        let sending = async {
            sender.send(&payload(1), None).await.expect("sent");
            sender.send(&large, Some(&given)).await.expect("sent");
            sender.send(&payload(2), None).await.expect("sent");
        };
        let receiving = async {
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let (message, fds) = far.recv::<Payload>().await.expect("valid").expect("a frame");
                seen.push((message.0.len(), fds.len()));
            }
            seen
        };
        let ((), seen) = tokio::join!(sending, receiving);
        assert_eq!(seen, [(1, 0), (MAX_FRAME - 8, 1), (2, 0)]);
    }

    #[tokio::test]
    async fn session_cut_inside_a_frame_is_an_error() {
        let (mut near, far) = AdminChannel::pair().expect("a pair");
        let mut far = StdUnixStream::from(far);
        far.write_all(&[9, 0, 0, 0, 1]).expect("written");
        drop(far);
        assert!(matches!(near.recv::<u32>().await, Err(TransportError::Cut)));
    }

    #[test]
    fn number_that_is_no_socket_is_refused() {
        assert!(socket_of(1_000_000).is_err());
        let file = std::fs::File::open("/dev/null").expect("there on any Unix");
        let error = socket_of(file.as_raw_fd()).expect_err("not a socket");
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTSOCK));
    }
}
