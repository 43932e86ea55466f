//! An engine among peers played by the test, with keys that cost nothing.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::{Payload, Validation};
use polypeer_ipc_protocol::ids::{Name, NodeId};

use super::world::CheapKeys;
use crate::address::AddressRecord;
use crate::gossip::{Frame, Gossip, GossipConfig, Message, Misbehaviour, Output, TopicId};
use crate::now::Now;
use crate::testing;

/// A public IPv6 address. It says nothing about IPv4 addresses in a peer's own record, which are therefore believed.
pub(super) const PUBLIC: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The topic of these tests.
pub(super) fn news() -> Name {
    "news".parse().unwrap()
}

/// Makes a node id from a number.
pub(super) fn node(number: u16) -> NodeId {
    let [high, low] = number.to_be_bytes();
    NodeId(std::array::from_fn(|at| match at {
        0 => high,
        1 => low,
        _ => 7,
    }))
}

/// A message published by `author`.
pub(super) fn message(author: NodeId, sequence: u64, now: Now) -> Arc<Message> {
    Arc::new(Message::sign(&CheapKeys(author), news(), sequence, Payload(vec![7; 10].into()), now))
}

/// An address record of a node.
pub(super) fn record(number: u16, address: &str, now: Now) -> Arc<AddressRecord> {
    Arc::new(AddressRecord::sign(&CheapKeys(node(number)), vec![address.parse().unwrap()], 1, now))
}

/// An engine, its clock and its topic.
pub(super) struct Among {
    pub(super) gossip: Gossip,
    pub(super) now: Now,
    pub(super) topic: TopicId,
    sequence: u64,
}

impl Among {
    /// An engine without topics or peers.
    pub(super) fn new(number: u16, config: GossipConfig) -> Self {
        let gossip = Gossip::new(Arc::new(CheapKeys(node(number))), config, [3; 32]);
        let now = testing::now();
        Self { gossip, now, topic: TopicId::of(&news()), sequence: 0 }
    }

    /// An engine subscribed to the topic, with these peers as neighbours that it pushes to.
    pub(super) fn with_neighbours(number: u16, validation: Validation, peers: &[u16]) -> Self {
        let mut among = Self::new(number, GossipConfig::default());
        among.gossip.subscribe(among.now, news(), validation);
        for peer in peers {
            among.neighbour(*peer);
        }
        among
    }

    /// Connects a peer and makes it a neighbour.
    pub(super) fn neighbour(&mut self, peer: u16) {
        self.gossip.peer_up(self.now, node(peer), PUBLIC);
        self.frame(peer, Frame::Join { topic: self.topic, urgent: true, record: None }).unwrap();
        self.outputs();
    }

    /// Handles a frame of a peer.
    pub(super) fn frame(&mut self, peer: u16, frame: Frame) -> Result<(), Misbehaviour> {
        self.gossip.handle_frame(self.now, node(peer), frame)
    }

    /// Handles a push of a peer.
    pub(super) fn push(&mut self, peer: u16, message: Arc<Message>) -> Result<(), Misbehaviour> {
        self.frame(peer, Frame::Push { hops: 0, repair: false, message })
    }

    /// A new message of `author`.
    pub(super) fn message(&mut self, author: u16) -> Arc<Message> {
        self.sequence += 1;
        message(node(author), self.sequence, self.now)
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.gossip.poll(self.now)).collect()
    }

    pub(super) fn deliveries(&mut self) -> usize {
        self.outputs().iter().filter(|output| matches!(output, Output::Deliver { .. })).count()
    }

    pub(super) fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.gossip.handle_timeout(self.now);
    }

    pub(super) fn neighbours(&self) -> u32 {
        self.gossip.info(&news()).map_or(0, |info| info.neighbours)
    }
}
