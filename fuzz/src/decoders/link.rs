//! Targets for bytes from connected peers, and for packets on the UDP port.

use bytes::Bytes;
use polypeer_ipc_protocol::limits::{MAX_DATAGRAM, MAX_MESSAGE};
use polypeer_netcore::limits::MAX_HEADER;
use polypeer_netcore::transport::envelope::{self as envelopes, Kind, OVERHEAD};
use polypeer_netcore::wire::{self, Found, StreamHeader, datagram as datagrams};

/// Decodes frames of a control stream, and asserts that each encodes to the same frame.
pub fn control(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok((found, used)) = wire::read_frame(rest) {
        assert!(used <= rest.len());
        rest = &rest[used..];
        match found {
            Found::Incomplete => return,
            Found::Unknown => {}
            Found::Frame(frame) => {
                let mut again = Vec::new();
                wire::write_frame(&frame, &mut again);
                assert_eq!(wire::read_frame(&again).ok(), Some((Found::Frame(frame), again.len())));
            }
        }
    }
}

/// Decodes the header of a stream, and a refusal.
pub fn stream(bytes: &[u8]) {
    let Some((length, body)) = bytes.split_first_chunk::<2>() else { return };
    for body in [bytes, body] {
        if let Ok(Some(header)) = wire::read_header(body) {
            let again = wire::header_bytes(&header);
            assert!(again.len() - 2 <= MAX_HEADER);
            assert_eq!(wire::read_header(&again[2..]).ok().flatten(), Some(header) as Option<StreamHeader>);
        }
        if let Ok(failure) = wire::read_failure(body) {
            assert!(failure.message.len() <= MAX_MESSAGE && !failure.message.chars().any(char::is_control));
            let again = wire::refusal_bytes(&failure);
            assert_eq!(wire::read_failure(&again[3..]).ok(), Some(failure));
        }
    }
    if let Ok(length) = wire::header_length(*length) {
        assert!((1..=MAX_HEADER).contains(&length));
    }
    let _ = wire::failure_length(*length);
}

/// Decodes a datagram of a plugin.
pub fn datagram(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok((protocol, payload)) = datagrams::decode(&bytes) {
        assert!(payload.len() <= MAX_DATAGRAM && bytes.len() <= datagrams::MAX_WIRE);
        assert_eq!(datagrams::encode(&protocol, &payload), bytes);
    }
}

/// Classifies a packet on the UDP port; tunnel packets are unwrapped and wrapped again.
pub fn envelope(bytes: &[u8]) {
    if let Kind::Tunnel(id) = envelopes::kind(bytes) {
        let mut inner = bytes.to_vec();
        let left = envelopes::unwrap(&mut inner, bytes.len());
        assert_eq!(left, bytes.len() - OVERHEAD);
        let mut again = Vec::new();
        envelopes::wrap(&inner[..left], left, id, &mut again);
        assert_eq!(again, bytes);
    }
}
