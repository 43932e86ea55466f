//! `SPEC.md` against the code: its tables of types, codes and limits, its examples, and the hex of every message.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{ClientFrame, Opening};
use polypeer_ipc_protocol::session::client::{ClientEvent, ClientSession};
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use polypeer_ipc_protocol::{frame, limits, session::decode};
use serde_reflection::Format;

use crate::schema::{Fields, NATURAL, Schema, Shape, Variant, snake};
use crate::{services, vectors};

const BEGIN: &str = "<!-- made by POLYPEER_BLESS=1 cargo test -p polypeer-ipc-protocol --test generated -->\n";
const END: &str = "<!-- end -->\n";

pub(crate) fn text() -> String {
    let path = crate::repository().join("ipc-protocol/SPEC.md");
    std::fs::read_to_string(path).expect("SPEC.md is there")
}

/// The whole file with the hex of every message made anew.
pub(crate) fn with_hex(schema: &Schema) -> String {
    let text = text();
    let (before, rest) = text.split_once(BEGIN).expect("the marker is there");
    let (_, after) = rest.split_once(END).expect("the end marker is there");
    let mut out = format!("{before}{BEGIN}\n| message | body |\n| --- | --- |\n");
    for sample in vectors::samples() {
        let mut groups = Vec::new();
        let rest = spaced(schema, &Format::TypeName(sample.kind.to_owned()), &sample.bytes, &mut groups);
        assert!(rest.is_empty(), "{} was walked to its end", sample.name);
        let name = sample.name.replace('_', " ");
        out += &format!("| {}: {name} | `{}` |\n", sample.kind, groups.join(" "));
    }
    format!("{out}\n{END}{after}")
}

/// Walks one value of `bytes`, adding the hex of each primitive to `groups`; what is left comes back.
fn spaced<'a>(schema: &Schema, format: &Format, bytes: &'a [u8], groups: &mut Vec<String>) -> &'a [u8] {
    let mut take = |bytes: &'a [u8], count: usize| {
        let (taken, rest) = bytes.split_at(count);
        if count > 0 {
            groups.push(data_encoding::HEXLOWER.encode(taken));
        }
        (taken, rest)
    };
    let number = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().expect("8 bytes"))).expect("small");
    match format {
        Format::Bool => take(bytes, 1).1,
        Format::U32 => take(bytes, 4).1,
        Format::U64 => take(bytes, 8).1,
        Format::Str => {
            let (length, rest) = take(bytes, 8);
            take(rest, number(length)).1
        }
        Format::Seq(item) => {
            let (count, mut rest) = take(bytes, 8);
            for _ in 0..number(count) {
                rest = spaced(schema, item, rest, groups);
            }
            rest
        }
        Format::Option(item) => match take(bytes, 1) {
            ([0], rest) => rest,
            (_, rest) => spaced(schema, item, rest, groups),
        },
        Format::TypeName(name) if ["NodeId", "Secret", "Hash"].contains(&name.as_str()) => take(bytes, 32).1,
        Format::TypeName(name) if name == "Signature" => take(bytes, 64).1,
        Format::TypeName(name) if NATURAL.contains(&name.as_str()) => spaced(schema, &Format::Str, bytes, groups),
        Format::TypeName(name) => {
            let (fields, mut rest) = match schema.shape(name) {
                Shape::Struct(fields) => (fields, bytes),
                Shape::Enum(variants) => {
                    let (tag, rest) = take(bytes, 4);
                    let tag = u32::from_le_bytes(tag.try_into().expect("4 bytes"));
                    let found = variants.into_iter().find(|variant| variant.tag == tag).expect("a known tag");
                    (found.fields, rest)
                }
            };
            for (_, format) in &fields {
                rest = spaced(schema, format, rest, groups);
            }
            rest
        }
        other => unreachable!("no message has {other:?}"),
    }
}

/// The rows of each table, by the heading above it: cells without the last one, which is prose.
fn tables(text: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut heading = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().to_owned();
        } else if let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) {
            let mut cells: Vec<_> = row.split(" | ").map(str::to_owned).collect();
            cells.pop();
            tables.entry(heading.clone()).or_default().push(cells);
        }
    }
    for rows in tables.values_mut() {
        rows.drain(..2); // the head and the line under it
    }
    tables
}

fn type_text(format: &Format) -> String {
    match format {
        Format::Bool => "bool".into(),
        Format::U32 => "u32".into(),
        Format::U64 => "u64".into(),
        Format::Str => "string".into(),
        Format::Seq(item) => format!("list of {}", type_text(item)),
        Format::Option(item) => format!("option of {}", type_text(item)),
        Format::TypeName(name) if NATURAL.contains(&name.as_str()) => snake(name).replace('_', " "),
        Format::TypeName(name) => name.clone(),
        other => unreachable!("no message has {other:?}"),
    }
}

fn fields_text(variant: &Variant) -> String {
    match &variant.fields[..] {
        [] => "—".into(),
        [(_, format)] if variant.unnamed => type_text(format),
        fields => {
            let text = |(name, format): &(String, Format)| format!("`{name}`: {}", type_text(format));
            fields.iter().map(text).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn tables_of_types_are_those_of_the_schema() {
    let (schema, tables) = (Schema::trace(), tables(&text()));
    for name in schema.order() {
        let expected: Vec<Vec<String>> = match schema.shape(&name) {
            Shape::Struct(fields) => struct_rows(&fields),
            Shape::Enum(variants) => variants
                .iter()
                .map(|variant| vec![variant.tag.to_string(), format!("`{}`", variant.name), fields_text(variant)])
                .collect(),
        };
        assert_eq!(tables.get(&name), Some(&expected), "table of {name} in SPEC.md");
    }
}

fn struct_rows(fields: &Fields) -> Vec<Vec<String>> {
    fields.iter().map(|(field, format)| vec![format!("`{field}`"), type_text(format)]).collect()
}

#[test]
fn table_of_codes_is_that_of_the_code() {
    let row = |code: &ErrorCode| vec![code.number().to_string(), format!("{:#08x}", code.number()), code.text().into()];
    let expected: Vec<_> = ErrorCode::ALL.iter().map(row).collect();
    assert_eq!(tables(&text())["12. Codes"], expected);
}

#[test]
fn table_of_limits_is_that_of_the_code() {
    let bytes = |count: usize| format!("{} bytes", thousands(count));
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let hours = |seconds: u32| format!("{} h", seconds / 3600);
    let expected = [
        ("body of a frame", bytes(limits::MAX_FRAME)),
        ("first frame", bytes(limits::MAX_OPENING)),
        ("payload of a data frame", bytes(limits::MAX_DATA)),
        ("payload of a call or reply", bytes(limits::MAX_PAYLOAD)),
        ("requests without an answer", limits::MAX_REQUESTS.to_string()),
        ("calls waiting for a session's answer", limits::MAX_CALLS.to_string()),
        ("streams announced and not claimed", limits::MAX_UNCLAIMED.to_string()),
        ("listeners of a session", limits::MAX_LISTENERS.to_string()),
        ("versions in a `Hello`", limits::MAX_VERSIONS.to_string()),
        ("protocol or pattern", bytes(limits::MAX_PROTOCOL)),
        ("name of a topic or record", bytes(limits::MAX_NAME)),
        ("value of a record", bytes(limits::MAX_VALUE)),
        ("life of a record", hours(limits::MAX_RECORD_LIFETIME)),
        ("names a plugin provides", limits::MAX_PROVIDED.to_string()),
        ("providers in an answer", limits::MAX_PROVIDERS.to_string()),
        ("payload of a gossip message", bytes(limits::MAX_GOSSIP)),
        ("topics of a session", limits::MAX_TOPICS.to_string()),
        ("messages waiting for a session's verdict", limits::MAX_UNJUDGED.to_string()),
        ("time for a verdict", seconds(limits::JUDGE_TIMEOUT)),
        ("payload of a datagram", bytes(limits::MAX_DATAGRAM)),
        ("protocols of datagrams of a session", limits::MAX_LISTENERS.to_string()),
        ("text of a failure", bytes(limits::MAX_MESSAGE)),
        ("ticket", bytes(limits::MAX_TICKET)),
        ("addresses in a ticket", limits::MAX_TICKET_ADDRESSES.to_string()),
        ("time for the first frame", seconds(limits::FIRST_FRAME_TIMEOUT)),
        ("time to claim a stream", seconds(limits::CLAIM_TIMEOUT)),
        ("hold for a listener that comes back", seconds(limits::RESTART_HOLD)),
        ("`timeout_ms` of 0", seconds(limits::DEFAULT_TIMEOUT)),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    assert_eq!(tables(&text())["13. Limits"], expected);
    assert!(text().starts_with(&format!("# The gateway protocol, version {}\n", limits::VERSION)));
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
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
    let record = services::record();
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
