//! Target for one node's gossip, among peers that send anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use polypeer_engine::gossip::message::{Message, MessageId, TopicId};
use polypeer_engine::gossip::wire::{self, Bucket, Frame};
use polypeer_engine::gossip::{Gossip, GossipConfig, Output};
use polypeer_engine::now::Now;
use polypeer_ipc_protocol::gateway::{Validation, Verdict};
use polypeer_ipc_protocol::limits::MAX_GOSSIP;

use super::{drain, waits};
use crate::choices::Choices;
use crate::keys::{CheapKeys, node};
use crate::samples::address_record;

const PEERS: usize = 8;

fn message(choices: &mut Choices<'_>, now: Now) -> Arc<Message> {
    let author = choices.node(PEERS);
    let sequence = choices.below(6) as u64;
    let payload = vec![choices.below(3) as u8; choices.below(64)];
    // Some messages are too old, some from the future.
    let unix = (now.unix + 1300).saturating_sub(choices.below(2600) as u64);
    let at = if choices.below(3) == 0 { Now { unix, ..now } } else { now };
    Arc::new(Message::sign(&CheapKeys(author), choices.name(), sequence, payload.into(), at))
}

fn ids(choices: &mut Choices<'_>, now: Now) -> Vec<MessageId> {
    (0..choices.below(4)).map(|_| MessageId::of(&message(choices, now).id())).collect()
}

fn frame(choices: &mut Choices<'_>, now: Now) -> Frame {
    let topic = TopicId::of(&choices.name());
    let record = |choices: &mut Choices<'_>| {
        let address = choices.address();
        address_record(choices.below(PEERS), vec![address], 1, now)
    };
    match choices.below(12) {
        0 => Frame::Topics { topics: (0..choices.below(6)).map(|_| TopicId::of(&choices.name())).collect() },
        1 => Frame::Join { topic, urgent: choices.flag(), record: choices.flag().then(|| record(choices)) },
        2 => Frame::Joined { topic, accepted: choices.flag(), records: vec![record(choices)] },
        3 => Frame::Leave { topic },
        4 => Frame::Shuffle { topic, answer: choices.flag(), records: vec![record(choices)] },
        5 | 6 => Frame::Push { hops: choices.number() as u8, repair: choices.flag(), message: message(choices, now) },
        7 => {
            let messages = ids(choices, now).into_iter().map(|id| (id, choices.number() as u8)).collect();
            Frame::Have { topic, answer: choices.flag(), messages }
        }
        8 => Frame::Want { topic, graft: choices.flag(), messages: ids(choices, now) },
        9 => Frame::Prune { topic },
        10 => {
            let bucket = Bucket {
                number: choices.number() as u32,
                count: choices.number() as u32,
                fingerprint: choices.number(),
            };
            Frame::Digest { topic, buckets: vec![bucket] }
        }
        _ => Frame::List { topic, buckets: vec![choices.number() as u32, (now.unix / 8) as u32] },
    }
}

/// Runs gossip: each message is delivered once, to subscribed topics; frames go to connected peers only.
pub fn one(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut gossip = Gossip::new(Arc::new(CheapKeys(node(100))), GossipConfig::default(), choices.seed());
    let (mut up, mut subscribed) = (BTreeSet::new(), BTreeSet::new());
    let mut delivered: Vec<(polypeer_ipc_protocol::ids::Name, polypeer_ipc_protocol::ids::Hash)> = Vec::new();
    while choices.go_on() {
        let now = choices.pass_time();
        let (peer, topic) = (choices.node(PEERS), choices.name());
        match choices.below(12) {
            0 => {
                let validation = if choices.flag() { Validation::Plugin } else { Validation::Signature };
                gossip.subscribe(now, topic.clone(), validation);
                subscribed.insert(topic);
            }
            1 => {
                gossip.unsubscribe(now, &topic);
                subscribed.remove(&topic);
            }
            2 => {
                let length = if choices.below(8) == 0 { MAX_GOSSIP + 1 } else { choices.below(200) };
                let published = gossip.publish(now, topic, vec![3; length].into());
                assert!(length <= MAX_GOSSIP || published.is_err());
            }
            3 => {
                let message = choices.hash();
                let (topic, message) = delivered.last().cloned().unwrap_or((topic, message));
                gossip.judge(now, &topic, message, *choices.of(&[Verdict::Accept, Verdict::Ignore, Verdict::Reject]));
            }
            4 if !up.contains(&peer) => {
                up.insert(peer);
                gossip.peer_up(now, peer, choices.ip());
            }
            5 if up.contains(&peer) => {
                up.remove(&peer);
                gossip.peer_down(now, peer);
            }
            6 if !up.contains(&peer) => gossip.connect_failed(now, peer),
            7 => {
                let records = choices.addresses(3);
                let records =
                    records.into_iter().map(|address| address_record(choices.below(PEERS), vec![address], 1, now));
                let records: Vec<_> = records.collect();
                gossip.subscribers(now, &topic, records);
            }
            8 => {
                let address = choices.address();
                gossip.set_own(now, vec![address_record(100, vec![address], 1, now)]);
            }
            _ if up.contains(&peer) => {
                let frame = frame(&mut choices, now);
                if gossip.handle_frame(now, peer, frame).is_err() && choices.flag() {
                    up.remove(&peer);
                    gossip.peer_down(now, peer);
                }
            }
            _ => {}
        }
        gossip.handle_timeout(now);
        drain(
            || gossip.poll(now),
            |output| match output {
                Output::Send { to, frame } => {
                    assert!(up.contains(&to), "a frame to a peer that is not there");
                    let mut bytes = Vec::new();
                    wire::write_frame(&frame, &mut bytes);
                    assert!(wire::read_body(&bytes[4..]).is_ok(), "what it sends can be read");
                }
                Output::Deliver { topic, message } => {
                    assert!(subscribed.contains(&topic), "{topic} is not subscribed to");
                    assert!(message.check_signature(&CheapKeys(node(0))).is_ok());
                    let id = (topic, message.id());
                    delivered.push(id);
                }
                _ => {}
            },
        );
        waits(gossip.next_timeout(), now);
        gossip.stats();
    }
}
