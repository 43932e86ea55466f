//! The socket pair between the supervisor and an init. It carries packets, so messages are never cut or joined, with
//! descriptors and process ids where needed (unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, Shutdown, SockFlag, SockType,
    UnixCredentials, recv, recvmsg, sendmsg, setsockopt, shutdown, socketpair, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::message::MAX_MESSAGE;

/// A received message.
#[derive(Debug)]
pub(crate) struct Received<T> {
    pub(crate) message: T,
    /// Pid from the sender's credentials, in this process's pid namespace; received by the supervisor only.
    pub(crate) pid: Option<i32>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// A connected pair: the supervisor's end and the init's. Both close on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    setsockopt(&ours, sockopt::PassCred, &true)?;
    Ok((ours, theirs))
}

/// Sends one message; waits while the socket is full, for as long as the socket is set to.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let raw: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let attached = [ControlMessage::ScmRights(&raw)];
    transmit(socket, message, if raw.is_empty() { &[] } else { &attached })
}

/// Sends one message with `pid` as its credentials. Requires CAP_SYS_ADMIN in the sender's namespace.
pub(crate) fn send_about<T: Serialize>(socket: BorrowedFd<'_>, message: &T, pid: i32) -> io::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let credentials = UnixCredentials::from(libc::ucred { pid, uid, gid });
    transmit(socket, message, &[ControlMessage::ScmCredentials(&credentials)])
}

fn transmit<T: Serialize>(socket: BorrowedFd<'_>, message: &T, attached: &[ControlMessage<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::other(format!("message of {} bytes; the limit is {MAX_MESSAGE}", bytes.len())));
    }
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&bytes)], attached, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one message, with up to 4 descriptors; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<Received<T>>> {
    // The length first: an init lives for long, and would keep the pages of the largest buffer it ever had.
    let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
    let length = loop {
        match recv(socket.as_raw_fd(), &mut [], peek) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            result => break result?,
        }
    };
    let mut bytes = vec![0; length.min(MAX_MESSAGE)];
    let mut space = cmsg_space!([i32; 4], UnixCredentials);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received: RecvMsg<'_, '_, ()> = loop {
        match recvmsg(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            result => break result?,
        }
    };
    let (mut pid, mut descriptors) = (None, Vec::new());
    for attached in received.cmsgs()? {
        match attached {
            ControlMessageOwned::ScmRights(raw) => descriptors.extend(raw.into_iter().map(crate::kernel::adopt)),
            ControlMessageOwned::ScmCredentials(credentials) => pid = Some(credentials.pid()),
            _ => {}
        }
    }
    let length = received.bytes;
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..length])?;
    Ok(Some(Received { message, pid, descriptors }))
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Used only to wait until the socket is readable; packets are received with recvmsg(2).
    socket: UnixStream,
}

impl Channel {
    /// Wraps the supervisor's end; must be called on the runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)? })
    }

    /// Sends without waiting: the few messages of a launch fit into the socket's buffer.
    pub(crate) fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        send(self.socket.as_fd(), message, &[])
    }

    /// Closes this direction, which ends the init; its last reports can still be received.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        Ok(shutdown(self.socket.as_raw_fd(), Shutdown::Write)?)
    }

    /// The next report; `None` at the end. Cancelling loses nothing.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        self.socket.async_io(Interest::READABLE, || receive(self.socket.as_fd())).await
    }
}
