//! The encoding of messages; the only file that names the encoding crate. As `SPEC.md` defines it: integers fixed-width
//! and little-endian, lengths `u64`, enum tags `u32`, fields in order with nothing between them.

use std::fmt;
use std::marker::PhantomData;

use bincode::config;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::MAX_FRAME;

/// The error of decoding or encoding a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Truncated, an unknown tag, or an invalid value.
    #[error("bytes are not a valid message: {reason}")]
    Malformed { reason: String },
    #[error("{left} bytes are left after the message")]
    Trailing { left: usize },
    #[error("message of over {MAX_FRAME} bytes")]
    TooLarge,
}

/// Appends `message` to `out`. A failure leaves `out` unchanged.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let encoded = bincode::serde::encode_into_std_write(message, out, config::legacy());
    if encoded.is_err() || out.len() - start > MAX_FRAME {
        out.truncate(start);
        return Err(CodecError::TooLarge);
    }
    Ok(())
}

/// Decodes a message that is exactly `bytes`. The length of a text is trusted only up to a limit near `bytes.len()`,
/// since the decoder allocates it before it reads; lists grow as they are read (`list`).
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

/// Decodes a list without allocating the announced number of entries. For `#[serde(deserialize_with)]`.
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
