//! What netcore says on a control session by itself.

use serde::{Deserialize, Serialize};

use super::grants::Grants;
use super::info::{NetworkChange, Origin, PeerInfo};
use crate::error::Failure;
use crate::ids::{Hash, Name, NodeId, Protocol};
use crate::payload::Payload;

#[cfg(doc)]
use super::frames::ClientFrame;
#[cfg(doc)]
use super::opening::Opening;

/// What netcore tells a plugin by itself. An unknown event is skipped and counted, never an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Somebody opened a stream: claim it with [`Opening::Accept`] within 30 s or turn it down.
    Stream {
        /// Names it in `Accept` and `RefuseStream`.
        stream: u64,
        /// Who opened it.
        origin: Origin,
        /// What is spoken.
        protocol: Protocol,
    },
    /// An announced stream is gone before it was claimed.
    StreamGone {
        /// The number in the announcement.
        stream: u64,
        /// Why.
        failure: Failure,
    },
    /// Somebody calls: answer with [`ClientFrame::Answer`] or [`ClientFrame::Decline`].
    Call {
        /// Names it in the answer.
        call: u64,
        /// Who asks.
        origin: Origin,
        /// What is spoken.
        protocol: Protocol,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The caller gave up or went away; an answer is ignored.
    CallGone {
        /// Of the call.
        call: u64,
    },
    /// A peer the plugin may see is connected.
    PeerUp(PeerInfo),
    /// A peer the plugin may see is not connected any more.
    PeerDown {
        /// Who.
        node: NodeId,
        /// Why.
        failure: Failure,
    },
    /// The operator changed the grants. Streams and listeners they no longer cover are ended.
    GrantsChanged(Grants),
    /// Events were dropped because the plugin did not read.
    Dropped {
        /// How many since the last time.
        count: u64,
    },
    /// The session ends after this, for this reason.
    Closing(Failure),
    /// A message of a subscribed topic; its signature is right.
    Message {
        /// Of which topic.
        topic: Name,
        /// Its name.
        message: Hash,
        /// Who published it.
        author: NodeId,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// A datagram of a protocol that the session receives.
    Datagram {
        /// Who sent it.
        node: NodeId,
        /// What is spoken.
        protocol: Protocol,
        /// At most 1,024 bytes.
        payload: Payload,
    },
    /// The network changed.
    Network(NetworkChange),
}
