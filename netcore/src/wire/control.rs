//! Frames of the control stream of each side of a link. They are delimited and encoded like those of the gateway;
//! `PROTOCOL.md` section 4 specifies the bytes.

use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::ids::Protocol;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_PEER_FRAME;

/// The version of the protocol within its ALPN; changes that only append raise it.
///
/// - 2: a stream's first bytes may come before it is accepted.
pub const VERSION: u32 = 2;
/// The version from which on the first bytes of a stream may be sent before it is accepted.
pub const EARLY_BYTES: u32 = 2;

/// A frame of the control stream. Its tag is its position in this list, so only append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlFrame {
    /// The first frame, sent once.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// Name and version of the program, for logs; at most 64 bytes.
        agent: String,
        /// The sender's network, which must be the receiver's, too.
        network: String,
        /// The protocols that plugins serve to this peer; at most 256.
        serving: Vec<Protocol>,
        /// The sender's addresses as it knows them, `IP:PORT`; at most 16.
        addresses: Vec<String>,
    },
    /// Grants credit for a stream.
    Credit {
        /// The QUIC stream id.
        stream: u64,
        /// Bytes that may be sent on the stream in all, header and status not counted.
        limit: u64,
    },
    /// Replaces the list of protocols in `Hello`.
    Serving {
        /// At most 256.
        protocols: Vec<Protocol>,
    },
    /// Asks for a [`ControlFrame::Pong`].
    Ping {
        /// Returned in the `Pong`.
        nonce: u64,
    },
    /// Answers the newest [`ControlFrame::Ping`].
    Pong {
        /// The ping's nonce.
        nonce: u64,
    },
    /// A signed address record of the sender.
    Record {
        /// The sender's own, of a zone that may be told to the receiver.
        record: AddressRecord,
    },
    /// The sender's clock.
    Clock {
        /// Unix seconds.
        unix: u64,
    },
}

/// Number of known tags, which start at 0.
const KNOWN_FRAMES: u32 = 7;

/// Why bytes are not a control frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than [`MAX_PEER_FRAME`].
    #[error("control frame of {length} bytes; the limit is {MAX_PEER_FRAME}")]
    FrameTooLarge {
        /// The length in its header, bytes.
        length: usize,
    },
    /// The body is malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// One frame found in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The buffer ends before the frame does.
    Incomplete,
    /// A frame of a later version.
    Unknown,
    /// A complete frame.
    Frame(ControlFrame),
}

/// Appends a frame.
pub fn write_frame(message: &ControlFrame, out: &mut Vec<u8>) {
    frame::write(message, out).expect("every list of a control frame is limited by its maker");
}

/// Reads the first frame of `buffer`, if it is complete. Also returns the number of bytes read.
pub fn read_frame(buffer: &[u8]) -> Result<(Found, usize), FrameError> {
    let Some((header, rest)) = buffer.split_first_chunk::<{ frame::HEADER }>() else {
        return Ok((Found::Incomplete, 0));
    };
    let length = u32::from_le_bytes(*header) as usize;
    if length > MAX_PEER_FRAME {
        return Err(FrameError::FrameTooLarge { length });
    }
    let Some(body) = rest.get(..length) else { return Ok((Found::Incomplete, 0)) };
    let used = frame::HEADER + length;
    match body.first_chunk::<4>() {
        Some(tag) if u32::from_le_bytes(*tag) >= KNOWN_FRAMES => Ok((Found::Unknown, used)),
        _ => Ok((Found::Frame(codec::decode(body)?), used)),
    }
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
        assert_eq!(read_frame(&[5, 0, 0, 0, 7, 0, 0, 0, 1]).unwrap(), (Found::Unknown, 9));
        assert!(read_frame(&[1, 0, 0, 0, 1]).is_err(), "half a tag");
        assert!(read_frame(&[4, 0, 0, 0, 1, 0, 0, 0]).is_err(), "a credit without its fields");
        assert!(read_frame(&[0, 0, 1, 0]).is_err(), "over the limit, before its body is there");
    }
}
