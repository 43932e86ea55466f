//! What the contenders share: a server that answers streams, and a driver that carries out orders on one link and
//! reports times. The measured plugin takes the same orders, so that all sides do the same work.
//!
//! `NAME serve …` prints where it can be reached and serves until killed. `NAME drive … ADDRESS` connects, reads orders
//! as JSON lines from its standard input, and answers each with one line:
//! `{"result": [seconds, …]}` or `{"error": text}`.

mod certificate;
mod order;
mod work;

use std::any::Any;
use std::future::Future;

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};

pub use certificate::{Anybody, own_certificate, provider};
pub use order::drive;
pub use work::answer;

/// Bytes per write of a bulk transfer; the same as in the measured plugin.
pub const PIECE: usize = 256 << 10;
/// Bytes of a request, and of its reply.
pub const MESSAGE: usize = 1 << 10;
/// First byte of what is answered with the same bytes.
pub const ECHO: u8 = b'E';
/// First byte of what is answered with one byte, after its end.
pub const COUNT: u8 = b'C';

/// An established connection, or for sockets the place to connect to.
pub trait Link: Send + Sync + 'static {
    type Write: AsyncWrite + Unpin + Send + 'static;
    type Read: AsyncRead + Unpin + Send + 'static;

    /// A fresh stream; whatever that costs is part of the figure.
    fn open(&self) -> impl Future<Output = Result<(Self::Write, Self::Read)>> + Send;

    /// A further connection with its full handshake, which stands until the value is dropped.
    fn connect(&self) -> impl Future<Output = Result<Box<dyn Any + Send>>> + Send {
        async { bail!("no further connections here") }
    }

    /// Packets that a connection made by [`Self::connect`] has sent and received.
    fn packets(_connection: &(dyn Any + Send)) -> u64 {
        0
    }
}

/// The runtime of a contender: one thread for "ct", else as many workers as told ("mt").
pub fn runtime(workers: usize) -> Result<Runtime> {
    Ok(match workers {
        0 => Builder::new_current_thread().enable_all().build()?,
        workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build()?,
    })
}
