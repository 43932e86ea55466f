//! Questions and answers of `kad/1` as types; `PROTOCOL.md`, section 10, owns the bytes.

use std::sync::Arc;

use polypeer_ipc_protocol::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::limits::{K, MAX_MESSAGE, MAX_PROVIDERS_OF_KEY};
use super::record::{ProviderRecord, Record};
use crate::address::AddressRecord;
use crate::bounded;

/// A question to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// Who asks, if it serves others itself: its own record.
    #[serde(with = "shared::option")]
    pub from: Option<Arc<AddressRecord>>,
}

/// What is asked. Tags are their order: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Whether it is there. → [`Response::Done`]
    Ping,
    /// Which nodes it knows that are closest to a key. → [`Response::Nodes`]
    FindNode {
        /// To which.
        target: Key,
    },
    /// The record under a key, and the nodes closest to it. → [`Response::Found`]
    Get {
        /// Which.
        key: Key,
    },
    /// To keep a record. → [`Response::Done`]
    Put {
        /// What.
        record: Record,
        /// For how long, seconds: what is left of the life that its owner gave it, or of a copy's kept for speed.
        left: u32,
    },
    /// The providers of a key, and the nodes closest to it. → [`Response::Providers`]
    Providers {
        /// Of which.
        key: Key,
    },
    /// To list a provider. → [`Response::Done`]
    Provide {
        /// Who, of what.
        provider: ProviderRecord,
    },
    /// To keep a record that the asker keeps or found, for whoever put it there: it is not charged for it as for its own.
    /// → [`Response::Done`]
    Pass {
        /// What.
        record: Record,
        /// As of [`Ask::Put`].
        left: u32,
    },
}

/// Tags of [`Ask`] below this are known.
const KNOWN_ASKS: u32 = 7;

/// An answer. Tags are their order: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It is there, or it did so.
    Done,
    /// The nodes it knows that are closest.
    Nodes {
        /// Closest first; at most [`K`].
        #[serde(with = "shared::contacts")]
        contacts: Vec<Arc<AddressRecord>>,
    },
    /// What it has under the key.
    Found {
        /// If it has one.
        record: Option<Record>,
        /// Closest first; at most [`K`].
        #[serde(with = "shared::contacts")]
        contacts: Vec<Arc<AddressRecord>>,
    },
    /// The providers it has listed.
    Providers {
        /// At most [`MAX_PROVIDERS_OF_KEY`].
        #[serde(deserialize_with = "bounded::list::<_, _, MAX_PROVIDERS_OF_KEY>")]
        providers: Vec<ProviderRecord>,
        /// Closest first; at most [`K`].
        #[serde(with = "shared::contacts")]
        contacts: Vec<Arc<AddressRecord>>,
    },
    /// It did not.
    Refused(Refusal),
}

/// Tags of [`Response`] below this are known.
const KNOWN_RESPONSES: u32 = 5;

/// Why something was not done. Tags are their order: only ever append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It does not serve: nobody could dial it back yet.
    NotServing,
    /// Too many questions of this asker or its network.
    Busy,
    /// It knows enough nodes closer to the key.
    TooFar,
    /// It has a newer one.
    Superseded,
    /// No room for more from this asker or its network.
    Quota,
    /// No room at all for something so far from it.
    Full,
    /// The record is wrong, or has expired.
    Invalid,
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Over the limit.
    #[error("a message of {length} bytes; the limit is {MAX_MESSAGE}")]
    TooLarge {
        /// How long.
        length: usize,
    },
    /// Of a later version: to be refused as unsupported, no misbehaviour.
    #[error("a message of kind {tag}, which this version does not know")]
    Unknown {
        /// Its tag.
        tag: u32,
    },
    /// Not what it should be.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Request {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads one from a stranger.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes, KNOWN_ASKS)
    }
}

impl Response {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads one from a stranger.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes, KNOWN_RESPONSES)
    }
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).expect("every part of a message is limited by its maker");
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

/// Records that are shared in memory, as plain ones on the wire.
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
