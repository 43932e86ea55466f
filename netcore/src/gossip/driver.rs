//! Runs a node's [`super::Gossip`]: one task owns it, everybody else holds a [`GossipHandle`].

use std::sync::Arc;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name};

use super::Message;

/// Where a session takes its messages.
pub trait Sink: Send + Sync {
    /// Takes a message, without waiting; `false` when there is no room: it is lost to this session and counted.
    fn deliver(&self, topic: &Name, message: &Message) -> bool;
}

/// Gossip, as sessions use it; cheap to clone. A session is a number of the caller's; it must end with
/// [`Self::session_ended`].
#[derive(Debug, Clone, Default)]
pub struct GossipHandle {}

impl GossipHandle {
    /// Gives a session the messages of a topic from now on, also those that other sessions of this node publish. Asking
    /// again changes `validation`. Fails with `too many` topics of the node or the session.
    pub async fn subscribe(
        &self,
        _session: u64,
        _topic: Name,
        _validation: Validation,
        _sink: Arc<dyn Sink>,
    ) -> Result<(), Failure> {
        Err(Failure::from(ErrorCode::Unsupported))
    }

    /// Ends [`Self::subscribe`].
    pub async fn unsubscribe(&self, _session: u64, _topic: Name) -> Result<(), Failure> {
        Err(Failure::from(ErrorCode::Unsupported))
    }

    /// Publishes a message in the name of this node. It goes to the other sessions of this node too, not to `session`.
    /// Returns its id and the number of peers that it is sent to at once.
    pub async fn publish(&self, _session: u64, _topic: Name, _payload: Bytes) -> Result<(Hash, u32), Failure> {
        Err(Failure::from(ErrorCode::Unsupported))
    }

    /// A session's verdict on a message of a topic that it subscribed to with [`Validation::Plugin`]; without effect when
    /// it comes too late.
    pub async fn judge(&self, _session: u64, _topic: Name, _message: Hash, _verdict: Verdict) -> Result<(), Failure> {
        Err(Failure::from(ErrorCode::Unsupported))
    }

    /// How a topic fares that the session is subscribed to.
    pub async fn info(&self, _session: u64, _topic: Name) -> Result<TopicInfo, Failure> {
        Err(Failure::from(ErrorCode::Unsupported))
    }

    /// Ends all subscriptions of a session.
    pub fn session_ended(&self, _session: u64) {}
}
