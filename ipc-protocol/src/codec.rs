//! Messages to bytes and back: the one file that names the encoding crate. The bytes are those of `SPEC.md`: integers
//! fixed-width little-endian, lengths `u64`, enum tags `u32`, fields in order and nothing between them.

use std::fmt;
use std::marker::PhantomData;

use bincode::config;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};

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

/// Reads the one message that `bytes` is, to its last byte. A text's length is believed only up to a limit near
/// `bytes.len()`, since the decoder makes room for it before it looks; lists grow as they are read (`list`).
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    const SMALL: usize = 4 << 10;
    const MEDIUM: usize = 64 << 10;
    let decoded = match bytes.len() {
        length if length <= SMALL => bincode::serde::decode_from_slice(bytes, config::legacy().with_limit::<SMALL>()),
        length if length <= MEDIUM => bincode::serde::decode_from_slice(bytes, config::legacy().with_limit::<MEDIUM>()),
        _ => bincode::serde::decode_from_slice(bytes, config::legacy().with_limit::<MAX_FRAME>()),
    };
    let (message, used) = decoded.map_err(|error| CodecError::Malformed { reason: error.to_string() })?;
    match bytes.len() - used {
        0 => Ok(message),
        left => Err(CodecError::Trailing { left }),
    }
}

/// Reads a list without making room for the number of entries it was told. For `#[serde(deserialize_with)]`.
pub(crate) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Visitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                list.push(entry);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Visitor(PhantomData))
}
