//! What the machine wants done, what it refuses, and what it counted.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::{Name, NodeId};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;

use super::message::{BadMessage, Message};
use super::wire::Frame;
use crate::address::{AddressRecord, BadRecord};

/// What the machine wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a frame to a peer that is up.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
    },
    /// A message for the subscribers on this node.
    Deliver {
        /// Of which topic.
        topic: Name,
        /// What.
        message: Arc<Message>,
    },
    /// Connect to a peer; answered by [`super::Gossip::peer_up`] or [`super::Gossip::connect_failed`].
    Connect {
        /// Where it is.
        record: Arc<AddressRecord>,
    },
    /// The connection with a peer is in use from now on.
    Keep {
        /// Whom.
        peer: NodeId,
    },
    /// It is not any more.
    Release {
        /// Whom.
        peer: NodeId,
    },
    /// Find subscribers of a topic; answered by [`super::Gossip::subscribers`], also when there are none.
    FindSubscribers {
        /// Of what.
        topic: Name,
    },
    /// Say where others look that this node is subscribed.
    Announce {
        /// To what.
        topic: Name,
    },
    /// Say it no longer.
    Withdraw {
        /// Of what.
        topic: Name,
    },
    /// A peer passed on a message that was new and right; said of each no more than twice a minute.
    Credit {
        /// Who.
        peer: NodeId,
    },
    /// A peer did what counts against it, and may happen to an honest one now and then.
    Blame {
        /// Who.
        peer: NodeId,
        /// What.
        why: Misbehaviour,
    },
}

/// What a peer does that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A message nobody may pass on.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// An address record nobody may pass on.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// More than anybody needs to send, and on and on.
    #[error("gossip frames far beyond the rate that is read")]
    TooFast,
    /// Messages it said it has do not come.
    #[error("gossip messages were promised and did not come, again and again")]
    EmptyPromises,
    /// A plugin rejected a message that it published.
    #[error("it published a gossip message that a plugin rejected")]
    Rejected,
}

/// Why a message is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A payload over the limit.
    #[error("message of {length} bytes; the limit is {MAX_GOSSIP}")]
    TooLarge {
        /// Of the payload.
        length: usize,
    },
    /// The node takes part in as many topics as it can.
    #[error("this node takes part in {limit} topics already")]
    TooManyTopics {
        /// How many.
        limit: usize,
    },
    /// More than peers take.
    #[error("messages are published faster than peers take them; try again in a moment")]
    TooFast,
}

/// What happened in all topics, since the start, and how much there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GossipStats {
    /// Topics this node takes part in.
    pub topics: usize,
    /// Bytes of messages kept.
    pub bytes: usize,
    /// Names of messages remembered.
    pub names: usize,
    /// Messages this node published.
    pub published: u64,
    /// Messages delivered to this node's subscribers.
    pub delivered: u64,
    /// Further copies received of messages known already.
    pub duplicates: u64,
    /// Messages that came because this node asked for them.
    pub pulled: u64,
    /// Messages dropped for their time, or older than what is remembered.
    pub dropped_time: u64,
    /// Messages dropped for a wrong signature or size.
    pub dropped_invalid: u64,
    /// Messages a plugin rejected.
    pub dropped_rejected: u64,
    /// Messages a plugin ignored, or did not judge in time.
    pub dropped_ignored: u64,
    /// Frames, messages and requests not looked at because their sender was too fast.
    pub dropped_fast: u64,
    /// Frames and messages not sent because their receiver would not have looked at them.
    pub paced: u64,
    /// Frames about topics this node does not take part in.
    pub dropped_topic: u64,
    /// Messages named that were not remembered for lack of room.
    pub dropped_names: u64,
    /// Messages named by neighbours that none of them sent.
    pub given_up: u64,
    /// Requests for a message that were not answered in time.
    pub promises_broken: u64,
    /// Peers that came while there were as many as there may be.
    pub peers_left_out: u64,
    /// Address records that were not believed.
    pub bad_records: u64,
    /// Address records that mean nothing where the peer is that told them, or of its own that say that it is elsewhere.
    pub misplaced_records: u64,
    /// Edges added to trees.
    pub grafts: u64,
    /// Edges removed from trees.
    pub prunes: u64,
}
