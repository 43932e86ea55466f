//! Plugins' sockets on Windows: named pipes that netcore makes, under the name the supervisor drew for the launch.
//! While netcore is restarted there is no such pipe, and a connect fails; SDKs try again.

use std::io;

use interprocess::local_socket::traits::tokio::Listener as _;
use polypeer_ipc_protocol::transport::admin::Handover;
pub use polypeer_ipc_protocol::transport::{LocalListener as Listener, ReadHalf, WriteHalf};
use polypeer_ipc_protocol::transport::{listen, split};

/// Makes the pipe, for this user alone. Fails when there is one of that name already.
pub fn adopt(name: Handover) -> io::Result<Listener> {
    listen(&name)
}

/// The next connection.
pub async fn accept(listener: &Listener) -> io::Result<(ReadHalf, WriteHalf)> {
    listener.accept().await.map(split)
}
