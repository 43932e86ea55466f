//! Questions and answers of `kad/1`. `PROTOCOL.md`, section 10, owns the bytes.

use std::sync::Arc;

use polypeer_ipc_protocol::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::limits::{K, MAX_MESSAGE, MAX_PROVIDERS_OF_KEY};
use super::record::{ProviderRecord, Record};
use crate::address::AddressRecord;
use crate::bounded;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub ask: Ask,
    /// The asker's own address record, if it serves.
    #[serde(with = "shared::option")]
    pub from: Option<Arc<AddressRecord>>,
}

/// The kind of a question. Wire tags are the order of the variants: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Asks for a sign of life. → [`Response::Done`]
    Ping,
    /// Asks for the contacts closest to a key. → [`Response::Nodes`]
    FindNode { target: Key },
    /// Asks for the record under a key, and the closest contacts. → [`Response::Found`]
    Get { key: Key },
    /// Asks to store a record. → [`Response::Done`]
    Put {
        record: Record,
        /// The lease, seconds: at most what is left of the record's lifetime.
        left: u32,
    },
    /// Asks for the providers of a key, and the closest contacts. → [`Response::Providers`]
    Providers { key: Key },
    /// Asks to list the asker as a provider. → [`Response::Done`]
    Provide { provider: ProviderRecord },
    /// Asks to store a record that the asker holds or found, on behalf of others; it is charged to another share than
    /// the asker's own records. → [`Response::Done`]
    Pass {
        record: Record,
        /// As in [`Ask::Put`].
        left: u32,
    },
}

/// Number of known variants of [`Ask`]; higher tags are of a later version.
const KNOWN_ASKS: u32 = 7;

/// An answer. Wire tags are the order of the variants: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The node is alive, or has stored what it was to store.
    Done,
    /// The closest contacts.
    Nodes {
        /// Closest first; at most [`K`].
        #[serde(with = "shared::contacts")]
        contacts: Vec<Arc<AddressRecord>>,
    },
    /// The record under the key, and the closest contacts.
    Found {
        /// `None` if the node holds none.
        record: Option<Record>,
        /// Closest first; at most [`K`].
        #[serde(with = "shared::contacts")]
        contacts: Vec<Arc<AddressRecord>>,
    },
    /// The listed providers, and the closest contacts.
    Providers {
        /// At most [`MAX_PROVIDERS_OF_KEY`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_PROVIDERS_OF_KEY>")]
        providers: Vec<ProviderRecord>,
        /// Closest first; at most [`K`].
        #[serde(with = "shared::contacts")]
        contacts: Vec<Arc<AddressRecord>>,
    },
    /// The question is refused.
    Refused(Refusal),
}

/// Number of known variants of [`Response`]; higher tags are of a later version.
const KNOWN_RESPONSES: u32 = 5;

/// Why a question is refused. Wire tags are the order of the variants: only ever append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The node is a client: no peer has dialed it back yet.
    NotServing,
    /// The asker or its subnet exceeds the rate limit.
    Busy,
    /// The node knows enough nodes closer to the key.
    TooFar,
    /// The node keeps a newer record.
    Superseded,
    /// The asker or its subnet has used up its quota.
    Quota,
    /// The store is full of records closer to the node.
    Full,
    /// The record is malformed, expired, forged, or of a zone that the asker may not disclose.
    Invalid,
}

/// Why bytes cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("a message of {length} bytes; the limit is {MAX_MESSAGE}")]
    TooLarge {
        /// Its length, bytes.
        length: usize,
    },
    /// A message of a later version: it is refused as unsupported, and is no misbehaviour.
    #[error("a message of kind {tag}, which this version does not know")]
    Unknown { tag: u32 },
    /// The message is malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Request {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes a question from untrusted bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes, KNOWN_ASKS)
    }
}

impl Response {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes an answer from untrusted bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes, KNOWN_RESPONSES)
    }
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).expect("every part of a message is within its limit");
    bytes
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], known: u32) -> Result<T, WireError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(WireError::TooLarge { length: bytes.len() });
    }
    match bytes.first_chunk::<4>().map(|tag| u32::from_le_bytes(*tag)) {
        Some(tag) if tag >= known => Err(WireError::Unknown { tag }),
        _ => Ok(codec::decode(bytes)?),
    }
}

/// Serde helpers: address records shared in memory, plain on the wire.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::address::AddressRecord;

    pub(in super::super) fn serialize<S: Serializer>(record: &Arc<AddressRecord>, to: S) -> Result<S::Ok, S::Error> {
        record.as_ref().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<AddressRecord>, D::Error> {
        AddressRecord::deserialize(from).map(Arc::new)
    }

    pub(super) mod option {
        use super::{AddressRecord, Arc, Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            record: &Option<Arc<AddressRecord>>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            record.as_deref().serialize(to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Arc<AddressRecord>>, D::Error> {
            Ok(Option::<AddressRecord>::deserialize(from)?.map(Arc::new))
        }
    }

    pub(super) mod contacts {
        use super::super::{K, bounded};
        use super::{AddressRecord, Arc, Deserialize, Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            records: &[Arc<AddressRecord>],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_seq(records.iter().map(AsRef::as_ref))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Vec<Arc<AddressRecord>>, D::Error> {
            struct One(Arc<AddressRecord>);
            impl<'de> Deserialize<'de> for One {
                fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    super::deserialize(from).map(One)
                }
            }
            let list = bounded::list::<One, D, K>(from)?;
            Ok(list.into_iter().map(|One(record)| record).collect())
        }
    }
}
