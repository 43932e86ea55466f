//! Wire format of a datagram between plugins, which travels in one QUIC datagram (RFC 9221): the length of the
//! protocol's name in one byte, the name, the payload. `PROTOCOL.md` section 14 specifies the bytes.

use bytes::{Bytes, BytesMut};
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::{MAX_DATAGRAM, MAX_PROTOCOL};

/// Largest encoded datagram, bytes: the protocol's length and name, and the payload.
pub const MAX_WIRE: usize = 1 + MAX_PROTOCOL + MAX_DATAGRAM;

/// Why bytes are not a datagram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// The protocol's name is cut off or malformed.
    #[error("a datagram does not begin with the name of a protocol")]
    Protocol,
    /// The payload is longer than [`MAX_DATAGRAM`].
    #[error("datagram with a payload of {length} bytes; the limit is {MAX_DATAGRAM}")]
    TooLarge {
        /// Length of the payload, bytes.
        length: usize,
    },
}

/// Encodes a datagram. `payload` has at most [`MAX_DATAGRAM`] bytes.
pub fn encode(protocol: &Protocol, payload: &[u8]) -> Bytes {
    let name = protocol.as_str().as_bytes();
    let mut bytes = BytesMut::with_capacity(1 + name.len() + payload.len());
    bytes.extend_from_slice(&[u8::try_from(name.len()).expect("names have at most 80 bytes")]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// Decodes a datagram.
pub fn decode(bytes: &Bytes) -> Result<(Protocol, Bytes), BadDatagram> {
    let length = usize::from(*bytes.first().ok_or(BadDatagram::Protocol)?);
    let name = bytes.get(1..=length).ok_or(BadDatagram::Protocol)?;
    let text = std::str::from_utf8(name).map_err(|_| BadDatagram::Protocol)?;
    let protocol = text.parse().map_err(|_| BadDatagram::Protocol)?;
    let payload = bytes.slice(1 + length..);
    if payload.len() > MAX_DATAGRAM {
        return Err(BadDatagram::TooLarge { length: payload.len() });
    }
    Ok((protocol, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_reads_back_and_bad_ones_are_refused() {
        let protocol: Protocol = "voice/1".parse().unwrap();
        let bytes = encode(&protocol, b"hi");
        assert_eq!(decode(&bytes), Ok((protocol.clone(), Bytes::from_static(b"hi"))));
        assert_eq!(decode(&encode(&protocol, b"")), Ok((protocol.clone(), Bytes::new())));
        for bad in [&b""[..], b"\x07voice/", b"\x05voice", b"\x00hi", b"\x03\xff/1"] {
            assert_eq!(decode(&Bytes::copy_from_slice(bad)), Err(BadDatagram::Protocol), "{bad:?}");
        }
        let longest: Protocol = format!("{}/1", "x".repeat(MAX_PROTOCOL - 2)).parse().unwrap();
        let largest = encode(&longest, &[0; MAX_DATAGRAM]);
        assert!(decode(&largest).is_ok() && largest.len() == MAX_WIRE);
        let over = encode(&protocol, &[0; MAX_DATAGRAM + 1]);
        assert_eq!(decode(&over), Err(BadDatagram::TooLarge { length: MAX_DATAGRAM + 1 }));
    }
}
