//! Records of the DHT, and the checks that make one valid.

use std::sync::Arc;

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::{Name, NodeId};
use polypeer_ipc_protocol::limits::{MAX_RECORD_LIFETIME, MAX_VALUE};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::address::{AddressRecord, BadRecord, CLOCK_SKEW, RECORD_LIFETIME};
use crate::keys::Keys;
use crate::now::Now;

/// A value under a key. Wire tags are the order of the variants: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A value whose key is derived from a name and the value's hash: every holder can check it.
    Immutable {
        name: Name,
        /// At most [`MAX_VALUE`] bytes.
        value: Payload,
    },
    /// What the owner of a public key publishes under a name; a higher sequence replaces it.
    Signed(SignedRecord),
    /// The address record of a node.
    Address(#[serde(with = "super::wire::shared")] Arc<AddressRecord>),
}

/// Why a record is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The value is longer than [`MAX_VALUE`].
    #[error("the value is longer than {MAX_VALUE} bytes")]
    TooLarge,
    /// Expired, or valid for longer than [`MAX_RECORD_LIFETIME`].
    #[error("the record has expired, or expires more than {MAX_RECORD_LIFETIME} s ahead")]
    Time,
    /// Not signed by the owner of its key.
    #[error("the signature is wrong")]
    Signature,
    /// An invalid address record.
    #[error(transparent)]
    Address(#[from] BadRecord),
}

impl RecordError {
    /// Whether the node that sent it lied: every honest node checks this before it sends a record on, and clocks play
    /// no part.
    pub fn is_lie(self) -> bool {
        matches!(self, Self::Signature | Self::TooLarge | Self::Address(BadRecord::Signature | BadRecord::Addresses))
    }
}

impl Record {
    /// The key that it is stored under.
    pub fn key(&self) -> Key {
        match self {
            Self::Immutable { name, value } => Key::of_immutable(name, &Key::value_hash(&value.0)),
            Self::Signed(record) => Key::of_signed(&record.key, &record.name),
            Self::Address(record) => Key::of_node(record.node),
        }
    }

    /// The sequence number: of two records under one key the higher replaces the other. 0 for an immutable one.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Immutable { .. } => 0,
            Self::Signed(record) => record.sequence,
            Self::Address(record) => record.sequence,
        }
    }

    /// Whether this record replaces `other`, which has the same key. Of two with the same sequence number the greater
    /// signature wins, so that all holders agree even when the owner signed both.
    pub fn supersedes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signed(a), Self::Signed(b)) => (a.sequence, a.signature.0) > (b.sequence, b.signature.0),
            (Self::Address(a), Self::Address(b)) => (a.sequence, a.signature.0) > (b.sequence, b.signature.0),
            _ => false,
        }
    }

    /// Seconds from `now` until it expires, at most [`MAX_RECORD_LIFETIME`]; 0 when it has expired.
    pub fn lifetime(&self, now: Now) -> u64 {
        let most = u64::from(MAX_RECORD_LIFETIME);
        match self {
            Self::Immutable { .. } => most,
            Self::Signed(record) => record.expires.saturating_sub(now.unix).min(most),
            Self::Address(record) => record.time.saturating_add(RECORD_LIFETIME).saturating_sub(now.unix).min(most),
        }
    }

    /// Fails unless the record is valid now. Cheap checks come before the signature.
    pub fn check(&self, keys: &dyn Keys, now: Now) -> Result<(), RecordError> {
        match self {
            Self::Immutable { value, .. } if value.0.len() > MAX_VALUE => Err(RecordError::TooLarge),
            Self::Immutable { .. } => Ok(()),
            Self::Signed(record) => check_signed(record, keys, now),
            Self::Address(record) => Ok(record.check(keys, now)?),
        }
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Immutable { name, value } => name.as_str().len() + value.0.len(),
                Self::Signed(record) => record.name.as_str().len() + record.value.0.len(),
                Self::Address(record) => address_bytes(record),
            }
    }
}

/// Bytes of memory that an address record takes, about.
pub fn address_bytes(record: &AddressRecord) -> usize {
    size_of::<AddressRecord>() + 2 * size_of::<usize>() + size_of_val(record.addresses.as_slice())
}

fn check_signed(record: &SignedRecord, keys: &dyn Keys, now: Now) -> Result<(), RecordError> {
    if record.value.0.len() > MAX_VALUE {
        return Err(RecordError::TooLarge);
    }
    check_expiry(record.expires, now)?;
    if !keys.verify(&record.key, &record.signed_bytes(), &record.signature) {
        return Err(RecordError::Signature);
    }
    Ok(())
}

fn check_expiry(expires: u64, now: Now) -> Result<(), RecordError> {
    let latest = now.unix + u64::from(MAX_RECORD_LIFETIME) + CLOCK_SKEW;
    if expires <= now.unix || expires > latest { Err(RecordError::Time) } else { Ok(()) }
}

/// Prefix of the signed bytes, so that a signature for another use is invalid here.
const SIGNED_PROVIDER: &[u8] = b"polypeer/1 provider\0";

/// A node's signed statement that it provides what a key stands for, with its address record. The one with the latest
/// `expires` replaces others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    pub key: Key,
    /// Expiry, Unix seconds; at most [`MAX_RECORD_LIFETIME`] ahead.
    pub expires: u64,
    /// The provider's own address record.
    #[serde(with = "super::wire::shared")]
    pub address: Arc<AddressRecord>,
    /// Signature by the provider over the key, the expiry and its node id.
    pub signature: Signature,
}

impl ProviderRecord {
    /// Signs a provider record of this node; `address` is this node's own record.
    pub fn sign(keys: &dyn Keys, key: Key, expires: u64, address: Arc<AddressRecord>) -> Self {
        let signature = keys.sign(&Self::signed_bytes(&key, expires, &address.node));
        Self { key, expires, address, signature }
    }

    /// The signed bytes: [`SIGNED_PROVIDER`], the key, the expiry, the node id. The address record has a signature of
    /// its own.
    fn signed_bytes(key: &Key, expires: u64, node: &NodeId) -> Vec<u8> {
        let mut bytes = SIGNED_PROVIDER.to_vec();
        codec::encode(&(key, expires, node), &mut bytes).expect("72 bytes");
        bytes
    }

    /// Fails unless the record is valid now. Cheap checks come before the signatures.
    pub fn check(&self, keys: &dyn Keys, now: Now) -> Result<(), RecordError> {
        check_expiry(self.expires, now)?;
        let signed = Self::signed_bytes(&self.key, self.expires, &self.address.node);
        if !keys.verify(&self.address.node, &signed, &self.signature) {
            return Err(RecordError::Signature);
        }
        Ok(self.address.check(keys, now)?)
    }
}
