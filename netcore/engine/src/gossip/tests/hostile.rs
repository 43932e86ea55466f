//! An engine against a misbehaving peer.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::gateway::{Payload, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::limits::{MAX_GOSSIP, MAX_UNJUDGED};

use super::among::PUBLIC;
use crate::address::{AddressRecord, BadRecord};
use crate::gossip::message::{BadMessage, MESSAGE_LIFETIME, MESSAGE_SKEW};
use crate::gossip::peer::MAX_PROMISED;
use crate::gossip::wire::{Bucket, MAX_BODY, MAX_BUCKETS, MAX_IDS, read_body};
use crate::gossip::{Frame, Gossip, GossipConfig, Message, MessageId, Misbehaviour, Output, TopicId};
use crate::now::Now;
use crate::testing::{self, Signer};

const PEER: NodeId = NodeId([9; 32]);

struct Alone {
    gossip: Gossip,
    now: Now,
    author: Signer,
    sequence: u64,
    topic: TopicId,
}

fn news() -> Name {
    "news".parse().unwrap()
}

impl Alone {
    /// Subscribed to a topic, with [`PEER`] as a neighbour in it.
    fn new(validation: Validation) -> Self {
        let mut gossip = Gossip::new(Arc::new(Signer::generate()), GossipConfig::default(), [3; 32]);
        let now = testing::now();
        gossip.subscribe(now, news(), validation);
        gossip.peer_up(now, PEER, PUBLIC);
        let mut alone = Self { gossip, now, author: Signer::generate(), sequence: 0, topic: TopicId::of(&news()) };
        alone.frame(Frame::Join { topic: alone.topic, urgent: true, record: None }).unwrap();
        assert!(alone.outputs().iter().any(|output| matches!(output, Output::Keep { peer: PEER })));
        alone
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Misbehaviour> {
        self.gossip.handle_frame(self.now, PEER, frame)
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.gossip.poll(self.now)).collect()
    }

    fn message(&mut self, payload: usize) -> Arc<Message> {
        self.sequence += 1;
        let payload = Payload(vec![7; payload].into());
        Arc::new(Message::sign(&self.author, news(), self.sequence, payload, self.now))
    }

    fn push(&mut self, message: &Arc<Message>) -> Result<(), Misbehaviour> {
        self.frame(Frame::Push { hops: 0, repair: false, message: Arc::clone(message) })
    }

    fn deliveries(&mut self) -> usize {
        self.outputs().iter().filter(|output| matches!(output, Output::Deliver { .. })).count()
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.gossip.handle_timeout(self.now);
    }
}

/// A frame with one byte of its encoding changed.
fn changed(frame: &Frame, at: usize) -> Frame {
    let mut bytes = Vec::new();
    codec::encode(frame, &mut bytes).unwrap();
    let at = if at < bytes.len() { at } else { bytes.len() - 1 };
    bytes[at] ^= 1;
    read_body(&bytes).unwrap().unwrap()
}

#[test]
fn a_forged_message_is_a_breach_and_does_not_keep_out_the_real_one() {
    let mut alone = Alone::new(Validation::Signature);
    let message = alone.message(100);
    let frame = Frame::Push { hops: 0, repair: false, message: Arc::clone(&message) };
    let author_at = 4 + 2 + 8 + 4;
    let sequence_at = author_at + 32;
    for at in [author_at, sequence_at, sequence_at + 16 + 8, usize::MAX] {
        let forged = alone.frame(changed(&frame, at));
        assert_eq!(forged, Err(Misbehaviour::Message(BadMessage::Signature)), "byte {at}");
    }
    assert_eq!(alone.deliveries(), 0);
    assert_eq!(alone.gossip.stats().dropped_invalid, 4);
    assert_eq!(alone.gossip.stats().names, 0);
    alone.push(&message).unwrap();
    assert_eq!(alone.deliveries(), 1);
}

#[test]
fn an_oversized_message_is_a_breach_and_the_largest_fits_a_frame() {
    let mut alone = Alone::new(Validation::Signature);
    let message = alone.message(MAX_GOSSIP + 1);
    assert_eq!(alone.push(&message), Err(Misbehaviour::Message(BadMessage::TooLarge)));
    let largest = alone.message(MAX_GOSSIP);
    alone.push(&largest).unwrap();
    assert_eq!(alone.deliveries(), 1);
    let mut bytes = Vec::new();
    crate::gossip::wire::write_frame(&Frame::Push { hops: 0, repair: false, message: largest }, &mut bytes);
    assert!(bytes.len() <= MAX_BODY + 4);
}

#[test]
fn a_message_is_delivered_once_however_long_it_is_repeated() {
    let mut alone = Alone::new(Validation::Signature);
    let message = alone.message(100);
    let lifetime = Duration::from_secs(MESSAGE_LIFETIME);
    alone.push(&message).unwrap();
    assert_eq!(alone.deliveries(), 1);
    let mut waited = Duration::ZERO;
    while waited < lifetime + Duration::from_secs(300) {
        alone.push(&message).unwrap();
        assert_eq!(alone.deliveries(), 0, "after {waited:?}");
        alone.wait(Duration::from_secs(50));
        waited += Duration::from_secs(50);
    }
    let stats = alone.gossip.stats();
    assert!(stats.duplicates > 0 && stats.dropped_time > 0, "{stats:?}");
    assert_eq!((stats.names, stats.bytes), (0, 0));
}

#[test]
fn messages_too_old_or_from_the_future_are_dropped_without_blame() {
    let mut alone = Alone::new(Validation::Signature);
    let now = alone.now;
    for (time, taken) in [
        (now.unix - MESSAGE_LIFETIME, 1),
        (now.unix - MESSAGE_LIFETIME - 1, 0),
        (now.unix + MESSAGE_SKEW, 1),
        (now.unix + MESSAGE_SKEW + 1, 0),
    ] {
        alone.now = Now { unix: time, ..now };
        let message = alone.message(10);
        alone.now = now;
        alone.push(&message).unwrap();
        assert_eq!(alone.deliveries(), taken, "{time}");
    }
    assert_eq!(alone.gossip.stats().dropped_time, 2);
}

#[test]
fn whoever_floods_is_not_read_and_then_cut_off() {
    let mut alone = Alone::new(Validation::Signature);
    let mut taken = 0;
    let cut = (0..100_000).find(|_| {
        let result = alone.frame(Frame::Prune { topic: alone.topic });
        taken += u32::from(result.is_ok());
        assert!(alone.outputs().len() <= 1);
        result == Err(Misbehaviour::TooFast)
    });
    assert!(cut.is_some_and(|frames| frames < 90_000), "{cut:?}");
    assert!(alone.gossip.stats().dropped_fast > 1000);
}

#[test]
fn a_flood_of_messages_is_taken_up_to_the_rate_and_kept_within_bounds() {
    let mut alone = Alone::new(Validation::Signature);
    let mut delivered = 0;
    for _ in 0..4500 {
        let message = alone.message(4 << 10);
        alone.push(&message).unwrap();
        delivered += alone.deliveries();
    }
    assert_eq!(delivered, 4000);
    assert_eq!(alone.gossip.stats().dropped_fast, 500);
    assert!(alone.gossip.stats().bytes <= GossipConfig::default().topic_bytes);
    alone.wait(Duration::from_secs(1));
    let message = alone.message(1);
    alone.push(&message).unwrap();
    assert_eq!(alone.deliveries(), 1, "a second later there is room again");
}

#[test]
fn names_of_messages_that_never_come_are_bounded_and_cost_the_standing() {
    let mut alone = Alone::new(Validation::Signature);
    let mut number = 0_u128;
    let (mut wanted, mut blamed, mut left) = (0, 0, 0);
    for _ in 0..200 {
        let names = (0..MAX_IDS).map(|_| {
            number += 1;
            (MessageId(number.to_be_bytes()), 0)
        });
        let messages = names.collect();
        let _ = alone.frame(Frame::Have { topic: alone.topic, answer: false, messages });
        for output in alone.outputs() {
            match output {
                Output::Send { frame: Frame::Want { messages, .. }, .. } => wanted += messages.len(),
                Output::Send { frame: Frame::Leave { .. }, .. } => left += 1,
                Output::Blame { peer, why } => {
                    assert_eq!((peer, why), (PEER, Misbehaviour::EmptyPromises));
                    blamed += 1;
                }
                _ => {}
            }
        }
        alone.wait(Duration::from_millis(500));
    }
    let stats = alone.gossip.stats();
    assert!(blamed >= 1 && left >= 1, "{blamed} {left}");
    assert!(wanted <= 2 * MAX_PROMISED, "{wanted}");
    assert!(stats.dropped_names > 0 && stats.given_up > 0, "{stats:?}");
    assert_eq!(alone.gossip.info(&news()).unwrap().neighbours, 0);
    assert!(alone.frame(Frame::Digest { topic: alone.topic, buckets: Vec::new() }).is_ok());
    assert_eq!(alone.gossip.info(&news()).unwrap().neighbours, 0, "it does not come back by itself");
}

#[test]
fn who_asks_for_the_same_again_and_again_gets_so_much_and_no_more() {
    let mut alone = Alone::new(Validation::Signature);
    let message = alone.message(60_000);
    alone.push(&message).unwrap();
    alone.outputs();
    let mut sent = 0;
    for _ in 0..100 {
        let messages = vec![message.short(); MAX_IDS];
        alone.frame(Frame::Want { topic: alone.topic, graft: true, messages }).unwrap();
        sent += alone
            .outputs()
            .iter()
            .map(|output| match output {
                Output::Send { frame, .. } => frame.payload(),
                _ => 0,
            })
            .sum::<usize>();
    }
    assert!((15 << 20..17 << 20).contains(&sent), "{sent}");
}

#[test]
fn who_asks_for_lists_and_records_again_and_again_gets_so_many_and_no_more() {
    let mut alone = Alone::new(Validation::Signature);
    for _ in 0..300 {
        let message = alone.message(10);
        alone.push(&message).unwrap();
    }
    alone.outputs();
    let (mut listed, mut answers) = (0, 0);
    for _ in 0..7000 {
        let bucket = u32::try_from(alone.now.unix / crate::gossip::wire::BUCKET).unwrap();
        let _ = alone.frame(Frame::List { topic: alone.topic, buckets: vec![bucket; MAX_BUCKETS] });
        listed += alone
            .outputs()
            .iter()
            .map(|output| match output {
                Output::Send { frame: frame @ Frame::Have { .. }, .. } => frame.size(),
                _ => 0,
            })
            .sum::<usize>();
    }
    assert!(listed < 17 << 20, "{listed}");
    let mut alone = Alone::new(Validation::Signature);
    for number in 0..3000 {
        let topic = if number % 2 == 0 { alone.topic } else { TopicId([1; 16]) };
        alone.frame(Frame::Join { topic, urgent: true, record: None }).unwrap();
        answers += alone.outputs().len();
    }
    assert!(answers <= 1000, "{answers}");
}

#[test]
fn made_up_digests_are_asked_about_a_few_times_only() {
    let mut alone = Alone::new(Validation::Signature);
    let mut asked = 0;
    for _ in 0..100 {
        let buckets = vec![Bucket { number: 5, count: 1000, fingerprint: 1 }];
        alone.frame(Frame::Digest { topic: alone.topic, buckets }).unwrap();
        asked += alone.outputs().len();
    }
    assert!((1..10).contains(&asked), "{asked}");
}

#[test]
fn a_record_that_its_node_did_not_sign_is_a_breach() {
    let mut alone = Alone::new(Validation::Signature);
    let (owner, liar) = (Signer::generate(), Signer::generate());
    let address = "203.0.113.7:7470".parse().unwrap();
    let honest = AddressRecord::sign(&owner, vec![address], 1, alone.now);
    let forged = AddressRecord { node: liar.node(), ..honest.clone() };
    let shuffle = |record: AddressRecord| Frame::Shuffle {
        topic: TopicId::of(&news()),
        answer: true,
        records: vec![Arc::new(record)],
    };
    alone.frame(shuffle(honest)).unwrap();
    assert_eq!(alone.frame(shuffle(forged)), Err(Misbehaviour::Record(BadRecord::Signature)));
    alone.wait(Duration::from_secs(2));
    let dialed = alone.outputs().into_iter().filter_map(|output| match output {
        Output::Connect { record } => Some(record.node),
        _ => None,
    });
    assert_eq!(dialed.collect::<Vec<_>>(), [owner.node()]);
}

#[test]
fn what_is_not_judged_or_not_accepted_is_not_passed_on() {
    let mut alone = Alone::new(Validation::Plugin);
    let other = NodeId([8; 32]);
    alone.gossip.peer_up(alone.now, other, PUBLIC);
    let join = Frame::Join { topic: alone.topic, urgent: true, record: None };
    alone.gossip.handle_frame(alone.now, other, join).unwrap();
    alone.outputs();
    let passed_on = |outputs: &[Output]| {
        outputs.iter().any(|output| matches!(output, Output::Send { to, frame: Frame::Push { .. } } if *to == other))
    };
    for verdict in [Verdict::Accept, Verdict::Ignore, Verdict::Reject] {
        let message = alone.message(10);
        alone.push(&message).unwrap();
        assert!(!passed_on(&alone.outputs()));
        alone.gossip.judge(alone.now, &news(), message.id(), verdict);
        alone.gossip.judge(alone.now, &news(), message.id(), Verdict::Accept); // too late
        let outputs = alone.outputs();
        assert_eq!(passed_on(&outputs), verdict == Verdict::Accept, "{verdict:?}");
        let blamed = outputs.iter().any(|output| matches!(output, Output::Blame { .. }));
        assert!(!blamed, "it only passed it on: {verdict:?}");
    }
    let silent = alone.message(10);
    alone.push(&silent).unwrap();
    alone.wait(GossipConfig::default().judge);
    alone.gossip.judge(alone.now, &news(), silent.id(), Verdict::Accept);
    assert!(!passed_on(&alone.outputs()));
    assert_eq!(alone.gossip.stats().dropped_ignored, 2);
    alone.gossip.judge(alone.now, &news(), Hash([1; 32]), Verdict::Reject); // never heard of
    for _ in 0..MAX_UNJUDGED + 5 {
        let message = alone.message(10);
        alone.push(&message).unwrap();
    }
    assert_eq!(alone.gossip.stats().dropped_ignored, 7, "the oldest make room");
}
