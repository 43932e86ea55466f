//! Seeds of the decoders of connections between peers.

use data_encoding::HEXLOWER;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_netcore::wire::{self, ControlFrame, StreamHeader, StreamKind, datagram};

/// The ```` ```hex ```` blocks of the protocol between netcores.
fn examples() -> Vec<Vec<u8>> {
    let text = include_str!("../../../netcore/PROTOCOL.md");
    let mut examples = Vec::new();
    for block in text.split("```hex ").skip(1) {
        let body = block.split_once("```").map_or(block, |(body, _)| body);
        let digits: String = body.lines().skip(1).flat_map(|line| line.split('#').next()).collect();
        let digits: String = digits.split_whitespace().collect();
        examples.extend(HEXLOWER.decode(digits.as_bytes()).ok());
    }
    examples
}

/// Seeds of [`crate::decoders::link::control`].
pub fn control_frames() -> Vec<Vec<u8>> {
    let frames = [
        ControlFrame::Hello {
            version: 1,
            agent: "polypeer/0.1.0".into(),
            network: "main".into(),
            serving: vec!["chat/1".parse().expect("a protocol")],
            addresses: vec!["192.0.2.7:7470".into()],
        },
        ControlFrame::Credit { stream: 8, limit: 196_608 },
        ControlFrame::Ping { nonce: 5 },
        ControlFrame::Clock { unix: 1_800_000_000 },
    ];
    let mut all = Vec::new();
    frames.iter().for_each(|frame| wire::write_frame(frame, &mut all));
    [vec![all], examples()].concat()
}

/// Seeds of [`crate::decoders::link::stream`].
pub fn stream_headers() -> Vec<Vec<u8>> {
    let protocol = "chat/1".parse().expect("a protocol");
    let header = wire::header_bytes(&StreamHeader { kind: StreamKind::Call, protocol });
    let refusal = wire::refusal_bytes(&Failure::new(ErrorCode::NotServed, "nothing serves chat/1 there"));
    [vec![header, refusal], examples()].concat()
}

/// Seeds of [`crate::decoders::link::datagram`].
pub fn datagrams() -> Vec<Vec<u8>> {
    let protocol = "voice/1".parse().expect("a protocol");
    vec![
        datagram::encode(&protocol, b"hi").to_vec(),
        datagram::encode(&protocol, &[7; 1024]).to_vec(),
        [&[0x10, 0, 0, 0, 0, 0, 0, 0, 9, 0x40][..], &[1; 100]].concat(),
    ]
}
