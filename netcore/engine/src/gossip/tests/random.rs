//! Random bytes and random operations: the engine never panics and keeps every limit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::{Payload, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use proptest::prelude::*;

use super::among::PUBLIC;
use super::world::CheapKeys;
use crate::address::AddressRecord;
use crate::gossip::wire::{Bucket, read_body, write_frame};
use crate::gossip::{Frame, Gossip, GossipConfig, Message, MessageId, Output, TopicId};
use crate::now::Now;
use crate::testing;

const PEERS: u8 = 6;
const TOPICS: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    Subscribe(u8, bool),
    Unsubscribe(u8),
    Publish(u8, usize),
    Judge(u8, u8, u8),
    Up(u8),
    Down(u8),
    Failed(u8),
    Found(u8, u8),
    Own(bool),
    Frame(u8, u8, u8, u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, topic) = (0..PEERS, 0..TOPICS);
    prop_oneof![
        2 => (topic.clone(), any::<bool>()).prop_map(|(topic, judged)| Step::Subscribe(topic, judged)),
        1 => topic.clone().prop_map(Step::Unsubscribe),
        3 => (topic.clone(), 0..3000_usize).prop_map(|(topic, size)| Step::Publish(topic, size)),
        2 => (topic.clone(), any::<u8>(), 0..3_u8).prop_map(|(topic, which, verdict)| Step::Judge(topic, which, verdict)),
        3 => peer.clone().prop_map(Step::Up),
        1 => peer.clone().prop_map(Step::Down),
        1 => peer.clone().prop_map(Step::Failed),
        1 => (topic.clone(), peer.clone()).prop_map(|(topic, peer)| Step::Found(topic, peer)),
        1 => any::<bool>().prop_map(Step::Own),
        16 => (peer, topic, 0..12_u8, any::<u8>()).prop_map(|(peer, topic, kind, salt)| Step::Frame(peer, topic, kind, salt)),
        4 => (0..20_000_u16).prop_map(Step::Wait),
    ]
}

fn name(topic: u8) -> Name {
    format!("topic/{topic}").parse().unwrap()
}

fn peer(number: u8) -> NodeId {
    NodeId([number + 1; 32])
}

fn record(number: u8, now: Now) -> Arc<AddressRecord> {
    let address = format!("203.0.113.{}:7470", number + 1).parse().unwrap();
    Arc::new(AddressRecord::sign(&CheapKeys(peer(number)), vec![address], 1, now))
}

fn message(topic: u8, salt: u8, now: Now) -> Arc<Message> {
    let payload = Payload(vec![salt; usize::from(salt) * 10].into());
    Arc::new(Message::sign(&CheapKeys(peer(salt % PEERS)), name(topic), u64::from(salt), payload, now))
}

fn frame(topic: u8, kind: u8, salt: u8, start: Now, now: Now) -> Frame {
    let (id, odd) = (TopicId::of(&name(topic)), salt % 2 == 1);
    let short = message(topic, salt, start).short();
    let records = vec![record(salt % PEERS, start)];
    match kind {
        0 => Frame::Topics { topics: (0..salt % TOPICS).map(|topic| TopicId::of(&name(topic))).collect() },
        1 => Frame::Join { topic: id, urgent: odd, record: odd.then(|| record(salt % PEERS, start)) },
        2 => Frame::Joined { topic: id, accepted: odd, records },
        3 => Frame::Leave { topic: id },
        4 => Frame::Shuffle { topic: id, answer: odd, records },
        5 | 11 => Frame::Push { hops: salt, repair: odd, message: message(topic, salt, start) },
        6 => Frame::Have { topic: id, answer: odd, messages: vec![(short, salt), (MessageId([salt; 16]), 0)] },
        7 => Frame::Want { topic: id, graft: odd, messages: vec![short, MessageId([salt; 16])] },
        8 => Frame::Prune { topic: id },
        9 => {
            let number =
                u32::try_from(now.unix / crate::gossip::wire::BUCKET).unwrap_or(0).wrapping_sub(u32::from(salt % 4));
            Frame::Digest { topic: id, buckets: vec![Bucket { number, count: salt.into(), fingerprint: salt.into() }] }
        }
        _ => Frame::List { topic: id, buckets: vec![u32::try_from(now.unix / 16).unwrap_or(0), salt.into()] },
    }
}

/// Checks invariants of an engine's outputs, whatever its inputs were.
#[derive(Default)]
struct Watch {
    up: BTreeSet<NodeId>,
    kept: BTreeSet<NodeId>,
    delivered: BTreeSet<Hash>,
    announced: BTreeSet<Name>,
    own: bool,
}

impl Watch {
    fn check(&mut self, gossip: &mut Gossip, now: Now) {
        while let Some(output) = gossip.poll(now) {
            match output {
                Output::Send { to, frame } => {
                    assert!(self.up.contains(&to), "a frame for who is not there: {frame:?}");
                    let mut bytes = Vec::new();
                    write_frame(&frame, &mut bytes);
                    assert!(bytes.len().abs_diff(frame.size()) < 200 || bytes.len() < frame.size() * 2);
                    assert_eq!(read_body(&bytes[4..]).unwrap(), Some(frame));
                }
                Output::Deliver { message, .. } => assert!(self.delivered.insert(message.id()), "twice"),
                Output::Keep { peer } => assert!(self.up.contains(&peer) && self.kept.insert(peer)),
                Output::Release { peer } => assert!(self.kept.remove(&peer)),
                Output::Connect { record } => assert!(!self.up.contains(&record.node)),
                Output::Announce { topic } => assert!(self.own && self.announced.insert(topic)),
                Output::Withdraw { topic } => assert!(self.announced.remove(&topic)),
                Output::FindSubscribers { .. } | Output::Blame { .. } | Output::Credit { .. } => {}
            }
        }
        assert!(self.kept.is_subset(&self.up));
        let (stats, config) = (gossip.stats(), gossip.config());
        assert!(stats.topics <= config.topics && stats.bytes <= config.total_bytes);
        assert!(stats.names <= config.topic_names * config.topics);
        for topic in 0..TOPICS {
            let neighbours = gossip.info(&name(topic)).map_or(0, |info| info.neighbours as usize);
            assert!(neighbours <= config.most_neighbours + 2);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), tag in 0..14_u32) {
        let _ = read_body(&bytes);
        let body = [&tag.to_le_bytes(), &bytes[..]].concat();
        if let Ok(Some(frame)) = read_body(&body) {
            let mut again = Vec::new();
            write_frame(&frame, &mut again);
            prop_assert_eq!(&again[4..], body);
        }
    }

    #[test]
    fn any_change_of_a_frame_is_a_frame_or_refused(kind in 0..11_u8, salt: u8, at: usize, to: u8, cut: bool) {
        let now = testing::now();
        let mut bytes = Vec::new();
        write_frame(&frame(1, kind, salt, now, now), &mut bytes);
        let at = 4 + at % (bytes.len() - 4);
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = to;
        }
        let _ = read_body(&bytes[4..]);
    }

    #[test]
    fn any_operations_leave_the_machine_within_its_bounds(steps in proptest::collection::vec(step(), 1..150)) {
        let start = testing::now();
        let me = CheapKeys(NodeId([99; 32]));
        let own = Arc::new(AddressRecord::sign(&me, vec!["203.0.113.99:7470".parse().unwrap()], 1, start));
        let config = GossipConfig {
            topics: 3, topic_bytes: 8 << 10, total_bytes: 16 << 10, topic_names: 20, most_neighbours: 4, neighbours: 3, known: 3,
            ..GossipConfig::default()
        };
        let mut gossip = Gossip::new(Arc::new(me), config, [5; 32]);
        let (mut now, mut watch) = (start, Watch::default());
        for step in steps {
            match step {
                Step::Subscribe(topic, judged) => {
                    gossip.subscribe(now, name(topic), if judged { Validation::Plugin } else { Validation::Signature });
                }
                Step::Unsubscribe(topic) => gossip.unsubscribe(now, &name(topic)),
                Step::Publish(topic, size) => {
                    let _ = gossip.publish(now, name(topic), vec![1; size].into());
                }
                Step::Judge(topic, which, verdict) => {
                    let verdict = [Verdict::Accept, Verdict::Ignore, Verdict::Reject][usize::from(verdict)];
                    gossip.judge(now, &name(topic), message(topic, which, start).id(), verdict);
                }
                Step::Up(number) => {
                    watch.up.insert(peer(number));
                    gossip.peer_up(now, peer(number), PUBLIC);
                }
                Step::Down(number) => {
                    gossip.peer_down(now, peer(number));
                    watch.up.remove(&peer(number));
                }
                Step::Failed(number) => gossip.connect_failed(now, peer(number)),
                Step::Found(topic, number) => gossip.subscribers(now, &name(topic), vec![record(number, start)]),
                Step::Own(reachable) => {
                    watch.own = reachable;
                    gossip.set_own(now, if reachable { vec![Arc::clone(&own)] } else { Vec::new() });
                }
                Step::Frame(number, topic, kind, salt) => {
                    if gossip.handle_frame(now, peer(number), frame(topic, kind, salt, start, now)).is_err() {
                        watch.check(&mut gossip, now);
                        gossip.peer_down(now, peer(number));
                        watch.up.remove(&peer(number));
                    }
                }
                Step::Wait(milliseconds) => {
                    now = now.after(Duration::from_millis(milliseconds.into()));
                    gossip.handle_timeout(now);
                    prop_assert!(gossip.next_timeout().is_none_or(|next| next > now.at), "it would never sleep");
                }
            }
            watch.check(&mut gossip, now);
        }
        for topic in 0..TOPICS {
            gossip.unsubscribe(now, &name(topic));
        }
        watch.check(&mut gossip, now);
        prop_assert!(watch.kept.is_empty() && watch.announced.is_empty());
        prop_assert_eq!((gossip.stats().topics, gossip.stats().bytes), (0, 0));
    }
}
