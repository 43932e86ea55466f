//! Seeds of the targets: valid messages, made here or taken from the vectors and examples of the specifications.

#[cfg(feature = "all")]
pub mod link;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use data_encoding::HEXLOWER;
use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{Ask, Key, ProviderRecord, Record, Refusal, Request, Response};
use polypeer_engine::discovery::exchange::Exchange;
use polypeer_engine::gossip::message::{Message, MessageId, TopicId};
use polypeer_engine::gossip::wire::{Bucket, Frame};
use polypeer_engine::keys::Keys;
use polypeer_engine::now::Now;
use polypeer_engine::reach::wire::{Probed, Request as ProbeRequest};
use polypeer_ipc_protocol::admin::{AdminCommand, AdminEvent, AdminFrame, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::{Grants, Payload, PeerScope};
use polypeer_ipc_protocol::ids::{Name, Secret};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_ipc_protocol::{codec, frame};

use crate::choices::Choices;
use crate::keys::{CheapKeys, node};
use crate::run::Random;

/// The time at which the samples are valid.
pub fn now() -> Now {
    Choices::new(&[]).now()
}

/// An address record signed by a node.
pub fn address_record(number: usize, addresses: Vec<SocketAddr>, sequence: u64, now: Now) -> Arc<AddressRecord> {
    Arc::new(AddressRecord::sign(&CheapKeys(node(number)), addresses, sequence, now))
}

/// A DHT record signed by a node.
pub fn signed_record(number: usize, name: Name, sequence: u64, value: Vec<u8>, now: Now) -> SignedRecord {
    let keys = CheapKeys(node(number));
    let (key, expires, value) = (keys.0, now.unix + 3600, Payload::from(value));
    let mut record = SignedRecord { key, name, sequence, expires, value, signature: Signature([0; 64]) };
    record.signature = keys.sign(&record.signed_bytes());
    record
}

fn name() -> Name {
    "chat/news".parse().expect("a name")
}

fn public(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], 7470))
}

fn encoded<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).expect("samples are small");
    bytes
}

/// The messages of one type in the gateway's vectors, rejected ones included.
fn vectors(kind: &str) -> Vec<Vec<u8>> {
    static READ: OnceLock<Mutex<BTreeMap<String, Vec<Vec<u8>>>>> = OnceLock::new();
    let mut read = READ.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    read.entry(kind.to_owned()).or_insert_with(|| read_vectors(kind)).clone()
}

fn read_vectors(kind: &str) -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../ipc-protocol/vectors/v1/messages.json"),
        include_str!("../../ipc-protocol/vectors/v1/messages_rejected.json"),
        include_str!("../../ipc-protocol/vectors/v1/unknown.json"),
    ];
    let mut found = Vec::new();
    for file in files {
        let mut of_kind = false;
        for line in file.lines().map(str::trim) {
            let value = |key: &str| line.strip_prefix(key)?.trim_end_matches(',').strip_suffix('"');
            if let Some(found) = value("\"type\": \"") {
                of_kind = found == kind;
            } else if let Some(bytes) = value("\"hex\": \"").and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok())
                && of_kind
            {
                found.push(bytes);
            }
        }
    }
    found
}

/// Seeds of [`crate::decoders::gateway::opening`].
pub fn openings() -> Vec<Vec<u8>> {
    vectors("Opening")
}

/// Seeds of [`crate::decoders::gateway::client_frame`].
pub fn client_frames() -> Vec<Vec<u8>> {
    vectors("ClientFrame")
}

/// Seeds of [`crate::decoders::gateway::server_frame`].
pub fn server_frames() -> Vec<Vec<u8>> {
    [vectors("ServerFrame"), vectors("OpeningReply")].concat()
}

/// Seeds of [`crate::decoders::gateway::data_frames`].
pub fn data_frames() -> Vec<Vec<u8>> {
    let frame = |header: DataHeader, payload: &[u8]| [&header.to_bytes()[..], payload].concat();
    let parts = [
        frame(DataHeader::Data(5), b"hello"),
        frame(DataHeader::Stop(9), b""),
        frame(DataHeader::Data(1), b"!"),
        frame(DataHeader::Fin, b""),
    ];
    vec![parts.concat(), frame(DataHeader::Reset(0x1_0011), b""), frame(DataHeader::Data(5), b"cut")]
}

/// Seeds of [`crate::decoders::gateway::admin`].
pub fn admin_frames() -> Vec<Vec<u8>> {
    let ticket = Ticket { node: node(1), addresses: vec![public(1)] };
    let everything = Grants {
        serve: vec!["chat/*".parse().expect("a pattern")],
        peers: PeerScope::List(vec![node(2)]),
        ..Grants::default()
    };
    let launch = AdminRequest::AddLaunch {
        launch: 1,
        plugin: "chat".parse().expect("an id"),
        token: Secret([1; 32]),
        grants: everything,
    };
    let failure = Failure::new(ErrorCode::Busy, "too much");
    vec![
        encoded(&AdminCommand { id: 1, request: launch }),
        encoded(&AdminCommand { id: 2, request: AdminRequest::Ping { ticket: ticket.clone(), timeout_ms: 5 } }),
        encoded(&AdminCommand { id: 3, request: AdminRequest::Start }),
        encoded(&AdminFrame::Response { id: 3, response: AdminResponse::Ticket(ticket) }),
        encoded(&AdminFrame::Event(AdminEvent::SessionDown { launch: 1, failure: Some(failure) })),
    ]
}

/// Seeds of [`crate::decoders::services::kad`].
pub fn kad() -> Vec<Vec<u8>> {
    let now = now();
    let contact = address_record(1, vec![public(1), public(2)], 3, now);
    let value = Record::Immutable { name: name(), value: b"hello".to_vec().into() };
    let signed = Record::Signed(signed_record(2, name(), 4, b"hello".to_vec(), now));
    let key = signed.key();
    let address = Record::Address(Arc::clone(&contact));
    let provider = ProviderRecord::sign(&CheapKeys(node(1)), key, now.unix + 3600, Arc::clone(&contact));
    let asks = [
        Ask::Ping,
        Ask::FindNode { target: key },
        Ask::Get { key },
        Ask::Put { record: value, left: 60 },
        Ask::Put { record: signed.clone(), left: 60 },
        Ask::Pass { record: signed.clone(), left: 60 },
        Ask::Put { record: address, left: 60 },
        Ask::Providers { key },
        Ask::Provide { provider: provider.clone() },
    ];
    let answers = [
        Response::Done,
        Response::Nodes { contacts: vec![Arc::clone(&contact)] },
        Response::Found { record: Some(signed), contacts: vec![] },
        Response::Providers { providers: vec![provider], contacts: vec![Arc::clone(&contact)] },
        Response::Refused(Refusal::TooFar),
    ];
    let asks = asks.into_iter().map(|ask| Request { ask, from: Some(Arc::clone(&contact)) }.encode());
    asks.chain(answers.into_iter().map(|answer| answer.encode())).collect()
}

/// Seeds of [`crate::decoders::services::exchange`].
pub fn exchange() -> Vec<Vec<u8>> {
    let records: Vec<_> = (1..4).map(|number| address_record(number, vec![public(number as u8)], 1, now())).collect();
    let records: Vec<&AddressRecord> = records.iter().map(|record| &**record).collect();
    vec![Exchange::question(16), encoded(&records)]
}

/// Seeds of [`crate::decoders::services::probe`].
pub fn probes() -> Vec<Vec<u8>> {
    vec![
        ProbeRequest { ports: vec![7470, 7471] }.encode(),
        Probed { observed: public(1), reached: vec![7470] }.encode(),
    ]
}

/// Seeds of [`crate::decoders::services::gossip`].
pub fn gossip_frames() -> Vec<Vec<u8>> {
    let (now, topic) = (now(), TopicId::of(&name()));
    let record = address_record(1, vec![public(1)], 1, now);
    let message = Arc::new(Message::sign(&CheapKeys(node(1)), name(), 1, b"hello".to_vec().into(), now));
    let id = MessageId::of(&message.id());
    let frames = [
        Frame::Topics { topics: vec![topic] },
        Frame::Join { topic, urgent: true, record: Some(Arc::clone(&record)) },
        Frame::Joined { topic, accepted: true, records: vec![Arc::clone(&record)] },
        Frame::Leave { topic },
        Frame::Shuffle { topic, answer: false, records: vec![record] },
        Frame::Push { hops: 1, repair: false, message },
        Frame::Have { topic, answer: false, messages: vec![(id, 1)] },
        Frame::Want { topic, graft: true, messages: vec![id] },
        Frame::Prune { topic },
        Frame::Digest { topic, buckets: vec![Bucket { number: 1, count: 2, fingerprint: 3 }] },
        Frame::List { topic, buckets: vec![1, 2] },
    ];
    frames.iter().map(encoded).collect()
}

/// Seeds of [`crate::decoders::services::address_record`].
pub fn address_records() -> Vec<Vec<u8>> {
    let private = vec!["10.0.0.1:1".parse().expect("an address"), "[fd00::1]:2".parse().expect("an address")];
    vec![
        encoded(&*address_record(1, vec![public(1)], 1, now())),
        encoded(&*address_record(2, private, u64::MAX, now())),
    ]
}

/// Seeds of [`crate::decoders::text::names`].
pub fn names() -> Vec<Vec<u8>> {
    let ticket = Ticket { node: node(1), addresses: vec![public(1), "[2001:db8::1]:9".parse().expect("an address")] };
    let texts = [
        ticket.to_string(),
        format!("{ticket};relay=later"),
        node(1).to_string(),
        "chat/1".into(),
        "chat/*".into(),
        "*".into(),
        "chat".into(),
        "a/b/c".into(),
        "ff".repeat(32),
        include_str!("../../ipc-protocol/vectors/v1/text.json").into(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// Seeds of [`crate::decoders::files::manifest`]: the design's example, which uses all keys, and a small one.
pub fn manifests() -> Vec<Vec<u8>> {
    let design = include_str!("../../docs/design.md");
    let example =
        design.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).map_or("", |found| found.0);
    let small = "[plugin]\nid = \"chat\"\nversion = \"1.0.0\"\ncommand = [\"run\"]\n";
    vec![example.as_bytes().to_vec(), small.as_bytes().to_vec()]
}

/// Seeds of [`crate::decoders::files::config`].
pub fn configs() -> Vec<Vec<u8>> {
    let text = "listen = [\"0.0.0.0:7470\", \"[::]:0\"]\nlan = false\nnetwork = \"main\"\nbundled_apps = true\n\
                [limits]\nmemory = \"256MiB\"\ncpu = \"50%\"\nupload = \"1MiB/s\"\n";
    vec![text.as_bytes().to_vec(), Vec::new()]
}

/// Seeds of [`crate::decoders::files::file_link`].
pub fn file_links() -> Vec<Vec<u8>> {
    let hash = "ab".repeat(32);
    let ticket = Ticket { node: node(1), addresses: vec![public(1)] };
    [
        format!("polypeer-file:{hash}/a%20name.txt?size=5&from={ticket}"),
        format!("polypeer-file:{hash}/a"),
        format!("polypeer-file:{hash}/a%20name.tar/size=5/as=folder/from={ticket}/later=1"),
        format!("polypeer-file:{hash}/%2e%2e?from={ticket}&from={ticket}&later=1"),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

/// Seeds of state machines: random bytes of several lengths.
pub fn stories() -> Vec<Vec<u8>> {
    let mut random = Random::new(7);
    [64, 512, 2048, 8192].into_iter().map(|length| random.bytes(length)).collect()
}

/// A frame with its length prefix, as on control sessions.
pub fn framed<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(message, &mut bytes).expect("samples are small");
    bytes
}

/// The DHT key of a node.
pub fn key(number: usize) -> Key {
    Key::of_node(node(number))
}
