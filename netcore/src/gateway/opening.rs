//! Gateway connections from their first frame to its answer. [`super::accept`] reads the frame; `control` and
//! [`crate::streams`] answer it.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::Origin;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::session::server::ServerSession;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Hub;
use super::data::{DataReader, DataWriter};
use super::keep::{DataConnection, Home};
use super::socket::{ReadHalf, WriteHalf};

/// A connection whose first frame was read.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) reader: ReadHalf,
    pub(crate) writer: WriteHalf,
    pub(crate) buffer: BytesMut,
    pub(crate) server: ServerSession,
    pub(crate) out: Vec<u8>,
}

impl Connection {
    /// Sends what is in `out`, within `timings.linger`.
    pub(crate) async fn flush(&mut self, hub: &Hub) {
        let _ = timeout(hub.node.timings.linger, self.writer.write_all(&self.out)).await;
        self.out.clear();
    }

    /// Sends what is in `out` and closes the connection, within `timings.linger`. Bytes that still arrive are read and
    /// discarded first: if a socket is closed with unread bytes, the plugin's next read or write fails before it sees
    /// the reason.
    pub(crate) async fn close(self, hub: &Hub) {
        let Self { mut reader, mut writer, mut buffer, out, .. } = self;
        let closing = async {
            writer.write_all(&out).await?;
            writer.shutdown().await?;
            buffer.clear();
            while reader.read_buf(&mut buffer).await? > 0 {
                buffer.clear();
            }
            Ok::<_, std::io::Error>(())
        };
        let _ = timeout(hub.node.timings.linger, closing).await;
    }

    /// A connection of which only `buffer` was read.
    pub(super) fn new(reader: ReadHalf, writer: WriteHalf, buffer: BytesMut) -> Self {
        Self { reader, writer, buffer, server: ServerSession::default(), out: Vec::new() }
    }

    /// Turns it into a data connection whose opening is not answered yet.
    pub(super) fn into_opening(self, home: Home) -> Opening {
        let Self { reader, writer, buffer, server, out } = self;
        let data = DataConnection { reader: DataReader::new(reader, buffer), writer: DataWriter::new(writer), home };
        Opening { data, server, out }
    }

    /// Refuses the request in the first frame and closes the connection.
    pub(crate) async fn refuse(mut self, hub: &Hub, failure: Failure) {
        self.server.refuse(failure, &mut self.out);
        self.close(hub).await;
    }
}

/// A data connection whose opening frame is not answered yet.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) data: DataConnection,
    server: ServerSession,
    out: Vec<u8>,
}

impl Opening {
    /// Accepts the opening. The answer goes out with the first bytes written.
    pub(crate) fn opened(mut self, origin: Origin, protocol: Protocol) -> DataConnection {
        self.server.opened(origin, protocol, &mut self.out);
        self.data.writer.push_reply(&self.out);
        self.data
    }

    /// Refuses the opening and closes the connection.
    pub(crate) async fn refuse(mut self, hub: &Hub, failure: Failure) {
        self.server.refuse(failure, &mut self.out);
        self.data.writer.push_reply(&self.out);
        let _ = timeout(hub.node.timings.linger, self.data.writer.flush()).await;
    }

    /// [`Self::refuse`] for a connection that has only waited since its opening: the refusal fits in its socket.
    pub(super) fn refuse_now(mut self, failure: Failure) {
        self.server.refuse(failure, &mut self.out);
        self.data.writer.push_reply(&self.out);
        let _ = now(self.data.writer.flush());
    }

    /// Whether the plugin has closed the connection. Bytes that it sent are kept, as in [`DataReader::closed`].
    pub(super) fn is_closed(&mut self) -> bool {
        now(self.data.reader.closed()).is_some()
    }
}

/// The result of `future` if it has one at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}
