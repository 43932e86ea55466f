//! Responses to a plugin's requests.

use serde::{Deserialize, Serialize};

use super::info::{NodeInfo, PeerInfo, TopicInfo};
use crate::codec::list;
use crate::error::Failure;
use crate::ids::{Hash, NodeId};
use crate::payload::Payload;
use crate::record::SignedRecord;
use crate::ticket::Ticket;

#[cfg(doc)]
use super::request::Request;

/// The response to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The request failed.
    Failed(Failure),
    /// The request succeeded; there is nothing to return.
    Done,
    /// The other side's reply to a call.
    Reply {
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The connected peers that the plugin may see.
    Peers(#[serde(deserialize_with = "list")] Vec<PeerInfo>),
    /// This node.
    Node(NodeInfo),
    /// A message was published.
    Published {
        /// Identifies the message; the same on all nodes.
        message: Hash,
        /// Peers it was sent to at once. If 0, no other subscriber is known yet; the message is kept for a while for
        /// later ones.
        peers: u32,
    },
    /// A topic's statistics.
    Topic(TopicInfo),
    /// A record is in the DHT.
    Stored {
        /// The hash of an immutable value, or the record's place in the DHT.
        key: Hash,
        /// The sequence number of a signed record, otherwise 0.
        sequence: u64,
        /// Nodes that stored it.
        copies: u32,
    },
    /// An immutable value, if one was found.
    Value(Option<Payload>),
    /// A signed record, if one was found.
    Record(Option<SignedRecord>),
    /// Providers that the plugin may communicate with.
    Providers(#[serde(deserialize_with = "list")] Vec<NodeId>),
    /// A peer and its addresses.
    Found(Ticket),
}
