//! The examples of `SPEC.md` against the state machines.

use polypeer_codegen::message::Message;
use polypeer_codegen::vectors::{self, Vector};
use polypeer_codegen::{read, spec};
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::gateway::{ClientFrame, Opening, Request};
use polypeer_ipc_protocol::session::client::{ClientEvent, ClientSession};
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::decode;
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};

fn text() -> String {
    read(spec::PATH).expect("SPEC.md is there")
}

/// What each side sends in an example: the bytes of the lines that start with `side`.
fn example(name: &str, side: char) -> Vec<u8> {
    let text = text();
    let (_, rest) = text.split_once(&format!("```{name}\n")).expect("the example is there");
    let (lines, _) = rest.split_once("\n```").expect("the example ends");
    let hex = |line: &str| line.strip_prefix(side).and_then(|line| line.split_whitespace().next().map(str::to_owned));
    let digits: String = lines.lines().filter_map(hex).collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).expect("hex")
}

#[test]
fn example_session_is_what_the_state_machines_say() {
    let (from_plugin, from_netcore) = (example("session", '>'), example("session", '<'));
    let (mut server, mut out, mut input) = (ServerSession::default(), Vec::new(), &from_plugin[..]);
    let Some(ServerEvent::Opening(Opening::Hello { token, .. })) = server.read(&mut input, &mut out) else {
        unreachable!("the first frame is Hello")
    };
    let mut hello = Vec::new();
    let mut client = ClientSession::new(token, &mut hello);
    assert!(from_plugin.starts_with(&hello), "the client machine says the same Hello");
    let mut answers = &from_netcore[..];
    let Some(ClientEvent::Welcome(welcome)) = client.read(&mut answers) else { unreachable!("then Welcome") };
    server.welcome(welcome, &mut out).expect("small");
    while let Some(event) = server.read(&mut input, &mut out) {
        let ServerEvent::Frame(ClientFrame::Request { id, request }) = event else {
            unreachable!("requests only: {event:?}")
        };
        assert_eq!(client.request(request, &mut Vec::new()), Ok(id));
    }
    let mut seen = Vec::new();
    while let Some(event) = client.read(&mut answers) {
        seen.push(match event {
            ClientEvent::Response { id, .. } => format!("response {id}"),
            ClientEvent::Event(_) => "event".to_owned(),
            ClientEvent::Ended(failure) => failure.to_string(),
            ClientEvent::Welcome(_) => unreachable!("once"),
        });
    }
    assert_eq!(seen, ["response 1", "event", "response 2", "superseded: a newer session took over"]);
    assert!(input.is_empty() && answers.is_empty(), "nothing is left over");
}

#[test]
fn example_record_is_what_is_signed() {
    let bytes = |name: &str| {
        let text = text();
        let (_, rest) = text.split_once(&format!("```{name}\n")).expect("the example is there");
        let (lines, _) = rest.split_once("\n```").expect("the example ends");
        let digits: String = lines.lines().filter_map(|line| line.split_whitespace().next()).collect();
        data_encoding::HEXLOWER.decode(digits.as_bytes()).expect("hex")
    };
    let vectors: Vec<Vector> = serde_json::from_str(&read(vectors::PATH).expect("there")).expect("entries");
    let vector = vectors.iter().find(|vector| vector.name == "put_signed").expect("its record is that of the example");
    let Message::Client(ClientFrame::Request { request: Request::PutSigned { record, .. }, .. }) =
        vector.message().expect("valid")
    else {
        unreachable!("the vector is a PutSigned")
    };
    assert_eq!(bytes("record"), record.signed_bytes());
    assert_eq!(bytes("signature"), record.signature.0);
}

#[test]
fn example_stream_is_what_the_state_machines_say() {
    for (side, expected) in [('>', "hello"), ('<', "hi")] {
        let bytes = example("stream", side);
        let body = frame::split(&bytes).expect("small").expect("whole");
        match side {
            '>' => drop(decode::opening(body).expect("an opening")),
            _ => drop(decode::opening_reply(body).expect("its answer")),
        }
        let mut data = &bytes[frame::HEADER + body.len()..];
        let mut receiver = Receiver::default();
        assert_eq!(receiver.next(&mut data, 100), Ok(Some(Received::Data(expected.as_bytes()))));
        assert_eq!(receiver.next(&mut data, 100), Ok(Some(Received::Fin)));
        assert!(data.is_empty());
    }
}
