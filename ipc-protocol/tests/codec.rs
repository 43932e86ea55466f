//! Decoding of arbitrary bytes: it never panics, never allocates by an announced length, and is the inverse of
//! encoding.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::{
    CallMode, ClientFrame, Event, Grants, NetworkChange, Opening, OpeningReply, Origin, Path, Payload, PeerInfo,
    PeerScope, Reach, Request, Response, Scope, ServerFrame, Target, TopicInfo, Validation, Verdict, Welcome,
};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::limits::MAX_FRAME;
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::session::decode;
use polypeer_ipc_protocol::ticket::Ticket;
use proptest::collection::vec;
use proptest::prelude::*;

/// The system's allocator, recording the largest request of each thread.
struct Largest;

thread_local!(static LARGEST: Cell<usize> = const { Cell::new(0) });

#[allow(unsafe_code, reason = "an allocator can only be watched by being one")]
// SAFETY: every call goes to the system's allocator unchanged; the cell it notes the size in allocates nothing.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promises are those the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Largest = Largest;

/// Decodes as every type, and returns the largest allocation.
fn decode_all(bytes: &[u8]) -> usize {
    LARGEST.set(0);
    drop(decode::opening(bytes));
    drop(decode::opening_reply(bytes));
    drop(decode::client_frame(bytes));
    drop(decode::server_frame(bytes));
    LARGEST.get()
}

/// The length 1, encoded.
const ONE: [u8; 8] = 1u64.to_le_bytes();

#[test]
fn told_lengths_are_not_believed() {
    let small = 4 << 10;
    for length in [1 << 11, 1 << 16, 1 << 19, 1 << 20, 1 << 40, u64::MAX] {
        let length = length.to_le_bytes();
        let tag = |tag: u32| tag.to_le_bytes();
        let secret = [0; 32];
        for bytes in [
            [&tag(0)[..], &length].concat(),                                        // Hello: versions
            [&tag(1)[..], &secret, &tag(2), &length].concat(),                      // Open: protocol
            [&tag(0)[..], &tag(1), &length].concat(),                               // Refused: text
            [&tag(1)[..], &tag(1), &secret, &length].concat(),                      // Welcome: plugin id
            [&tag(2)[..], &[0; 8], &length].concat(),                               // Answer: payload
            [&tag(0)[..], &[0; 8], &tag(3), &length].concat(),                      // Peers: list
            [&tag(1)[..], &tag(6), &length].concat(),                               // GrantsChanged: serve
            [&tag(1)[..], &tag(6), &[0; 24], &tag(0), &length].concat(),            // GrantsChanged: peers
            [&tag(1)[..], &tag(4), &secret, &tag(0), &[0; 16], &length].concat(),   // PeerUp: protocols
            [&tag(0)[..], &[0; 8], &tag(9), &length].concat(),                      // Publish: topic
            [&tag(0)[..], &[0; 8], &tag(9), &ONE, b"a", &length].concat(),          // Publish: payload
            [&tag(0)[..], &[0; 8], &tag(17), &secret, &length].concat(),            // PutSigned: name
            [&tag(0)[..], &[0; 8], &tag(8), &[1], &length].concat(),                // Value
            [&tag(0)[..], &[0; 8], &tag(10), &length].concat(),                     // Providers: list
            [&tag(0)[..], &[0; 8], &tag(11), &length].concat(),                     // Found: ticket
            [&tag(1)[..], &tag(9), &ONE, b"a", &secret, &secret, &length].concat(), // Message: payload
        ] {
            let largest = decode_all(&bytes);
            assert!(largest <= small, "{} bytes made the decoder ask for {largest}", bytes.len());
        }
    }
}

#[test]
fn largest_message_is_written_and_read_and_the_next_is_not() {
    let message = |length: usize| Payload(vec![7; length].into());
    let mut out = vec![1];
    codec::encode(&message(MAX_FRAME - 8), &mut out).expect("just fits");
    assert_eq!(codec::decode::<Payload>(&out[1..]).expect("read back"), message(MAX_FRAME - 8));
    out.truncate(1);
    assert!(matches!(codec::encode(&message(MAX_FRAME - 7), &mut out), Err(CodecError::TooLarge)));
    assert_eq!(out, [1], "what was there before is still there");
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId)
}

fn secret() -> impl Strategy<Value = Secret> {
    any::<[u8; 32]>().prop_map(Secret)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    "[a-z0-9._-]{1,20}/[a-z0-9._-]{1,8}".prop_map(|text| text.parse().expect("the rule"))
}

fn plugin() -> impl Strategy<Value = PluginId> {
    "[a-z0-9-]{2,40}".prop_map(|text| text.parse().expect("the rule"))
}

fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
    vec("[a-z0-9._/-]{1,20}\\*?".prop_map(|text| text.parse().expect("the rule")), 0..4)
}

fn ticket() -> impl Strategy<Value = Ticket> {
    let address = any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| (ip, port).into());
    (node(), vec(address, 0..=16)).prop_map(|(node, addresses)| Ticket { node, addresses })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![node().prop_map(Target::Node), ticket().prop_map(Target::Ticket), Just(Target::Local)]
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![node().prop_map(Origin::Peer), plugin().prop_map(Origin::Local)]
}

fn failure() -> impl Strategy<Value = Failure> {
    (any::<u32>(), ".{0,60}").prop_map(|(code, message)| Failure { code, message })
}

fn payload() -> impl Strategy<Value = Payload> {
    vec(any::<u8>(), 0..200).prop_map(Payload::from)
}

fn grants() -> impl Strategy<Value = Grants> {
    let peers = prop_oneof![Just(PeerScope::Any), vec(node(), 0..4).prop_map(PeerScope::List)];
    (patterns(), patterns(), patterns(), peers, patterns(), patterns(), patterns()).prop_map(
        |(serve, dial, serve_local, peers, topics, dht, routes)| Grants {
            serve,
            dial,
            serve_local,
            peers,
            topics,
            dht,
            routes,
        },
    )
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Peers), Just(Scope::Local)]
}

fn opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        (vec(any::<u32>(), 1..=32), secret()).prop_map(|(versions, token)| Opening::Hello { versions, token }),
        (secret(), target(), protocol(), any::<u32>()).prop_map(|(secret, target, protocol, timeout_ms)| {
            Opening::Open { secret, target, protocol, timeout_ms }
        }),
        (secret(), any::<u64>()).prop_map(|(secret, stream)| Opening::Accept { secret, stream }),
        (secret(), protocol(), scope()).prop_map(|(secret, protocol, scope)| Opening::AcceptNext {
            secret,
            protocol,
            scope
        }),
    ]
}

fn opening_reply() -> impl Strategy<Value = OpeningReply> {
    prop_oneof![
        failure().prop_map(OpeningReply::Refused),
        (any::<u32>(), node(), plugin(), grants(), secret()).prop_map(|(version, node, plugin, grants, secret)| {
            OpeningReply::Welcome(Welcome { version, node, plugin, grants, secret })
        }),
        (origin(), protocol()).prop_map(|(origin, protocol)| OpeningReply::Opened { origin, protocol }),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9._/-]{1,128}".prop_map(|text| text.parse().expect("the rule"))
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn record() -> impl Strategy<Value = SignedRecord> {
    let signature =
        any::<([u8; 32], [u8; 32])>().prop_map(|(r, s)| Signature([r, s].concat().try_into().expect("twice 32 bytes")));
    (node(), name(), any::<u64>(), any::<u64>(), payload(), signature).prop_map(
        |(key, name, sequence, expires, value, signature)| SignedRecord {
            key,
            name,
            sequence,
            expires,
            value,
            signature,
        },
    )
}

fn gossip_request() -> impl Strategy<Value = Request> {
    let validation = prop_oneof![Just(Validation::Signature), Just(Validation::Plugin)];
    let verdict = prop_oneof![Just(Verdict::Accept), Just(Verdict::Ignore), Just(Verdict::Reject)];
    prop_oneof![
        (name(), payload()).prop_map(|(topic, payload)| Request::Publish { topic, payload }),
        (name(), validation).prop_map(|(topic, validation)| Request::Subscribe { topic, validation }),
        name().prop_map(|topic| Request::Unsubscribe { topic }),
        (name(), hash(), verdict).prop_map(|(topic, message, verdict)| Request::Judge { topic, message, verdict }),
        name().prop_map(|topic| Request::Topic { topic }),
    ]
}

fn record_request() -> impl Strategy<Value = Request> {
    let ms = any::<u32>;
    prop_oneof![
        (name(), payload(), ms()).prop_map(|(name, value, timeout_ms)| Request::PutImmutable {
            name,
            value,
            timeout_ms
        }),
        (name(), hash(), ms()).prop_map(|(name, hash, timeout_ms)| Request::GetImmutable { name, hash, timeout_ms }),
        (name(), payload(), any::<u32>(), ms()).prop_map(|(name, value, lifetime_s, timeout_ms)| {
            Request::PutOwn { name, value, lifetime_s, timeout_ms }
        }),
        (record(), ms()).prop_map(|(record, timeout_ms)| Request::PutSigned { record, timeout_ms }),
        (node(), name(), ms()).prop_map(|(key, name, timeout_ms)| Request::GetSigned { key, name, timeout_ms }),
        (name(), ms()).prop_map(|(name, timeout_ms)| Request::Provide { name, timeout_ms }),
        name().prop_map(|name| Request::Unprovide { name }),
        (name(), any::<u32>(), ms()).prop_map(|(name, limit, timeout_ms)| Request::FindProviders {
            name,
            limit,
            timeout_ms
        }),
        (node(), ms()).prop_map(|(node, timeout_ms)| Request::FindPeer { node, timeout_ms }),
    ]
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let calls = prop_oneof![Just(CallMode::Streams), Just(CallMode::Events)];
    let request = prop_oneof![
        (protocol(), scope(), calls).prop_map(|(protocol, scope, calls)| Request::Listen { protocol, scope, calls }),
        (target(), protocol(), payload(), any::<u32>()).prop_map(|(target, protocol, payload, timeout_ms)| {
            Request::Call { target, protocol, payload, timeout_ms }
        }),
        (any::<u64>(), failure()).prop_map(|(stream, failure)| Request::RefuseStream { stream, failure }),
        any::<bool>().prop_map(|on| Request::WatchPeers { on }),
        Just(Request::Ping),
        gossip_request(),
        record_request(),
        (node(), protocol(), payload()).prop_map(|(node, protocol, payload)| Request::SendDatagram {
            node,
            protocol,
            payload
        }),
        (protocol(), any::<bool>()).prop_map(|(protocol, on)| Request::ReceiveDatagrams { protocol, on }),
        any::<bool>().prop_map(|on| Request::WatchNetwork { on }),
        Just(Request::KeepConnections),
    ];
    prop_oneof![
        (any::<u64>(), request).prop_map(|(id, request)| ClientFrame::Request { id, request }),
        any::<u64>().prop_map(|id| ClientFrame::Cancel { id }),
        (any::<u64>(), payload()).prop_map(|(call, payload)| ClientFrame::Answer { call, payload }),
        (any::<u64>(), failure()).prop_map(|(call, failure)| ClientFrame::Decline { call, failure }),
        Just(ClientFrame::Alive),
    ]
}

fn peer() -> impl Strategy<Value = PeerInfo> {
    let path = prop_oneof![Just(Path::Direct), Just(Path::Relayed)];
    (node(), path, any::<u64>(), any::<u64>(), vec(protocol(), 0..4)).prop_map(
        |(node, path, rtt_us, connected_ms, protocols)| PeerInfo { node, path, rtt_us, connected_ms, protocols },
    )
}

fn network_change() -> impl Strategy<Value = NetworkChange> {
    let path = prop_oneof![Just(Path::Direct), Just(Path::Relayed)];
    let reach = prop_oneof![Just(Reach::Unknown), Just(Reach::Public), Just(Reach::Private)];
    prop_oneof![
        (node(), path).prop_map(|(node, path)| NetworkChange::Path { node, path }),
        reach.prop_map(NetworkChange::Reach),
        ticket().prop_map(NetworkChange::Addresses),
    ]
}

fn topic_info() -> impl Strategy<Value = TopicInfo> {
    (any::<u32>(), any::<[u64; 4]>()).prop_map(|(neighbours, [delivered, duplicates, dropped, pulled])| TopicInfo {
        neighbours,
        delivered,
        duplicates,
        dropped,
        pulled,
    })
}

fn service_response() -> impl Strategy<Value = Response> {
    prop_oneof![
        (hash(), any::<u32>()).prop_map(|(message, peers)| Response::Published { message, peers }),
        topic_info().prop_map(Response::Topic),
        (hash(), any::<u64>(), any::<u32>()).prop_map(|(key, sequence, copies)| Response::Stored {
            key,
            sequence,
            copies
        }),
        proptest::option::of(payload()).prop_map(Response::Value),
        proptest::option::of(record()).prop_map(Response::Record),
        vec(node(), 0..4).prop_map(Response::Providers),
        ticket().prop_map(Response::Found),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let response = prop_oneof![
        failure().prop_map(Response::Failed),
        payload().prop_map(|payload| Response::Reply { payload }),
        vec(peer(), 0..4).prop_map(Response::Peers),
        service_response(),
    ];
    let event = prop_oneof![
        (any::<u64>(), origin(), protocol())
            .prop_map(|(stream, origin, protocol)| { Event::Stream { stream, origin, protocol } }),
        (any::<u64>(), origin(), protocol(), payload())
            .prop_map(|(call, origin, protocol, payload)| { Event::Call { call, origin, protocol, payload } }),
        peer().prop_map(Event::PeerUp),
        grants().prop_map(Event::GrantsChanged),
        failure().prop_map(Event::Closing),
        (name(), hash(), node(), payload()).prop_map(|(topic, message, author, payload)| Event::Message {
            topic,
            message,
            author,
            payload
        }),
        (node(), protocol(), payload()).prop_map(|(node, protocol, payload)| Event::Datagram {
            node,
            protocol,
            payload
        }),
        network_change().prop_map(Event::Network),
        Just(Event::Heartbeat),
    ];
    prop_oneof![
        (any::<u64>(), response).prop_map(|(id, response)| ServerFrame::Response { id, response }),
        event.prop_map(ServerFrame::Event),
    ]
}

fn encoded<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(message, &mut out).expect("small");
    out
}

/// Whether the message has a ticket: its text has several forms, such as those of an IPv6 address.
fn has_ticket(message: &ServerFrame) -> bool {
    match message {
        ServerFrame::Response { response, .. } => matches!(response, Response::Node(_) | Response::Found(_)),
        ServerFrame::Event(event) => matches!(event, Event::Network(NetworkChange::Addresses(_))),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_large_allocation(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_all(&bytes) <= 4 << 10);
    }

    #[test]
    fn one_changed_byte_is_read_or_refused(frame in server_frame(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encoded(&frame);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = decode::server_frame(&bytes) {
            let again = encoded(&message);
            prop_assert!(again == bytes || has_ticket(&message), "what is accepted has one form: {:?}", message);
            prop_assert_eq!(decode::server_frame(&again).expect("valid"), message);
        }
    }

    #[test]
    fn messages_read_back(a in opening(), b in opening_reply(), c in client_frame(), d in server_frame()) {
        prop_assert_eq!(decode::opening(&encoded(&a)).expect("valid"), a);
        prop_assert_eq!(decode::opening_reply(&encoded(&b)).expect("valid"), b);
        prop_assert_eq!(decode::client_frame(&encoded(&c)).expect("valid"), c);
        prop_assert_eq!(decode::server_frame(&encoded(&d)).expect("valid"), d);
    }

    #[test]
    fn json_reads_back(question in client_frame(), message in server_frame()) {
        let json = serde_json::to_string(&question).expect("has a JSON form");
        prop_assert_eq!(serde_json::from_str::<ClientFrame>(&json).expect("valid"), question);
        let json = serde_json::to_string(&message).expect("has a JSON form");
        prop_assert_eq!(serde_json::from_str::<ServerFrame>(&json).expect("valid"), message);
    }
}
