//! The accepting vectors of gossip, records, datagrams and network events.

use polypeer_ipc_protocol::gateway::{
    Event, NetworkChange, Path, Payload, Reach, Request, Response, TopicInfo, Validation, Verdict,
};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::ticket::Ticket;

use crate::vectors::{bytes32, chat, node, payload, peer, ticket};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn hash() -> Hash {
    Hash(bytes32(0x80))
}

/// The key whose secret half is the 32 bytes that count up from 0x80, and its signature of [`record`].
const KEY: &str = "cd14b37f956e953194ff7fb73b3d81dcc561d61a7538094b7c3e1a643ee5f3aa";
const SIGNATURE: &str = "57267b8b23b724f361e0874f108960b569e914531866401edca8793a1fe4ec09\
                         ba1fba0fd290d4cbcca262d2bf54c8f6c15855b6792147baaaeae3e77c6eb308";

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
    bytes.try_into().expect("the right length")
}

/// The record of the example in `SPEC.md`; its signature is right.
pub(crate) fn record() -> SignedRecord {
    SignedRecord {
        key: NodeId(hex(KEY)),
        name: name("chat/motd"),
        sequence: 3,
        expires: 1_900_000_000,
        value: payload("hello"),
        signature: Signature(hex(SIGNATURE)),
    }
}

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let longest = name(&format!("{}/", "x".repeat(127)));
    let judge = |verdict| Request::Judge { topic: name("chat/news"), message: hash(), verdict };
    let news = || name("chat/news");
    let motd = || name("chat/motd");
    vec![
        ("publish", Request::Publish { topic: news(), payload: payload("hi") }),
        ("publish_empty", Request::Publish { topic: name("/"), payload: payload("") }),
        ("subscribe", Request::Subscribe { topic: news(), validation: Validation::Signature }),
        ("subscribe_validating", Request::Subscribe { topic: longest, validation: Validation::Plugin }),
        ("unsubscribe", Request::Unsubscribe { topic: news() }),
        ("judge_accept", judge(Verdict::Accept)),
        ("judge_ignore", judge(Verdict::Ignore)),
        ("judge_reject", judge(Verdict::Reject)),
        ("topic", Request::Topic { topic: news() }),
        ("put_immutable", Request::PutImmutable { name: motd(), value: payload("hello"), timeout_ms: 0 }),
        ("get_immutable", Request::GetImmutable { name: motd(), hash: hash(), timeout_ms: 5_000 }),
        ("put_own", Request::PutOwn { name: motd(), value: payload("hello"), lifetime_s: 3_600, timeout_ms: u32::MAX }),
        ("put_own_empty", Request::PutOwn { name: name("a"), value: payload(""), lifetime_s: 0, timeout_ms: 0 }),
        ("put_signed", Request::PutSigned { record: record(), timeout_ms: 5_000 }),
        ("get_signed", Request::GetSigned { key: NodeId(hex(KEY)), name: motd(), timeout_ms: 5_000 }),
        ("provide", Request::Provide { name: name("chat/rooms/1.0_a-b"), timeout_ms: 0 }),
        ("unprovide", Request::Unprovide { name: name("chat/rooms/1.0_a-b") }),
        ("find_providers", Request::FindProviders { name: motd(), limit: 64, timeout_ms: 5_000 }),
        ("find_peer", Request::FindPeer { node: peer(), timeout_ms: 0 }),
        ("send_datagram", Request::SendDatagram { node: peer(), protocol: chat(), payload: payload("hi") }),
        ("receive_datagrams_on", Request::ReceiveDatagrams { protocol: chat(), on: true }),
        ("receive_datagrams_off", Request::ReceiveDatagrams { protocol: chat(), on: false }),
        ("watch_network_on", Request::WatchNetwork { on: true }),
        ("watch_network_off", Request::WatchNetwork { on: false }),
    ]
}

pub(crate) fn responses() -> Vec<(&'static str, Response)> {
    vec![
        ("published", Response::Published { message: hash(), peers: 6 }),
        ("published_to_nobody_yet", Response::Published { message: hash(), peers: 0 }),
        (
            "topic_info",
            Response::Topic(TopicInfo { neighbours: 5, delivered: 1_000, duplicates: 120, dropped: 3, pulled: 17 }),
        ),
        ("stored_immutable", Response::Stored { key: hash(), sequence: 0, copies: 20 }),
        ("stored_signed", Response::Stored { key: hash(), sequence: u64::MAX, copies: 1 }),
        ("value", Response::Value(Some(payload("hello")))),
        ("value_empty", Response::Value(Some(Payload::default()))),
        ("no_value", Response::Value(None)),
        ("record", Response::Record(Some(record()))),
        ("no_record", Response::Record(None)),
        ("providers", Response::Providers(vec![node(), peer()])),
        ("no_providers", Response::Providers(Vec::new())),
        ("found", Response::Found(ticket())),
    ]
}

pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let here = Ticket { node: node(), addresses: ticket().addresses };
    vec![
        (
            "message",
            Event::Message { topic: name("chat/news"), message: hash(), author: peer(), payload: payload("hi") },
        ),
        (
            "message_empty",
            Event::Message { topic: name("chat/news"), message: hash(), author: node(), payload: payload("") },
        ),
        ("datagram", Event::Datagram { node: peer(), protocol: chat(), payload: payload("hi") }),
        ("datagram_empty", Event::Datagram { node: peer(), protocol: chat(), payload: payload("") }),
        ("path_relayed", Event::Network(NetworkChange::Path { node: peer(), path: Path::Relayed })),
        ("path_direct", Event::Network(NetworkChange::Path { node: peer(), path: Path::Direct })),
        ("reach_unknown", Event::Network(NetworkChange::Reach(Reach::Unknown))),
        ("reach_public", Event::Network(NetworkChange::Reach(Reach::Public))),
        ("reach_private", Event::Network(NetworkChange::Reach(Reach::Private))),
        ("addresses", Event::Network(NetworkChange::Addresses(here))),
        ("no_addresses", Event::Network(NetworkChange::Addresses(Ticket { node: node(), addresses: Vec::new() }))),
    ]
}
