//! Test of the examples in `PROTOCOL.md`: the code writes and reads exactly these bytes.

use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::record::Signature;

use crate::wire::datagram;
use crate::wire::{self, ControlFrame, Found, StreamHeader, StreamKind};

/// Prefixes of examples that are tested beside the code they belong to.
const ELSEWHERE: &[&str] = &["kad-", "exchange-", "probe-", "gossip-"];

fn chat() -> Protocol {
    "chat/1".parse().unwrap()
}

#[test]
fn examples_are_what_the_code_sends_and_takes() {
    let mut examples = crate::examples::examples();
    examples.retain(|name, _| !ELSEWHERE.iter().any(|prefix| name.starts_with(prefix)));
    let mut check = |name: &str, ours: &[u8]| {
        let example = examples.remove(name).unwrap_or_else(|| panic!("PROTOCOL.md has no example {name}"));
        assert!(example == ours, "{name}: the code has\n{ours:02x?}\nPROTOCOL.md has\n{example:02x?}");
    };
    let frames = [
        (
            "hello",
            ControlFrame::Hello {
                version: wire::VERSION,
                agent: "polypeer/0.1.0".into(),
                network: "main".into(),
                serving: vec![chat()],
                addresses: vec!["192.0.2.7:7470".into()],
            },
        ),
        ("credit", ControlFrame::Credit { stream: 8, limit: 196_608 }),
        ("serving", ControlFrame::Serving { protocols: vec![chat()] }),
        ("ping", ControlFrame::Ping { nonce: 5 }),
        ("pong", ControlFrame::Pong { nonce: 5 }),
        ("clock", ControlFrame::Clock { unix: 1_800_000_000 }),
        (
            "record",
            ControlFrame::Record {
                record: AddressRecord {
                    node: NodeId(std::array::from_fn(|at| 0x20 + at as u8)),
                    addresses: vec!["192.0.2.7:7470".parse().unwrap()],
                    sequence: 1_800_000_000_000,
                    time: 1_800_000_000,
                    signature: Signature(std::array::from_fn(|at| 0x40 + at as u8)),
                },
            },
        ),
    ];
    for (name, frame) in frames {
        let mut bytes = Vec::new();
        wire::write_frame(&frame, &mut bytes);
        assert_eq!(wire::read_frame(&bytes).unwrap(), (Found::Frame(frame), bytes.len()));
        check(name, &bytes);
    }
    check("stream-header", &wire::header_bytes(&StreamHeader { kind: StreamKind::Stream, protocol: chat() }));
    let mut call = wire::header_bytes(&StreamHeader { kind: StreamKind::Call, protocol: chat() });
    call.extend_from_slice(b"hi");
    check("call", &call);
    let mut question =
        wire::header_bytes(&StreamHeader { kind: StreamKind::Internal, protocol: "kad/1".parse().unwrap() });
    question.push(0);
    check("question", &question);
    check("datagram", &datagram::encode(&"voice/1".parse().unwrap(), b"hi"));
    let refused = Failure::new(ErrorCode::NotServed, "nothing serves chat/1 there");
    check("refused", &wire::refusal_bytes(&refused));
    let seed: Vec<u8> = (0x20..0x40).collect();
    let key = [&[48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0][..], &seed].concat();
    check("subject-public-key-info", &key);
    assert!(examples.is_empty(), "not checked: {:?}", examples.keys());
}
