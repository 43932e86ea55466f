//! The interface through which links call the rest of the node. [`crate::core`] implements it and passes it to
//! [`super::Links::establish`], so this module knows neither the gateway nor any service.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use tokio::sync::watch;

use super::{FrameReceiver, InUse, PeerLink, PeerStream};

/// Work on one stream, done in that stream's task.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
/// The answer to one question.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// Callbacks of links. No method may block.
pub(crate) trait LinkHandler: Send + Sync {
    /// Protocols that plugins serve to `peer`, for `Hello` and `Serving`.
    fn serving(&self, peer: &NodeId) -> Vec<Protocol>;
    /// Changes whenever the result of [`Self::serving`] may have changed.
    fn serving_changed(&self) -> watch::Receiver<u64>;
    /// This node's own address records, for `Record`.
    fn own_records(&self) -> watch::Receiver<Vec<Arc<AddressRecord>>>;

    /// The `Hello` of a peer has arrived.
    fn peer_up(&self, link: &PeerLink);
    /// The link with a peer that was up has ended, and no other one stands.
    fn peer_down(&self, link: &PeerLink);
    /// A peer has sent an address record of its own, which is newer than the last one and verified.
    fn record(&self, link: &PeerLink, record: Arc<AddressRecord>);
    /// A datagram has arrived from a peer.
    fn datagram(&self, peer: NodeId, protocol: Protocol, payload: Bytes);

    /// Serves a stream for a plugin, to its end.
    fn stream(&self, stream: PeerStream, protocol: Protocol, in_use: InUse) -> Serving;
    /// Answers a call for a plugin.
    fn call(&self, stream: PeerStream, protocol: Protocol, payload: Payload, in_use: InUse) -> Serving;
    /// Whether internal streams of `protocol` carry frames, and not one question each.
    fn carries_frames(&self, protocol: &Protocol) -> bool;
    /// Serves an internal stream of frames, to its end.
    fn frames(&self, protocol: Protocol, frames: FrameReceiver) -> Serving;
    /// Answers an internal question. `peer misbehaved` means that the peer broke a rule, and disconnects it; any other
    /// failure is sent to the peer as a refusal.
    fn answer(&self, link: &PeerLink, protocol: Protocol, payload: Bytes) -> Answering;
}
