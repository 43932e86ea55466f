//! The encoding of messages; the only file that names the encoding crate. As `SPEC.md` defines it: integers fixed-width
//! and little-endian, lengths `u64`, enum tags `u32`, fields in order with nothing between them.

use std::fmt;
use std::marker::PhantomData;

use bincode::config;
use bincode::error::DecodeError;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::MAX_FRAME;

/// The error of decoding or encoding a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Truncated, an unknown tag, or a value that cannot be encoded so.
    #[error("the message is malformed: {reason}")]
    Malformed { reason: String },
    /// A name, protocol or ticket is well encoded, but breaks the rule for such text.
    #[error("{reason}")]
    BadText { reason: String },
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
    let (message, used) = decoded.map_err(in_words)?;
    match bytes.len() - used {
        0 => Ok(message),
        left => Err(CodecError::Trailing { left }),
    }
}

/// Marks the error of a text that breaks its rule, on its way through the decoder, which knows errors as text only. No
/// error of the decoder's own begins with it.
pub(crate) const BAD_TEXT: char = '\u{1}';

/// The decoder's error in words for people: its own show how it works inside.
fn in_words(error: DecodeError) -> CodecError {
    let reason = match error {
        DecodeError::UnexpectedEnd { .. } => "it ends in the middle of a field",
        DecodeError::LimitExceeded | DecodeError::OutsideUsizeRange(_) => "a length in it exceeds the message",
        DecodeError::Utf8 { .. } => "a string in it is not UTF-8",
        DecodeError::InvalidBooleanValue(_) => "a bool in it is neither 0 nor 1",
        DecodeError::UnexpectedVariant { .. } => "a tag in it is unknown",
        DecodeError::OtherString(text) => {
            if let Some(reason) = text.strip_prefix(BAD_TEXT) {
                return CodecError::BadText { reason: reason.to_owned() };
            }
            match text.starts_with("invalid value: ") {
                true => "a tag in it is unknown", // of an enum, as serde says it
                false => return CodecError::Malformed { reason: text },
            }
        }
        _ => "a value in it is not allowed there",
    };
    CodecError::Malformed { reason: reason.to_owned() }
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
