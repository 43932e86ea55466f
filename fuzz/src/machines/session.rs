//! Targets for the control session: both ends with each other, and netcore's end with arbitrary input.

use std::collections::BTreeSet;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{
    CallMode, ClientFrame, Event, Grants, Opening, OpeningReply, Origin, Payload, Request, Response, Scope,
    ServerFrame, Target, Validation, Verdict, Welcome,
};
use polypeer_ipc_protocol::ids::Secret;
use polypeer_ipc_protocol::limits::MAX_REQUESTS;
use polypeer_ipc_protocol::session::client::{ClientEvent, ClientSession};
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use polypeer_ipc_protocol::{codec, frame};

use crate::choices::Choices;
use crate::keys::node;
use crate::samples;

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: node(0),
        plugin: "chat".parse().expect("an id"),
        grants: Grants::default(),
        secret: Secret([1; 32]),
    }
}

fn request(choices: &mut Choices<'_>) -> Request {
    let timeout_ms = choices.number() as u32;
    // Sometimes beyond a limit.
    let payload =
        |choices: &mut Choices<'_>, most: usize| Payload::from(vec![1_u8; choices.below(most + most / 4 + 2)]);
    match choices.below(13) {
        0 => Request::Listen { protocol: choices.protocol(), scope: Scope::Peers, calls: CallMode::Events },
        1 => Request::Call {
            target: Target::Node(choices.node(4)),
            protocol: choices.protocol(),
            payload: payload(choices, 64 << 10),
            timeout_ms,
        },
        2 => Request::RefuseStream { stream: choices.number(), failure: ErrorCode::Blocked.into() },
        3 => Request::Peers,
        4 => Request::Publish { topic: choices.name(), payload: payload(choices, 64 << 10) },
        5 => Request::Subscribe { topic: choices.name(), validation: Validation::Plugin },
        6 => Request::Judge { topic: choices.name(), message: choices.hash(), verdict: Verdict::Reject },
        7 => Request::PutOwn { name: choices.name(), value: payload(choices, 3072), lifetime_s: 1, timeout_ms },
        8 => Request::FindProviders { name: choices.name(), limit: timeout_ms, timeout_ms },
        9 => Request::SendDatagram { node: node(1), protocol: choices.protocol(), payload: payload(choices, 1024) },
        10 => Request::WatchNetwork { on: choices.flag() },
        11 => Request::KeepConnections,
        _ => Request::Ping,
    }
}

/// Runs both ends by the rules: neither finds the other malformed, and every request gets one answer.
pub fn both_ends(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut client = ClientSession::new(Secret([2; 32]), &mut to_server);
    let mut server = ServerSession::default();
    let mut open = BTreeSet::new();
    let mut asked = BTreeSet::new();
    while choices.go_on() {
        match choices.below(9) {
            0..=2 => {
                let request = request(&mut choices);
                if let Ok(id) = client.request(request, &mut to_server) {
                    assert!(open.insert(id), "ids are not used twice at a time");
                }
                assert!(client.in_flight() <= MAX_REQUESTS);
            }
            3 => drop(client.cancel(1 + choices.below(64) as u64, &mut to_server)),
            4 => drop(client.answer(choices.number(), vec![1; choices.below(70_000)].into(), &mut to_server)),
            5 => {
                if let Some(id) = asked.pop_first() {
                    let response = if choices.flag() { Response::Done } else { Response::Value(Some(vec![1].into())) };
                    assert!(server.respond(id, response, &mut to_client).expect("small"), "request {id} waits");
                }
            }
            6 => {
                let event = Event::Stream {
                    stream: choices.number(),
                    origin: Origin::Peer(choices.node(4)),
                    protocol: choices.protocol(),
                };
                server.event(event, &mut to_client).expect("small");
            }
            7 => {
                let cut = choices.below(to_server.len() + 1);
                let rest = to_server.split_off(cut);
                let mut input = &to_server[..];
                while let Some(event) = server.read(&mut input, &mut to_client) {
                    match event {
                        ServerEvent::Opening(Opening::Hello { .. }) => {
                            server.welcome(welcome(), &mut to_client).expect("small")
                        }
                        ServerEvent::Frame(ClientFrame::Request { id, .. }) => {
                            assert!(asked.insert(id), "request {id} arrived twice")
                        }
                        ServerEvent::Ended(failure) => panic!("the plugin kept the rules, but {failure}"),
                        _ => {}
                    }
                }
                to_server = [input, &rest].concat();
            }
            _ => {
                let cut = choices.below(to_client.len() + 1);
                let rest = to_client.split_off(cut);
                let mut input = &to_client[..];
                while let Some(event) = client.read(&mut input) {
                    match event {
                        ClientEvent::Response { id, .. } => assert!(open.remove(&id), "an answer to what was asked"),
                        ClientEvent::Ended(failure) => panic!("netcore kept the rules, but {failure}"),
                        ClientEvent::Welcome(_) | ClientEvent::Event(_) => {}
                    }
                }
                to_client = [input, &rest].concat();
            }
        }
    }
}

/// Runs netcore's end on arbitrary input: its output is always well-formed, and there is none after the end.
pub fn server(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut server = ServerSession::default();
    let (mut input, mut out) = (Vec::new(), Vec::new());
    if choices.flag() {
        let mut client = ClientSession::new(Secret([2; 32]), &mut input);
        let hello = server.read(&mut &input[..], &mut out);
        assert!(matches!(hello, Some(ServerEvent::Opening(Opening::Hello { .. }))));
        input.clear();
        server.welcome(welcome(), &mut out).expect("small");
        assert!(matches!(client.read(&mut &out[..]), Some(ClientEvent::Welcome(_))));
        out.clear();
    }
    let vectors = [samples::client_frames(), samples::openings()].concat();
    while choices.go_on() {
        match choices.below(4) {
            0 => input.extend(choices.bytes(64)),
            1 => {
                let mut body = choices.of(&vectors).clone();
                let at = choices.below(body.len() + 1);
                if let Some(byte) = body.get_mut(at) {
                    *byte = choices.number() as u8;
                }
                input.extend_from_slice(&(body.len() as u32).to_le_bytes());
                input.extend(body);
            }
            2 => input.extend(samples::framed(&choices.number())),
            _ => {
                let mut view = &input[..];
                while let Some(event) = server.read(&mut view, &mut out) {
                    match event {
                        ServerEvent::Opening(Opening::Hello { .. }) => {
                            server.welcome(welcome(), &mut out).expect("small")
                        }
                        ServerEvent::Opening(
                            Opening::Open { .. } | Opening::Accept { .. } | Opening::AcceptNext { .. },
                        ) => {
                            server.refuse(Failure::from(ErrorCode::NotGranted), &mut out);
                        }
                        ServerEvent::Ended(_) => return check(&out),
                        _ => {}
                    }
                }
                input = view.to_vec();
            }
        }
        assert!(server.in_flight() <= MAX_REQUESTS);
    }
    check(&out);
}

fn check(out: &[u8]) {
    let mut rest = out;
    while let Some(body) = frame::split(rest).expect("frames of netcore are not too large") {
        let reads = codec::decode::<ServerFrame>(body).is_ok() || codec::decode::<OpeningReply>(body).is_ok();
        assert!(reads, "netcore wrote {body:02x?}");
        rest = &rest[frame::HEADER + body.len()..];
    }
    assert!(rest.is_empty(), "half a frame");
}
