//! The listening sockets of plugins on Windows: named pipes. Netcore makes each under the random name that the
//! supervisor chose for the launch. While netcore restarts, the pipe does not exist and connecting fails; SDKs retry.

use std::io;

use interprocess::local_socket::traits::tokio::Listener as _;
use polypeer_ipc_protocol::transport::admin::Handover;
pub use polypeer_ipc_protocol::transport::{LocalListener as Listener, ReadHalf, WriteHalf};
use polypeer_ipc_protocol::transport::{listen, split};

/// Makes the pipe, accessible to this user alone. Fails when a pipe of that name exists.
pub fn adopt(name: Handover) -> io::Result<Listener> {
    listen(&name)
}

/// Accepts the next connection.
pub async fn accept(listener: &Listener) -> io::Result<(ReadHalf, WriteHalf)> {
    listener.accept().await.map(split)
}
