//! The accepting vectors: every message, every variant at least once. The rejecting ones are written by hand.

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{
    CallMode, ClientFrame, Event, Grants, NodeInfo, Opening, OpeningReply, Origin, Path, Payload, PeerInfo, PeerScope,
    Request, Response, Scope, ServerFrame, Target, Welcome,
};
use polypeer_ipc_protocol::ids::{NodeId, Pattern, Protocol, Secret};
use polypeer_ipc_protocol::ticket::Ticket;

use crate::services;

/// One accepting vector.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    /// The message type, as in `SPEC.md`.
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: serde_json::Value,
}

/// A message of one of the four types that travel as a frame's body.
pub(crate) enum Message {
    Opening(Opening),
    Reply(OpeningReply),
    Client(ClientFrame),
    Server(ServerFrame),
}

pub(crate) fn samples() -> Vec<Sample> {
    messages().into_iter().map(|(name, message)| sample(name, &message)).collect()
}

pub(crate) fn file() -> String {
    let entry = |Sample { name, kind, bytes, json }: Sample| {
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        format!(
            "  {{\n    \"name\": \"{name}\",\n    \"type\": \"{kind}\",\n    \"hex\": \"{hex}\",\n    \"json\": {json}\n  }}"
        )
    };
    let entries: Vec<_> = samples().into_iter().map(entry).collect();
    format!("[\n{}\n]\n", entries.join(",\n"))
}

fn sample(name: &'static str, message: &Message) -> Sample {
    fn both<T: serde::Serialize>(name: &'static str, kind: &'static str, message: &T) -> Sample {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes).expect("samples are small");
        Sample { name, kind, bytes, json: serde_json::to_value(message).expect("messages have a JSON form") }
    }
    match message {
        Message::Opening(message) => both(name, "Opening", message),
        Message::Reply(message) => both(name, "OpeningReply", message),
        Message::Client(message) => both(name, "ClientFrame", message),
        Message::Server(message) => both(name, "ServerFrame", message),
    }
}

/// 32 bytes that count up from `first`, so that a shifted field shows.
pub(crate) fn bytes32(first: u8) -> [u8; 32] {
    std::array::from_fn(|index| first + index as u8)
}

pub(crate) fn node() -> NodeId {
    NodeId(bytes32(0x00))
}

pub(crate) fn peer() -> NodeId {
    NodeId(bytes32(0x20))
}

fn secret() -> Secret {
    Secret(bytes32(0x60))
}

pub(crate) fn chat() -> Protocol {
    "chat/1".parse().expect("a protocol")
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().expect("a pattern")).collect()
}

pub(crate) fn ticket() -> Ticket {
    let addresses = ["192.0.2.7:7470", "[2001:db8::7]:7471"].map(|text| text.parse().expect("an address"));
    Ticket { node: peer(), addresses: addresses.to_vec() }
}

fn grants() -> Grants {
    Grants {
        serve: patterns(&["chat/1"]),
        dial: patterns(&["chat/*", "files/1"]),
        serve_local: patterns(&["chat-control/1"]),
        peers: PeerScope::List(vec![peer()]),
        topics: patterns(&["chat/*"]),
        dht: patterns(&["*"]),
        routes: patterns(&["chat-route/1"]),
    }
}

fn peer_info(path: Path) -> PeerInfo {
    PeerInfo { node: peer(), path, rtt_us: 1_500, connected_ms: 60_000, protocols: vec![chat()] }
}

fn failure(code: ErrorCode, message: &str) -> Failure {
    Failure::new(code, message)
}

pub(crate) fn payload(text: &str) -> Payload {
    Payload(text.as_bytes().to_vec().into())
}

pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let mut all = Vec::new();
    all.extend(openings().into_iter().map(|(name, message)| (name, Message::Opening(message))));
    all.extend(replies().into_iter().map(|(name, message)| (name, Message::Reply(message))));
    all.extend(requests().into_iter().chain(services::requests()).enumerate().map(|(index, (name, request))| {
        let id = index as u64 + 1;
        (name, Message::Client(ClientFrame::Request { id, request }))
    }));
    all.extend(client_frames().into_iter().map(|(name, message)| (name, Message::Client(message))));
    all.extend(responses().into_iter().chain(services::responses()).enumerate().map(|(index, (name, response))| {
        let id = index as u64 + 1;
        (name, Message::Server(ServerFrame::Response { id, response }))
    }));
    let events = events().into_iter().chain(services::events());
    all.extend(events.map(|(name, event)| (name, Message::Server(ServerFrame::Event(event)))));
    all
}

fn openings() -> Vec<(&'static str, Opening)> {
    let secret = secret();
    vec![
        ("hello", Opening::Hello { versions: vec![1], token: Secret(bytes32(0x40)) }),
        ("hello_two_versions", Opening::Hello { versions: vec![2, 1], token: Secret(bytes32(0x40)) }),
        ("hello_most_versions", Opening::Hello { versions: (1..=32).collect(), token: Secret(bytes32(0x40)) }),
        (
            "open_node",
            Opening::Open { secret: secret.clone(), target: Target::Node(peer()), protocol: chat(), timeout_ms: 0 },
        ),
        (
            "open_ticket",
            Opening::Open {
                secret: secret.clone(),
                target: Target::Ticket(ticket()),
                protocol: chat(),
                timeout_ms: 5_000,
            },
        ),
        (
            "open_local",
            Opening::Open {
                secret: secret.clone(),
                target: Target::Local,
                protocol: "chat-control/1".parse().expect("a protocol"),
                timeout_ms: u32::MAX,
            },
        ),
        ("accept", Opening::Accept { secret, stream: 7 }),
    ]
}

fn replies() -> Vec<(&'static str, OpeningReply)> {
    let welcome = |grants| Welcome {
        version: 1,
        node: node(),
        plugin: "chat".parse().expect("a plugin id"),
        grants,
        secret: secret(),
    };
    vec![
        ("refused", OpeningReply::Refused(failure(ErrorCode::Unauthorised, "wrong token"))),
        ("refused_without_text", OpeningReply::Refused(ErrorCode::Busy.into())),
        ("welcome", OpeningReply::Welcome(welcome(grants()))),
        ("welcome_any_peer", OpeningReply::Welcome(welcome(Grants { peers: PeerScope::Any, ..Grants::default() }))),
        ("welcome_nothing_granted", OpeningReply::Welcome(welcome(Grants::default()))),
        ("opened_peer", OpeningReply::Opened { origin: Origin::Peer(peer()), protocol: chat() }),
        (
            "opened_local",
            OpeningReply::Opened { origin: Origin::Local("operator".parse().expect("a plugin id")), protocol: chat() },
        ),
    ]
}

fn requests() -> Vec<(&'static str, Request)> {
    let longest = format!("{}/1", "x".repeat(78)).parse().expect("80 bytes");
    vec![
        ("listen", Request::Listen { protocol: chat(), scope: Scope::Peers, calls: CallMode::Streams }),
        ("listen_local_events", Request::Listen { protocol: chat(), scope: Scope::Local, calls: CallMode::Events }),
        ("unlisten", Request::Unlisten { protocol: longest, scope: Scope::Peers }),
        (
            "call",
            Request::Call { target: Target::Node(peer()), protocol: chat(), payload: payload("hi"), timeout_ms: 5_000 },
        ),
        (
            "call_empty_payload",
            Request::Call { target: Target::Local, protocol: chat(), payload: payload(""), timeout_ms: 0 },
        ),
        (
            "refuse_stream",
            Request::RefuseStream { stream: 7, failure: Failure { code: 42, message: "not now".into() } },
        ),
        ("peers", Request::Peers),
        ("node", Request::Node),
        ("watch_peers_on", Request::WatchPeers { on: true }),
        ("watch_peers_off", Request::WatchPeers { on: false }),
        ("ready", Request::Ready),
        ("ping", Request::Ping),
    ]
}

fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    vec![
        ("request_largest_id", ClientFrame::Request { id: u64::MAX, request: Request::Ping }),
        ("cancel", ClientFrame::Cancel { id: 4 }),
        ("answer", ClientFrame::Answer { call: 9, payload: payload("hello") }),
        ("answer_empty", ClientFrame::Answer { call: 9, payload: payload("") }),
        ("decline", ClientFrame::Decline { call: 9, failure: Failure { code: 0, message: "no".into() } }),
    ]
}

fn responses() -> Vec<(&'static str, Response)> {
    let node = NodeInfo { node: peer(), ticket: ticket(), version: "0.1.0".into(), uptime_ms: 86_400_000 };
    vec![
        ("failed", Response::Failed(failure(ErrorCode::NotGranted, "chat/1 is not granted: größer"))),
        (
            "failed_later_code",
            Response::Failed(Failure { code: 0x1_0000 + 9_999, message: "from a later version".into() }),
        ),
        ("done", Response::Done),
        ("reply", Response::Reply { payload: payload("hello") }),
        ("no_peers", Response::Peers(Vec::new())),
        ("two_peers", Response::Peers(vec![peer_info(Path::Direct), peer_info(Path::Relayed)])),
        ("node_info", Response::Node(node.clone())),
        (
            "node_info_without_addresses",
            Response::Node(NodeInfo { ticket: Ticket { node: peer(), addresses: Vec::new() }, ..node }),
        ),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let gone = || failure(ErrorCode::TimedOut, "nobody claimed the stream within 30 s");
    let operator = || Origin::Local("operator".parse().expect("a plugin id"));
    vec![
        ("stream", Event::Stream { stream: 7, origin: Origin::Peer(peer()), protocol: chat() }),
        ("stream_local", Event::Stream { stream: 8, origin: operator(), protocol: chat() }),
        ("stream_gone", Event::StreamGone { stream: 7, failure: gone() }),
        ("call_event", Event::Call { call: 9, origin: Origin::Peer(peer()), protocol: chat(), payload: payload("hi") }),
        ("call_gone", Event::CallGone { call: 9 }),
        ("peer_up", Event::PeerUp(peer_info(Path::Direct))),
        ("peer_down", Event::PeerDown { node: peer(), failure: ErrorCode::ConnectionLost.into() }),
        ("grants_changed", Event::GrantsChanged(grants())),
        ("dropped", Event::Dropped { count: 3 }),
        ("closing", Event::Closing(failure(ErrorCode::Superseded, "a newer session took over"))),
    ]
}
