//! Signed records of the DHT: a value that the owner of a key publishes under a name. Netcore signs its node's records;
//! a plugin with a key of its own signs for itself. Anybody can store and verify them.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ids::{Name, NodeId};
use crate::payload::Payload;

/// An Ed25519 signature: 64 bytes on the wire, hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&HEXLOWER.encode(&self.0));
        }
        let (first, second) = self.0.split_at(32);
        let half = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).expect("half of 64");
        serializer.serialize_newtype_struct("Signature", &(half(first), half(second)))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Signature")]
        struct Raw(([u8; 32], [u8; 32]));
        if deserializer.is_human_readable() {
            let bytes = HEXLOWER.decode(String::deserialize(deserializer)?.as_bytes()).map_err(de::Error::custom)?;
            return bytes.try_into().map(Self).map_err(|_| de::Error::custom("expected 128 hexadecimal digits"));
        }
        let Raw((first, second)) = Raw::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..4]))
    }
}

/// A value that the owner of a key publishes under a name. Of two with the same key and name, the higher `sequence`
/// wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// The owner's Ed25519 public key: a node id or any other key.
    pub key: NodeId,
    /// The salt of the record's place in the DHT.
    pub name: Name,
    /// Increases with every change.
    pub sequence: u64,
    /// Expiry, Unix seconds; at most [`crate::limits::MAX_RECORD_LIFETIME`] ahead.
    pub expires: u64,
    /// At most [`crate::limits::MAX_VALUE`] bytes.
    pub value: Payload,
    /// Signature of [`Self::signed_bytes`] by `key`.
    pub signature: Signature,
}

/// Prefix of the signed bytes: a signature for one use is invalid for any other.
pub const SIGNED_RECORD: &[u8] = b"polypeer/1 record\0";

impl SignedRecord {
    /// The bytes to sign: [`SIGNED_RECORD`], then the fields before `signature` as they are encoded.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = SIGNED_RECORD.to_vec();
        let fields = (&self.key, &self.name, self.sequence, self.expires, &self.value);
        crate::codec::encode(&fields, &mut bytes).expect("names and values are limited");
        bytes
    }
}
