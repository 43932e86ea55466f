//! The examples of `PROTOCOL.md` section 13, encoded and decoded.

use std::sync::Arc;

use polypeer_ipc_protocol::ids::Name;

use crate::address::AddressRecord;
use crate::gossip::message::{Message, MessageId, TopicId};
use crate::gossip::wire::{Bucket, Frame, read_body, write_frame};
use crate::testing::{self, Signer};

#[test]
fn examples_are_what_the_code_sends_and_takes() {
    let mut examples = crate::examples::examples();
    examples.retain(|name, _| name.starts_with("gossip-"));
    let mut check = |name: &str, ours: &[u8]| {
        let example = examples.remove(name).unwrap_or_else(|| panic!("PROTOCOL.md has no example {name}: {ours:02x?}"));
        assert!(example == ours, "{name}: the code has\n{ours:02x?}\nPROTOCOL.md has\n{example:02x?}");
    };
    let author = Signer::from_seed(std::array::from_fn(|at| 0x20 + at as u8));
    let news: Name = "news".parse().unwrap();
    let topic = TopicId::of(&news);
    let now = testing::now();
    let message = Arc::new(Message::sign(&author, news, 7, b"hi".to_vec().into(), now));
    assert_eq!((message.check_time(now), message.check_signature(&author)), (Ok(()), Ok(())));
    check("gossip-topic-id", &topic.0);
    check("gossip-message-id", &message.id().0);
    let address = "192.0.2.7:7470".parse().unwrap();
    let record = Arc::new(AddressRecord::sign(&author, vec![address], 3, now));
    assert_eq!(record.check(&author, now), Ok(()));
    let short = MessageId::of(&message.id());
    let bucket = Bucket { number: 112_500_000, count: 1, fingerprint: short.bits() };
    let frames = [
        ("gossip-topics", Frame::Topics { topics: vec![topic] }),
        ("gossip-join", Frame::Join { topic, urgent: true, record: None }),
        ("gossip-joined", Frame::Joined { topic, accepted: true, records: vec![record] }),
        ("gossip-leave", Frame::Leave { topic }),
        ("gossip-shuffle", Frame::Shuffle { topic, answer: false, records: Vec::new() }),
        ("gossip-push", Frame::Push { hops: 2, repair: false, message }),
        ("gossip-have", Frame::Have { topic, answer: false, messages: vec![(short, 2)] }),
        ("gossip-want", Frame::Want { topic, graft: true, messages: vec![short] }),
        ("gossip-prune", Frame::Prune { topic }),
        ("gossip-digest", Frame::Digest { topic, buckets: vec![bucket] }),
        ("gossip-list", Frame::List { topic, buckets: vec![112_500_000] }),
    ];
    for (name, frame) in frames {
        let mut bytes = Vec::new();
        write_frame(&frame, &mut bytes);
        assert_eq!(read_body(&bytes[4..]).unwrap(), Some(frame));
        check(name, &bytes);
    }
    assert!(examples.is_empty(), "not checked: {:?}", examples.keys());
}
