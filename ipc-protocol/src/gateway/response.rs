//! What netcore says on a control session: answers to requests.

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

/// Answers to [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It did not work.
    Failed(Failure),
    /// It worked, and there is nothing more to say.
    Done,
    /// What the other side answered to a call.
    Reply {
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The peers this plugin may see.
    Peers(#[serde(deserialize_with = "list")] Vec<PeerInfo>),
    /// This node.
    Node(NodeInfo),
    /// A message is on its way.
    Published {
        /// Its name.
        message: Hash,
        /// Peers it was sent to at once; 0: nobody else is known to be subscribed yet, and it is kept a while for those
        /// who come.
        peers: u32,
    },
    /// How a topic fares.
    Topic(TopicInfo),
    /// A record is in the DHT.
    Stored {
        /// The hash of an immutable value; otherwise the record's place in the DHT.
        key: Hash,
        /// The sequence number of a signed record; otherwise 0.
        sequence: u64,
        /// Nodes that hold it.
        copies: u32,
    },
    /// An immutable value, if there is one.
    Value(Option<Payload>),
    /// A signed record, if there is one.
    Record(Option<SignedRecord>),
    /// Who provides; only those the plugin may deal with.
    Providers(#[serde(deserialize_with = "list")] Vec<NodeId>),
    /// Where a peer can be reached.
    Found(Ticket),
}
