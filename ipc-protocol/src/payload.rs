//! Opaque bytes: what netcore carries without reading it.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Opaque bytes. On the wire: a `u64` length and the bytes; in JSON: hex.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(pub bytes::Bytes);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&HEXLOWER.encode(&self.0))
        } else {
            serializer.serialize_newtype_struct("Payload", serde_bytes::Bytes::new(&self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Payload")]
        struct Raw(serde_bytes::ByteBuf);
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let bytes = HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)?;
            Ok(Self(bytes.into()))
        } else {
            Raw::deserialize(deserializer).map(|raw| Self(raw.0.into_vec().into()))
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}
