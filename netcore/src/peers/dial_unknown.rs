//! Dials of seeds, whose node id is not known, and what else discovery asks about connections.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::plan::ATTEMPT;
use polypeer_engine::socket_address::plain;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;

use super::state::{Shared, close};
use super::tie_break::Side;

impl Shared {
    pub(super) async fn dial_seed(self: &Arc<Self>, address: SocketAddr, source: Source) -> Result<NodeId, DialError> {
        if self.is_stopping() || !self.lock().is_open {
            return Err(DialError::Stopping);
        }
        let dial = tokio::time::timeout(ATTEMPT, self.transport.dial_anybody(address));
        let connection = dial.await.unwrap_or(Err(DialError::NoAnswer))?;
        let node = connection.node;
        if node == self.me {
            close(&connection.quic, ErrorCode::BadArgument);
            return Err(DialError::OtherNode(node));
        }
        let superseded = DialError::Refused { code: ErrorCode::Superseded.number().into() };
        match self.settle(connection, Side::Dialer, source).await {
            Ok(()) => Ok(node),
            Err(error) if error == superseded => Ok(node),
            Err(error) => Err(error),
        }
    }

    pub(super) fn provenance(&self, node: &NodeId) -> Option<(Source, SocketAddr)> {
        let state = self.lock();
        let live = state.table.live(node)?;
        Some((live.source, plain(live.connection.quic.remote_address())))
    }

    pub(super) fn remembered(&self) -> Result<usize, String> {
        if let Some(problem) = self.store.problem() {
            return Err(problem);
        }
        Ok(self.lock().manager.book().iter().filter(|(_, entry)| entry.remembered && !entry.blocked).count())
    }
}
