//! Messages to bytes and back: the one file that names the encoding crate. The bytes are those of `SPEC.md`: integers
//! fixed-width little-endian, lengths `u64`, enum tags `u32`, fields in order and nothing between them.

use bincode::config::{self, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::MAX_FRAME;

/// Why bytes are not the message they should be, or a message cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Cut short, a bad tag, a bad value.
    #[error("bytes are not a valid message: {reason}")]
    Malformed {
        /// What the decoder met.
        reason: String,
    },
    /// Bytes are left after the message.
    #[error("{left} bytes are left after the message")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// The message is over the frame limit.
    #[error("message of over {MAX_FRAME} bytes")]
    TooLarge,
}

fn configuration() -> impl Config {
    config::legacy().with_limit::<MAX_FRAME>()
}

/// Appends `message` to `out`. On failure `out` is as before.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let encoded = bincode::serde::encode_into_std_write(message, out, config::legacy());
    if encoded.is_err() || out.len() - start > MAX_FRAME {
        out.truncate(start);
        return Err(CodecError::TooLarge);
    }
    Ok(())
}

/// Reads the one message that `bytes` is, to its last byte.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, configuration())
        .map_err(|error| CodecError::Malformed { reason: error.to_string() })?;
    match bytes.len() - used {
        0 => Ok(message),
        left => Err(CodecError::Trailing { left }),
    }
}
