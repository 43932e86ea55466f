//! Stream headers, and the acceptor's status of one byte, [`ACCEPTED`] or [`REFUSED`]. `PROTOCOL.md` section 5
//! specifies the bytes.

use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_MESSAGE;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_HEADER;

/// Status, the first byte of the acceptor's half of a stream: it is accepted, and its bytes follow.
pub const ACCEPTED: u8 = 1;
/// Status of a refused stream: a [`Failure`] follows, after its length in two bytes.
pub const REFUSED: u8 = 0;
/// Largest encoded [`Failure`], bytes.
pub const MAX_FAILURE: usize = MAX_MESSAGE + 12;

/// Kind of a bidirectional stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamKind {
    /// Bytes in both directions.
    Stream,
    /// One message of at most 64 KiB each way.
    Call,
    /// As [`Self::Call`], but answered by netcore itself: `kad/1`, `exchange/1`, `probe/1`. For `gossip/1`, a
    /// long-lived stream of frames in one direction.
    Internal,
}

/// Header of a stream, which follows its length in two bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    pub kind: StreamKind,
    pub protocol: Protocol,
}

/// Why a header or a refusal is malformed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The header is empty or longer than [`MAX_HEADER`].
    #[error("stream header of {length} bytes; expected 1 to {MAX_HEADER}")]
    HeaderLength {
        /// The length in its first two bytes.
        length: usize,
    },
    /// The refusal is longer than [`MAX_FAILURE`].
    #[error("refusal of {length} bytes; the limit is {MAX_FAILURE}")]
    FailureLength {
        /// The length in its first two bytes.
        length: usize,
    },
    /// The body is malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Encodes a header, with its length before it.
pub fn header_bytes(header: &StreamHeader) -> Vec<u8> {
    with_length(header)
}

/// Encodes a refusal: [`REFUSED`], a length in two bytes, the failure.
pub fn refusal_bytes(failure: &Failure) -> Vec<u8> {
    let mut bytes = vec![REFUSED];
    bytes.extend(with_length(failure));
    bytes
}

fn with_length<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![0; 2];
    codec::encode(message, &mut bytes).expect("headers and failures are far below the limit");
    let length = u16::try_from(bytes.len() - 2).expect("names and texts are limited");
    bytes[..2].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The length of a header, from its first two bytes.
pub fn header_length(bytes: [u8; 2]) -> Result<usize, WireError> {
    let length = usize::from(u16::from_le_bytes(bytes));
    if (1..=MAX_HEADER).contains(&length) { Ok(length) } else { Err(WireError::HeaderLength { length }) }
}

/// The length of a refusal, from the two bytes after [`REFUSED`].
pub fn failure_length(bytes: [u8; 2]) -> Result<usize, WireError> {
    let length = usize::from(u16::from_le_bytes(bytes));
    if length <= MAX_FAILURE { Ok(length) } else { Err(WireError::FailureLength { length }) }
}

/// Decodes a header; `None` if its kind is of a later version.
pub fn read_header(body: &[u8]) -> Result<Option<StreamHeader>, WireError> {
    match body.first_chunk::<4>() {
        Some(tag) if u32::from_le_bytes(*tag) > StreamKind::Internal as u32 => Ok(None),
        _ => Ok(Some(codec::decode(body)?)),
    }
}

/// Decodes a refusal. Its text comes from a stranger, so it is cut to its limit, and control characters become spaces.
pub fn read_failure(body: &[u8]) -> Result<Failure, WireError> {
    let failure: Failure = codec::decode(body)?;
    let mut message: String = failure.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Ok(Failure { code: failure.code & 0xff_ffff, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_limited_and_checked() {
        let header = StreamHeader { kind: StreamKind::Call, protocol: "chat/1".parse().unwrap() };
        let bytes = header_bytes(&header);
        assert_eq!(header_length([bytes[0], bytes[1]]).unwrap(), bytes.len() - 2);
        assert_eq!(read_header(&bytes[2..]).unwrap(), Some(header));
        assert_eq!(read_header(&[3, 0, 0, 0]).unwrap(), None);
        assert!(read_header(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'x']).is_err(), "a name without a version");
        assert!(header_length([0, 0]).is_err() && header_length([1, 1]).is_err());
        let long =
            StreamHeader { kind: StreamKind::Stream, protocol: format!("{}/1", "x".repeat(78)).parse().unwrap() };
        assert!(header_bytes(&long).len() - 2 <= MAX_HEADER);
    }

    #[test]
    fn a_refusal_is_cut_and_cleaned() {
        let failure = Failure { code: 7, message: "a\nb".to_owned() };
        let bytes = refusal_bytes(&failure);
        assert_eq!(bytes[0], REFUSED);
        assert_eq!(read_failure(&bytes[3..]).unwrap(), Failure { code: 7, message: "a b".to_owned() });
        let longest = Failure::new(polypeer_ipc_protocol::error::ErrorCode::Internal, "x".repeat(5000));
        assert!(failure_length([refusal_bytes(&longest)[1], refusal_bytes(&longest)[2]]).is_ok());
    }
}
