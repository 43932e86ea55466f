//! Frames of the control stream of each side of a link. They are cut and encoded as those of the gateway; `PROTOCOL.md`
//! section 4 owns the bytes.

use polypeer_engine::address::AddressRecord;
use polypeer_ipc_protocol::codec::{self, CodecError};
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::ids::Protocol;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_PEER_FRAME;

/// The version of the protocol within its ALPN, for what only appends.
pub const VERSION: u32 = 1;

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

/// Why bytes are not a control frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame over the limit.
    #[error("control frame of {length} bytes; the limit is {MAX_PEER_FRAME}")]
    FrameTooLarge {
        /// What its header said.
        length: usize,
    },
    /// A malformed body.
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
        assert_eq!(read_frame(&[5, 0, 0, 0, 6, 0, 0, 0, 1]).unwrap(), (Found::Unknown, 9));
        assert!(read_frame(&[1, 0, 0, 0, 1]).is_err(), "half a tag");
        assert!(read_frame(&[4, 0, 0, 0, 1, 0, 0, 0]).is_err(), "a credit without its fields");
        assert!(read_frame(&[0, 0, 1, 0]).is_err(), "over the limit, before its body is there");
    }
}
