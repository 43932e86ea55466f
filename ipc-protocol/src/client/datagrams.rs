//! Datagrams and network events.

use bytes::Bytes;

use super::{Client, ClientError};
use crate::gateway::{Payload, Request};
use crate::ids::{NodeId, Protocol};

impl Client {
    /// Sends a datagram of at most 1,024 bytes to a connected peer; it arrives once or never. Returns once it is
    /// queued. Refused with `unreachable` if the peer is not connected: a datagram does not dial.
    pub async fn send_datagram(
        &self,
        node: NodeId,
        protocol: Protocol,
        payload: impl Into<Bytes>,
    ) -> Result<(), ClientError> {
        self.done(Request::SendDatagram { node, protocol, payload: Payload(payload.into()) }).await
    }

    /// Turns [`crate::gateway::Event::Datagram`] of a protocol on or off. One session of a node receives a protocol's
    /// datagrams.
    pub async fn receive_datagrams(&self, protocol: Protocol, on: bool) -> Result<(), ClientError> {
        self.done(Request::ReceiveDatagrams { protocol, on }).await
    }

    /// Turns [`crate::gateway::Event::Network`] on or off. Each time it is turned on, two events report the present
    /// reachability and addresses.
    pub async fn watch_network(&self, on: bool) -> Result<(), ClientError> {
        self.done(Request::WatchNetwork { on }).await
    }
}
