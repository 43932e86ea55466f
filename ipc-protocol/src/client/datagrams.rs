//! Datagrams, and what changes about the network.

use bytes::Bytes;

use super::{Client, ClientError};
use crate::gateway::{Payload, Request};
use crate::ids::{NodeId, Protocol};

impl Client {
    /// Sends a datagram of at most 1,024 bytes to a connected peer: it arrives once, or never. Returns once it is queued.
    /// Refused with `unreachable` when no connection stands: datagrams make none.
    pub async fn send_datagram(
        &self,
        node: NodeId,
        protocol: Protocol,
        payload: impl Into<Bytes>,
    ) -> Result<(), ClientError> {
        self.done(Request::SendDatagram { node, protocol, payload: Payload(payload.into()) }).await
    }

    /// Turns [`crate::gateway::Event::Datagram`] of a protocol on or off. One session of a node has them.
    pub async fn receive_datagrams(&self, protocol: Protocol, on: bool) -> Result<(), ClientError> {
        self.done(Request::ReceiveDatagrams { protocol, on }).await
    }

    /// Turns [`crate::gateway::Event::Network`] on or off. Each time it is turned on, two of them tell the reach and the
    /// addresses as they are.
    pub async fn watch_network(&self, on: bool) -> Result<(), ClientError> {
        self.done(Request::WatchNetwork { on }).await
    }
}
