//! What travels between two netcores on an established connection, as types; `PROTOCOL.md` owns the bytes. Frames of
//! the control stream are cut and encoded as those of the gateway; a stream starts with a [`StreamHeader`] and is
//! answered by one byte, [`ACCEPTED`] or [`REFUSED`].

use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_MESSAGE;
use serde::{Deserialize, Serialize};

use crate::address::AddressRecord;
use crate::limits::{MAX_HEADER, MAX_PEER_FRAME};

/// The version of the protocol within its ALPN, for what only appends.
pub const VERSION: u32 = 1;
/// First byte of the acceptor's half of a stream: it is open, and its bytes follow.
pub const ACCEPTED: u8 = 1;
/// First byte of the acceptor's half of a stream: it is not; a [`Failure`] follows, after its length in two bytes.
pub const REFUSED: u8 = 0;
/// Largest encoded [`Failure`].
pub const MAX_FAILURE: usize = MAX_MESSAGE + 12;

/// A frame of the control stream. Tags are their order: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlFrame {
    /// The first frame, and only that.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// Name and version of the program, for people; at most 64 bytes.
        agent: String,
        /// Both must be of the same network.
        network: String,
        /// What plugins serve to this peer; at most 256.
        serving: Vec<Protocol>,
        /// Where the sender believes it can be reached, `IP:PORT`; at most 16.
        addresses: Vec<String>,
    },
    /// How much of a stream the sender of this frame is ready to receive.
    Credit {
        /// The QUIC stream id.
        stream: u64,
        /// Bytes after header and status, counted from the start of the stream.
        limit: u64,
    },
    /// Replaces the list in `Hello`.
    Serving {
        /// At most 256.
        protocols: Vec<Protocol>,
    },
    /// Asks for a [`ControlFrame::Pong`].
    Ping {
        /// Returned.
        nonce: u64,
    },
    /// Answers the newest [`ControlFrame::Ping`].
    Pong {
        /// Of the ping.
        nonce: u64,
    },
    /// Where the sender can be dialed, by its own signature.
    Record {
        /// The sender's own, of a zone that may be told to the receiver.
        record: AddressRecord,
    },
}

/// Tags below this are known.
const KNOWN_FRAMES: u32 = 6;

/// What a bidirectional stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamKind {
    /// Bytes in both directions.
    Stream,
    /// One message of at most 64 KiB each way.
    Call,
    /// As [`Self::Call`], but answered by the netcore itself: `kad/1`, `exchange/1`, `probe/1`; with `gossip/1`, one
    /// direction of frames for as long as the connection stands.
    Core,
}

/// The first bytes of a stream, after their length in two bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    /// What it is for.
    pub kind: StreamKind,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// Why what a peer sent cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A frame over the limit.
    #[error("control frame of {length} bytes; the limit is {MAX_PEER_FRAME}")]
    FrameTooLarge {
        /// What its header said.
        length: usize,
    },
    /// A stream header over the limit or of nothing.
    #[error("stream header of {length} bytes; expected 1 to {MAX_HEADER}")]
    HeaderLength {
        /// What its first two bytes said.
        length: usize,
    },
    /// A refusal over the limit.
    #[error("refusal of {length} bytes; the limit is {MAX_FAILURE}")]
    FailureLength {
        /// What its length said.
        length: usize,
    },
    /// The body of one of these.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// One frame found in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Bytes are missing.
    Incomplete,
    /// A frame of a later version.
    Unknown,
    /// This one.
    Frame(ControlFrame),
}

/// Appends a frame.
pub fn write_frame(message: &ControlFrame, out: &mut Vec<u8>) {
    frame::write(message, out).expect("every list of a control frame is limited by its maker");
}

/// Takes the first frame of `buffer`, if it is there whole; with it, how many bytes it took.
pub fn read_frame(buffer: &[u8]) -> Result<(Found, usize), WireError> {
    let Some((header, rest)) = buffer.split_first_chunk::<{ frame::HEADER }>() else {
        return Ok((Found::Incomplete, 0));
    };
    let length = u32::from_le_bytes(*header) as usize;
    if length > MAX_PEER_FRAME {
        return Err(WireError::FrameTooLarge { length });
    }
    let Some(body) = rest.get(..length) else { return Ok((Found::Incomplete, 0)) };
    let used = frame::HEADER + length;
    match body.first_chunk::<4>() {
        Some(tag) if u32::from_le_bytes(*tag) >= KNOWN_FRAMES => Ok((Found::Unknown, used)),
        _ => Ok((Found::Frame(codec::decode(body)?), used)),
    }
}

/// A header with its length before it.
pub fn header_bytes(header: &StreamHeader) -> Vec<u8> {
    with_length(header)
}

/// A refusal: [`REFUSED`], a length in two bytes, the failure.
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

/// Reads a header; `None` when its kind is of a later version.
pub fn read_header(body: &[u8]) -> Result<Option<StreamHeader>, WireError> {
    match body.first_chunk::<4>() {
        Some(tag) if u32::from_le_bytes(*tag) > StreamKind::Core as u32 => Ok(None),
        _ => Ok(Some(codec::decode(body)?)),
    }
}

/// Reads a refusal. Its text comes from a stranger: cut to its limit and freed of control characters.
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
    fn a_frame_is_found_only_whole() {
        let message = ControlFrame::Credit { stream: 4, limit: 131_072 };
        let mut bytes = Vec::new();
        write_frame(&message, &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(read_frame(&bytes[..cut]).unwrap(), (Found::Incomplete, 0));
        }
        bytes.push(9);
        assert_eq!(read_frame(&bytes).unwrap(), (Found::Frame(message), bytes.len() - 1));
    }

    #[test]
    fn frames_of_later_versions_are_skipped_and_broken_ones_are_not() {
        assert_eq!(read_frame(&[5, 0, 0, 0, 6, 0, 0, 0, 1]).unwrap(), (Found::Unknown, 9));
        assert!(read_frame(&[1, 0, 0, 0, 1]).is_err(), "half a tag");
        assert!(read_frame(&[4, 0, 0, 0, 1, 0, 0, 0]).is_err(), "a credit without its fields");
        assert!(read_frame(&[0, 0, 1, 0]).is_err(), "over the limit, before its body is there");
    }

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
