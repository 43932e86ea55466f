//! The golden vectors of `vectors/v1`, which every implementation reads; `vectors/README.md` describes them.
#![allow(clippy::panic, reason = "helpers of tests fail the test")]

use std::fmt::Debug;
use std::str::FromStr;

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::gateway::{ClientFrame, Opening, OpeningReply, ServerFrame};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::decode::{self, Undecodable};
use polypeer_ipc_protocol::ticket::Ticket;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn load<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = format!("{}/vectors/v1/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split(' ').collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap_or_else(|error| panic!("{hex}: {error}"))
}

#[derive(Deserialize)]
struct Accepted {
    name: String,
    r#type: String,
    hex: String,
    json: Value,
}

#[derive(Deserialize)]
struct Rejected {
    name: String,
    r#type: String,
    hex: String,
    why: String,
}

/// Decodes a body of the named type, and returns its JSON form and its bytes encoded again.
fn read(kind: &str, body: &[u8]) -> Result<(Value, Vec<u8>), Undecodable> {
    fn again<T: serde::Serialize>(message: &T) -> (Value, Vec<u8>) {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes).expect("it was decoded from as many bytes");
        (serde_json::to_value(message).expect("messages have a JSON form"), bytes)
    }
    match kind {
        "Opening" => decode::opening(body).map(|message| again(&message)),
        "OpeningReply" => decode::opening_reply(body).map(|message| again(&message)),
        "ClientFrame" => decode::client_frame(body).map(|message| again(&message)),
        "ServerFrame" => decode::server_frame(body).map(|message| again(&message)),
        other => panic!("{other} is no message type"),
    }
}

fn from_json(kind: &str, json: &Value) -> Vec<u8> {
    fn to_bytes<T: serde::Serialize + DeserializeOwned>(json: &Value) -> Vec<u8> {
        let message: T = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{json}: {error}"));
        let mut bytes = Vec::new();
        codec::encode(&message, &mut bytes).expect("vectors are small");
        bytes
    }
    match kind {
        "Opening" => to_bytes::<Opening>(json),
        "OpeningReply" => to_bytes::<OpeningReply>(json),
        "ClientFrame" => to_bytes::<ClientFrame>(json),
        "ServerFrame" => to_bytes::<ServerFrame>(json),
        other => panic!("{other} is no message type"),
    }
}

#[test]
fn rejected_messages_are_refused() {
    let rejected = load::<Rejected>("messages_rejected.json");
    for Rejected { name, r#type, hex, why } in &rejected {
        let result = read(r#type, &bytes(hex));
        let refused = matches!(
            result,
            Err(Undecodable::Malformed(_) | Undecodable::BadArgument { .. } | Undecodable::OverLimit { .. })
        );
        assert!(refused, "{name} ({why}): {result:?}");
    }
    assert!(rejected.len() >= load::<Accepted>("messages.json").len());
}

#[test]
fn accepted_messages_read_and_write_the_same() {
    for Accepted { name, r#type, hex, json } in load::<Accepted>("messages.json") {
        let body = bytes(&hex);
        let (found, again) = read(&r#type, &body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found, json, "{name}");
        assert_eq!(again, body, "{name}");
        assert_eq!(from_json(&r#type, &json), body, "{name}");
    }
}

#[test]
fn accepted_messages_cut_anywhere_or_with_a_byte_more_are_refused() {
    for Accepted { name, r#type, hex, .. } in load::<Accepted>("messages.json") {
        let mut body = bytes(&hex);
        for cut in 0..body.len() {
            let result = read(&r#type, &body[..cut]);
            assert!(matches!(result, Err(Undecodable::Malformed(_))), "{name} cut to {cut}: {result:?}");
        }
        body.push(0);
        assert!(matches!(read(&r#type, &body), Err(Undecodable::Malformed(_))), "{name} with a byte more");
    }
}

#[test]
fn messages_of_later_versions_are_told_apart() {
    #[derive(Deserialize)]
    struct Unknown {
        name: String,
        r#type: String,
        hex: String,
        unknown: String,
        id: Option<u64>,
        tag: u32,
    }
    for Unknown { name, r#type, hex, unknown, id, tag } in load::<Unknown>("unknown.json") {
        let found = match read(&r#type, &bytes(&hex)) {
            Err(Undecodable::UnknownRequest { id, tag }) => ("request", Some(id), tag),
            Err(Undecodable::UnknownResponse { id, tag }) => ("response", Some(id), tag),
            Err(Undecodable::UnknownEvent { tag }) => ("event", None, tag),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(found, (unknown.as_str(), id, tag), "{name}");
    }
}

#[test]
fn frames_are_the_same_wherever_the_stream_is_cut() {
    #[derive(Deserialize)]
    struct Frames {
        name: String,
        hex: String,
        bodies: Vec<String>,
        end: String,
    }
    for Frames { name, hex, bodies, end } in load::<Frames>("frames.json") {
        let wire = bytes(&hex);
        for cut in 0..=wire.len() {
            let (mut held, mut found, mut outcome) = (Vec::new(), Vec::new(), None);
            for part in [&wire[..cut], &wire[cut..]] {
                held.extend_from_slice(part);
                loop {
                    match frame::split(&held) {
                        Ok(Some(body)) => {
                            found.push(data_encoding::HEXLOWER.encode(body));
                            let used = frame::HEADER + body.len();
                            held.drain(..used);
                        }
                        Ok(None) => break,
                        Err(_) => {
                            outcome = Some("too large");
                            break;
                        }
                    }
                }
            }
            let outcome = outcome.unwrap_or(if held.is_empty() { "clean" } else { "cut" });
            assert_eq!((found, outcome), (bodies.clone(), end.as_str()), "{name} cut at {cut}");
        }
    }
}

#[test]
fn data_connections_end_as_stated_wherever_they_are_cut() {
    #[derive(Deserialize)]
    struct Data {
        name: String,
        hex: String,
        data: String,
        end: String,
        code: Option<u32>,
        stop: Option<u32>,
    }
    let vectors = load::<Data>("data.json");
    for Data { name, hex, data, end, code, stop } in &vectors {
        let wire = bytes(hex);
        for cut in 0..=wire.len() {
            let (mut receiver, mut held) = (Receiver::default(), Vec::new());
            let (mut read, mut outcome, mut stopped) = (Vec::new(), ("lost", None), None);
            'parts: for part in [&wire[..cut], &wire[cut..]] {
                held.extend_from_slice(part);
                let mut input = &held[..];
                loop {
                    match receiver.next(&mut input, 3) {
                        Ok(Some(Received::Data(bytes))) => read.extend_from_slice(bytes),
                        Ok(Some(Received::Fin)) => outcome = ("fin", None),
                        Ok(Some(Received::Reset(code))) => outcome = ("reset", Some(code)),
                        Ok(Some(Received::Stop(code))) => stopped = Some(code),
                        Ok(Some(Received::Kept)) => panic!("{name}: nothing was to be kept"),
                        Ok(None) => break,
                        Err(_) => {
                            outcome = ("malformed", None);
                            break 'parts;
                        }
                    }
                }
                held = input.to_vec();
            }
            let found = (data_encoding::HEXLOWER.encode(&read), outcome, stopped);
            assert_eq!(found, (data.clone(), (end.as_str(), *code), *stop), "{name} cut at {cut}");
        }
    }
    let clean = vectors.iter().filter(|vector| vector.end == "fin").count();
    assert!(vectors.len() >= 2 * clean, "most of the vectors end badly");
}

#[derive(Deserialize)]
struct Text {
    kind: String,
    text: String,
    valid: bool,
    #[serde(default)]
    why: String,
    bytes: Option<String>,
    addresses: Option<Vec<String>>,
    canonical: Option<String>,
}

fn parsed<T: FromStr<Err: Debug>>(vector: &Text) -> Option<T> {
    let result = vector.text.parse::<T>();
    let Text { kind, text, why, valid, .. } = vector;
    assert_eq!(result.is_ok(), *valid, "{kind} {text:?} ({why}): {:?}", result.err());
    result.ok()
}

#[test]
fn names_and_tickets_follow_their_rules() {
    let hex = |bytes: [u8; 32]| Some(data_encoding::HEXLOWER.encode(&bytes));
    let vectors = load::<Text>("text.json");
    for vector in &vectors {
        match vector.kind.as_str() {
            "node id" => {
                if let Some(node) = parsed::<NodeId>(vector) {
                    assert_eq!((hex(node.0), node.to_string()), (vector.bytes.clone(), vector.text.clone()));
                }
            }
            "secret" => {
                if let Some(secret) = parsed::<Secret>(vector) {
                    assert_eq!((hex(secret.0), secret.to_text()), (vector.bytes.clone(), vector.text.clone()));
                }
            }
            "ticket" => {
                if let Some(ticket) = parsed::<Ticket>(vector) {
                    let addresses = ticket.addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
                    let found = (hex(ticket.node.0), Some(addresses), Some(ticket.to_string()));
                    let expected = (vector.bytes.clone(), vector.addresses.clone(), vector.canonical.clone());
                    assert_eq!(found, expected);
                }
            }
            "hash" => {
                if let Some(hash) = parsed::<Hash>(vector) {
                    assert_eq!((hex(hash.0), hash.to_string()), (vector.bytes.clone(), vector.text.clone()));
                }
            }
            "name" => drop(parsed::<Name>(vector)),
            "plugin id" => drop(parsed::<PluginId>(vector)),
            "protocol" => drop(parsed::<Protocol>(vector)),
            "pattern" => drop(parsed::<Pattern>(vector)),
            other => panic!("{other} is no kind of text"),
        }
    }
    let valid = vectors.iter().filter(|vector| vector.valid).count();
    assert!(vectors.len() >= 2 * valid, "at least as many texts are refused as accepted");
}

#[test]
fn records_are_signed_as_stated() {
    #[derive(Deserialize)]
    struct Signed {
        name: String,
        key: String,
        record: String,
        sequence: u64,
        expires: u64,
        value: String,
        signed: String,
        signature: String,
        valid: bool,
    }
    let fixed = |hex: &str| <[u8; 32]>::try_from(bytes(hex)).expect("32 bytes");
    let vectors = load::<Signed>("records.json");
    for vector in &vectors {
        let record = SignedRecord {
            key: NodeId(fixed(&vector.key)),
            name: vector.record.parse().expect("a name"),
            sequence: vector.sequence,
            expires: vector.expires,
            value: bytes(&vector.value).into(),
            signature: Signature(bytes(&vector.signature).try_into().expect("64 bytes")),
        };
        assert_eq!(record.signed_bytes(), bytes(&vector.signed), "{}", vector.name);
    }
    let valid = vectors.iter().filter(|vector| vector.valid).count();
    assert!(vectors.len() >= 2 * valid, "at least as many signatures are wrong as right");
}

#[test]
fn patterns_allow_what_they_should() {
    #[derive(Deserialize)]
    struct Match {
        pattern: Pattern,
        name: String,
        allows: bool,
    }
    for Match { pattern, name, allows } in load::<Match>("patterns.json") {
        assert_eq!(pattern.allows(&name), allows, "{pattern} and {name}");
    }
}
