//! The two session state machines: against each other, against plugins that break the rules, and against arbitrary
//! bytes.
#![allow(clippy::panic, reason = "helpers of tests fail the test")]

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::frame::{self, DataHeader};
use polypeer_ipc_protocol::gateway::{
    ClientFrame, Event, Grants, Opening, OpeningReply, Payload, Request, Response, ServerFrame, Target, Welcome,
};
use polypeer_ipc_protocol::ids::{NodeId, Secret};
use polypeer_ipc_protocol::limits::{MAX_DATAGRAM, MAX_GOSSIP, MAX_MESSAGE, MAX_PAYLOAD, MAX_REQUESTS, MAX_VALUE};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::session::client::{ClientEvent, ClientSession, CommandError};
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: NodeId([1; 32]),
        plugin: "echo".parse().expect("an id"),
        grants: Grants::default(),
        secret: Secret([2; 32]),
    }
}

/// Both ends of a session that has just begun.
fn pair() -> (ClientSession, ServerSession) {
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut client = ClientSession::new(Secret([9; 32]), &mut to_server);
    let mut server = ServerSession::default();
    let hello = server.read(&mut &to_server[..], &mut to_client);
    assert!(matches!(hello, Some(ServerEvent::Opening(Opening::Hello { .. }))), "{hello:?}");
    server.welcome(welcome(), &mut to_client).expect("small");
    assert_eq!(client.read(&mut &to_client[..]), Some(ClientEvent::Welcome(welcome())));
    (client, server)
}

fn frame_of<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(message, &mut out).expect("small");
    out
}

/// The events and answers that bytes on a running session lead to.
fn answers(server: &mut ServerSession, bytes: &[u8]) -> (Vec<ServerEvent>, Vec<ServerFrame>) {
    let (mut input, mut out, mut events) = (bytes, Vec::new(), Vec::new());
    while let Some(event) = server.read(&mut input, &mut out) {
        events.push(event);
    }
    let (mut frames, mut rest) = (Vec::new(), &out[..]);
    while let Some(body) = frame::split(rest).expect("small") {
        frames.push(polypeer_ipc_protocol::codec::decode(body).expect("valid"));
        rest = &rest[frame::HEADER + body.len()..];
    }
    (events, frames)
}

fn request(id: u64, request: Request) -> Vec<u8> {
    frame_of(&ClientFrame::Request { id, request })
}

fn call(payload: usize) -> Request {
    let payload = Payload(vec![0; payload].into());
    Request::Call { target: Target::Local, protocol: "echo/1".parse().expect("a name"), payload, timeout_ms: 0 }
}

fn failed(frame: &ServerFrame) -> (u64, u32) {
    match frame {
        ServerFrame::Response { id, response: Response::Failed(failure) } => (*id, failure.code),
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn assert_malformed(server: &mut ServerSession, bytes: &[u8]) {
    let (events, frames) = answers(server, bytes);
    assert!(
        matches!(events.last(), Some(ServerEvent::Ended(failure)) if failure.is(ErrorCode::Malformed)),
        "{events:?}"
    );
    let closing = frames.last();
    assert!(
        matches!(closing, Some(ServerFrame::Event(Event::Closing(failure))) if failure.is(ErrorCode::Malformed)),
        "{closing:?}"
    );
    assert_eq!(answers(server, &request(99, Request::Ping)), (vec![], vec![]), "nothing after the end");
}

#[test]
fn first_frame_must_be_an_opening() {
    let too_large = [&0x1_0001u32.to_le_bytes()[..], &[0; 8]].concat();
    for bytes in [request(1, Request::Ping), frame_of(&7u32), vec![0, 0, 0, 0], vec![255; 8], too_large] {
        let (mut server, mut out) = (ServerSession::default(), Vec::new());
        let event = server.read(&mut &bytes[..], &mut out);
        assert!(matches!(event, Some(ServerEvent::Ended(failure)) if failure.is(ErrorCode::Malformed)));
        let body = frame::split(&out).expect("small").expect("an answer");
        let reply = polypeer_ipc_protocol::codec::decode(body).expect("valid");
        assert!(matches!(reply, OpeningReply::Refused(failure) if failure.is(ErrorCode::Malformed)));
    }
}

#[test]
fn version_that_both_know_is_chosen_or_the_session_refused() {
    let refused = Some(ErrorCode::UnsupportedVersion);
    let malformed = Some(ErrorCode::Malformed);
    for (versions, why) in [(vec![1], None), (vec![7, 1], None), (vec![2], refused), (vec![], malformed)] {
        let hello = frame_of(&Opening::Hello { versions, token: Secret([0; 32]) });
        match ServerSession::default().read(&mut &hello[..], &mut Vec::new()) {
            Some(ServerEvent::Opening(Opening::Hello { .. })) if why.is_none() => {}
            Some(ServerEvent::Ended(failure)) if why.is_some_and(|why| failure.is(why)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn data_bytes_sent_ahead_of_the_answer_stay_in_the_input() {
    let mut bytes = frame_of(&Opening::Accept { secret: Secret([2; 32]), stream: 3 });
    let opening = bytes.len();
    bytes.extend_from_slice(b"\x02\0\0\0hi");
    let (mut server, mut out, mut input) = (ServerSession::default(), Vec::new(), &bytes[..]);
    assert!(matches!(server.read(&mut input, &mut out), Some(ServerEvent::Opening(Opening::Accept { stream: 3, .. }))));
    assert_eq!(server.read(&mut input, &mut out), None);
    server.opened(
        polypeer_ipc_protocol::gateway::Origin::Peer(NodeId([1; 32])),
        "echo/1".parse().expect("a name"),
        &mut out,
    );
    assert!(server.is_stream() && server.read(&mut input, &mut out).is_none());
    assert_eq!(input, &bytes[opening..]);
    let before = out.len();
    server.close(ErrorCode::ShuttingDown.into(), &mut out);
    assert_eq!(out.len(), before, "a stream ends with RESET and STOP, not with a frame");
}

#[test]
fn request_of_a_later_version_is_answered_and_the_session_goes_on() {
    let (_, mut server) = pair();
    let mut unknown = [16u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
    unknown.extend_from_slice(&5u64.to_le_bytes());
    unknown.extend_from_slice(&999u32.to_le_bytes());
    let (events, frames) = answers(&mut server, &[unknown, request(6, Request::Ping)].concat());
    assert_eq!(failed(&frames[0]), (5, ErrorCode::Unsupported.number()));
    assert_eq!(events, [ServerEvent::Frame(ClientFrame::Request { id: 6, request: Request::Ping })]);
    assert_eq!(server.unsupported(), 1);
}

/// A request of `kind` whose fields are `bytes`.
fn request_bytes(id: u64, kind: u32, bytes: &[u8]) -> Vec<u8> {
    let body = [&0u32.to_le_bytes()[..], &id.to_le_bytes(), &kind.to_le_bytes(), bytes].concat();
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn bad_ticket_protocol_or_name_fails_its_request_and_the_session_goes_on() {
    let (_, mut server) = pair();
    let bytes = [
        request_bytes(5, 2, &[&1u32.to_le_bytes()[..], &text("polypeer:pasted@badly")].concat()),
        request_bytes(6, 0, &text("no version")),
        request_bytes(7, 9, &text("Capital")),
        request(8, Request::Ping),
    ];
    let (events, frames) = answers(&mut server, &bytes.concat());
    let bad = ErrorCode::BadArgument.number();
    assert_eq!(frames.iter().map(failed).collect::<Vec<_>>(), [(5, bad), (6, bad), (7, bad)]);
    assert_eq!(events, [ServerEvent::Frame(ClientFrame::Request { id: 8, request: Request::Ping })]);
    assert_malformed(&mut server, &request_bytes(8, 0, &text("in use")));
    // In the first frame there is one request only.
    let open = [&1u32.to_le_bytes()[..], &[2; 32], &1u32.to_le_bytes(), &text("polypeer:oops")].concat();
    let open = [&(open.len() as u32).to_le_bytes()[..], &open].concat();
    let event = ServerSession::default().read(&mut &open[..], &mut Vec::new());
    assert!(matches!(event, Some(ServerEvent::Ended(failure)) if failure.is(ErrorCode::BadArgument)));
}

#[test]
fn requests_beyond_the_limit_are_answered_busy() {
    let (mut client, mut server) = pair();
    let mut bytes = Vec::new();
    for _ in 0..MAX_REQUESTS {
        client.request(Request::Ping, &mut bytes).expect("within the limit");
    }
    assert_eq!(client.request(Request::Ping, &mut bytes), Err(CommandError::TooMany));
    bytes.extend(request(1_000, Request::Ping));
    let (events, frames) = answers(&mut server, &bytes);
    assert_eq!((events.len(), server.in_flight()), (MAX_REQUESTS, MAX_REQUESTS));
    assert_eq!(frames.iter().map(failed).collect::<Vec<_>>(), [(1_000, ErrorCode::Busy.number())]);
    // After one response, one more request fits, at both ends.
    let mut out = Vec::new();
    assert!(server.respond(1, Response::Done, &mut out).expect("small"));
    assert!(!server.respond(1, Response::Done, &mut out).expect("small"), "answered once");
    assert_eq!(client.read(&mut &out[..]), Some(ClientEvent::Response { id: 1, response: Response::Done }));
    assert!(client.request(Request::Ping, &mut Vec::new()).is_ok());
    assert_eq!(answers(&mut server, &request(1_001, Request::Ping)).0.len(), 1);
}

#[test]
fn id_in_use_ends_the_session() {
    let (_, mut server) = pair();
    assert_malformed(&mut server, &[request(1, Request::Ping), request(1, Request::Peers)].concat());
}

#[test]
fn broken_frames_end_the_session() {
    for bytes in [vec![1, 0, 0, 0, 0], vec![255, 255, 255, 255], frame_of(&(0u32, 1u64, 6u32, 2u8))] {
        assert_malformed(&mut pair().1, &bytes);
    }
}

#[test]
fn payload_over_the_limit_is_refused_alone() {
    let (mut client, mut server) = pair();
    assert!(client.request(call(MAX_PAYLOAD), &mut Vec::new()).is_ok());
    assert_eq!(client.request(call(MAX_PAYLOAD + 1), &mut Vec::new()), Err(CommandError::TooLarge));
    let over = Payload(vec![0; MAX_PAYLOAD + 1].into());
    let mut answer = Vec::new();
    client
        .answer(4, Payload(vec![0; 3 * MAX_PAYLOAD].into()), &mut answer)
        .expect("the caller is told, not the plugin");
    let (events, _) = answers(&mut server, &answer);
    assert!(
        matches!(&events[..], [ServerEvent::Frame(ClientFrame::Decline { call: 4, failure })] if failure.is(ErrorCode::TooLarge)),
        "{events:?}"
    );
    let (events, frames) = answers(&mut server, &request(1, call(MAX_PAYLOAD + 1)));
    assert_eq!((events, failed(&frames[0])), (vec![], (1, ErrorCode::TooLarge.number())));
    let (events, _) = answers(&mut server, &frame_of(&ClientFrame::Answer { call: 4, payload: over }));
    assert!(
        matches!(&events[..], [ServerEvent::Frame(ClientFrame::Decline { call: 4, failure })] if failure.is(ErrorCode::TooLarge)),
        "{events:?}"
    );
}

#[test]
fn each_kind_of_payload_has_its_own_limit() {
    let name = || "a".parse().expect("a name");
    let value = |length: usize| Payload(vec![0; length].into());
    let signature = Signature([0; 64]);
    let record = |value| SignedRecord { key: NodeId([1; 32]), name: name(), sequence: 1, expires: 1, value, signature };
    let protocol = || "voice/1".parse().expect("a protocol");
    let kinds: [(usize, &dyn Fn(Payload) -> Request); 5] = [
        (MAX_GOSSIP, &|payload| Request::Publish { topic: name(), payload }),
        (MAX_VALUE, &|value| Request::PutImmutable { name: name(), value, timeout_ms: 0 }),
        (MAX_VALUE, &|value| Request::PutOwn { name: name(), value, lifetime_s: 0, timeout_ms: 0 }),
        (MAX_VALUE, &|value| Request::PutSigned { record: record(value), timeout_ms: 0 }),
        (MAX_DATAGRAM, &|payload| Request::SendDatagram { node: NodeId([1; 32]), protocol: protocol(), payload }),
    ];
    for (limit, kind) in kinds {
        let (mut client, mut server) = pair();
        assert_eq!(client.request(kind(value(limit + 1)), &mut Vec::new()), Err(CommandError::TooLarge));
        assert!(client.request(kind(value(limit)), &mut Vec::new()).is_ok());
        let (events, frames) = answers(&mut server, &request(1, kind(value(limit + 1))));
        assert_eq!((events, failed(&frames[0])), (vec![], (1, ErrorCode::TooLarge.number())));
        let (events, _) = answers(&mut server, &request(1, kind(value(limit))));
        assert!(matches!(&events[..], [ServerEvent::Frame(ClientFrame::Request { id: 1, .. })]), "{events:?}");
    }
}

#[test]
fn plugins_cannot_speak_with_codes_of_polypeer_or_at_length() {
    let (_, mut server) = pair();
    let failure = Failure { code: ErrorCode::Blocked.number(), message: "x".repeat(5_000) };
    let bytes = [
        frame_of(&ClientFrame::Decline { call: 1, failure: failure.clone() }),
        request(2, Request::RefuseStream { stream: 3, failure }),
    ];
    let (events, _) = answers(&mut server, &bytes.concat());
    let [
        ServerEvent::Frame(ClientFrame::Decline { failure: declined, .. }),
        ServerEvent::Frame(ClientFrame::Request { request: Request::RefuseStream { failure: refused, .. }, .. }),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    for failure in [declined, refused] {
        assert!(failure.is(ErrorCode::Refused) && failure.message.len() == MAX_MESSAGE);
    }
}

#[test]
fn cancel_reaches_netcore_only_while_the_request_waits() {
    let (mut client, mut server) = pair();
    let mut bytes = Vec::new();
    let id = client.request(Request::Ping, &mut bytes).expect("running");
    client.cancel(id, &mut bytes).expect("running");
    client.cancel(id + 1, &mut bytes).expect("nothing to cancel");
    let (events, _) = answers(&mut server, &bytes);
    assert_eq!(
        events,
        [ClientFrame::Request { id, request: Request::Ping }, ClientFrame::Cancel { id }].map(ServerEvent::Frame)
    );
    let mut out = Vec::new();
    server.respond(id, Response::Done, &mut out).expect("small");
    let (events, frames) = answers(&mut server, &frame_of(&ClientFrame::Cancel { id }));
    assert_eq!((events, frames), (vec![], vec![]));
}

#[test]
fn events_of_later_versions_are_counted_and_answers_fail_their_request() {
    let (mut client, _) = pair();
    let id = client.request(Request::Ping, &mut Vec::new()).expect("running");
    let event = [12u32, 1, 77, 0].map(u32::to_le_bytes).concat();
    let answer = [&16u32.to_le_bytes()[..], &0u32.to_le_bytes(), &id.to_le_bytes(), &77u32.to_le_bytes()].concat();
    let bytes = [event, answer].concat();
    match client.read(&mut &bytes[..]) {
        Some(ClientEvent::Response { id: answered, response: Response::Failed(failure) }) => {
            assert!(answered == id && failure.is(ErrorCode::Unsupported));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((client.skipped(), client.in_flight()), (1, 0));
}

#[test]
fn netcore_that_answers_what_was_not_asked_is_left() {
    let (mut client, _) = pair();
    let answer = frame_of(&ServerFrame::Response { id: 8, response: Response::Done });
    let event = client.read(&mut &answer[..]);
    assert!(matches!(event, Some(ClientEvent::Ended(failure)) if failure.is(ErrorCode::Malformed)));
    assert_eq!(client.request(Request::Ping, &mut Vec::new()), Err(CommandError::NotRunning));
}

#[test]
fn closing_ends_the_client_and_what_comes_after_is_ignored() {
    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    server.close(Failure::new(ErrorCode::Superseded, "a newer session took over"), &mut out);
    server.event(Event::Dropped { count: 1 }, &mut out).expect("small");
    out.extend(frame_of(&ServerFrame::Event(Event::Dropped { count: 1 })));
    let mut input = &out[..];
    assert!(matches!(client.read(&mut input), Some(ClientEvent::Ended(failure)) if failure.is(ErrorCode::Superseded)));
    assert_eq!(client.read(&mut input), None);
    assert!(input.is_empty());
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that often look like frames.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let body = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            (0..4u32, any::<u64>(), 0..12u32, proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
                |(tag, id, kind, rest)| [&tag.to_le_bytes()[..], &id.to_le_bytes(), &kind.to_le_bytes(), &rest]
                    .concat()
            ),
            (0..5u64).prop_map(|id| request(id, Request::Ping)[4..].to_vec()),
        ];
        let framed = body.prop_map(|body| [&(body.len() as u32).to_le_bytes()[..], &body].concat());
        proptest::collection::vec(framed, 0..8).prop_map(|frames| frames.concat())
    }

    /// What a machine answers to a stream that arrives in pieces of the given sizes.
    fn in_pieces<E>(bytes: &[u8], cuts: &[usize], mut read: impl FnMut(&mut &[u8]) -> Option<E>) -> Vec<E> {
        let (mut events, mut held, mut rest) = (Vec::new(), Vec::new(), bytes);
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, left) = rest.split_at(cut.min(rest.len()));
            rest = left;
            held.extend_from_slice(piece);
            let mut input = &held[..];
            events.extend(std::iter::from_fn(|| read(&mut input)));
            held = input.to_vec();
        }
        events
    }

    /// Bytes that often look like data frames.
    fn data_stream() -> impl Strategy<Value = Vec<u8>> {
        let data = (proptest::collection::vec(any::<u8>(), 1..30))
            .prop_map(|payload| [&DataHeader::Data(payload.len()).to_bytes()[..], &payload].concat());
        let other = (any::<u8>(), any::<u16>())
            .prop_map(|(kind, value)| (u32::from(value % 3) | u32::from(kind % 5) << 24).to_le_bytes().to_vec());
        proptest::collection::vec(prop_oneof![2 => data, 1 => other], 0..10).prop_map(|frames| frames.concat())
    }

    proptest! {
        #[test]
        fn data_connection_says_the_same_however_bytes_are_cut(
            bytes in data_stream(),
            cuts in proptest::collection::vec(0..30usize, 0..10),
            limit in 1..40usize,
        ) {
            let say = |cuts: &[usize], limit| {
                let (mut receiver, mut broken, mut data) = (Receiver::default(), false, Vec::new());
                let ends = in_pieces(&bytes, cuts, |input| {
                    while !broken {
                        match receiver.next(input, limit) {
                            Ok(Some(Received::Data(bytes))) => data.extend_from_slice(bytes),
                            Ok(Some(other)) => return Some(format!("{other:?}")),
                            Ok(None) => return None,
                            Err(error) => {
                                broken = true;
                                return Some(error.to_string());
                            }
                        }
                    }
                    None
                });
                (ends, data)
            };
            prop_assert_eq!(say(&[], usize::MAX), say(&cuts, limit));
        }

        #[test]
        fn netcore_says_the_same_however_bytes_are_cut(
            bytes in stream(),
            cuts in proptest::collection::vec(0..30usize, 0..10),
        ) {
            let say = |cuts: &[usize]| {
                let (mut server, mut out) = (pair().1, Vec::new());
                (in_pieces(&bytes, cuts, |input| server.read(input, &mut out)), out)
            };
            let (whole, pieces) = (say(&[]), say(&cuts));
            prop_assert_eq!(&whole, &pieces);
            prop_assert!(whole.0.len() <= MAX_REQUESTS);
        }

        #[test]
        fn plugin_says_the_same_however_bytes_are_cut(
            bytes in stream(),
            cuts in proptest::collection::vec(0..30usize, 0..10),
        ) {
            let say = |cuts: &[usize]| {
                let mut client = pair().0;
                for _ in 0..4 {
                    client.request(Request::Ping, &mut Vec::new()).expect("running");
                }
                in_pieces(&bytes, cuts, |input| client.read(input))
            };
            prop_assert_eq!(say(&[]), say(&cuts));
        }
    }
}
