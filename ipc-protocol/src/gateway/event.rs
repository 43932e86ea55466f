//! Events: what netcore tells a plugin unasked.

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
#[cfg(doc)]
use super::request::Request;

/// What netcore tells a plugin unasked. A plugin skips and counts an unknown event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A new stream: claim it with [`Opening::Accept`] or refuse it with [`Request::RefuseStream`] within 30 s.
    Stream {
        /// Identifies the stream in `Accept` and `RefuseStream`.
        stream: u64,
        origin: Origin,
        protocol: Protocol,
    },
    /// An announced stream ended before it was claimed.
    StreamGone { stream: u64, failure: Failure },
    /// A call: reply with [`ClientFrame::Answer`] or [`ClientFrame::Decline`].
    Call {
        /// Identifies the call in the reply.
        call: u64,
        origin: Origin,
        protocol: Protocol,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The caller cancelled or disconnected; a reply has no effect.
    CallGone { call: u64 },
    /// A peer that the plugin may see is connected.
    PeerUp(PeerInfo),
    /// A peer that the plugin may see is no longer connected.
    PeerDown { node: NodeId, failure: Failure },
    /// The operator changed the grants. Streams and listeners that they no longer cover are ended.
    GrantsChanged(Grants),
    /// Events were dropped because the plugin did not read.
    Dropped {
        /// How many since the last such event.
        count: u64,
    },
    /// The session ends after this event, for this reason.
    Closing(Failure),
    /// A message of a subscribed topic; its signature is valid.
    Message {
        topic: Name,
        /// Identifies the message in [`Request::Judge`]; the same on all nodes.
        message: Hash,
        /// The publisher.
        author: NodeId,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// A datagram of a protocol that the session receives.
    Datagram {
        /// The sender.
        node: NodeId,
        protocol: Protocol,
        /// At most 1,024 bytes.
        payload: Payload,
    },
    /// The network changed.
    Network(NetworkChange),
    /// Asks whether the plugin still does its work: answer at once with [`ClientFrame::Alive`], from its event loop.
    Heartbeat,
}
