//! What is kept in the hash table, and when it is right.

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

/// One value under one key. Tags are their order: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A value under a name and its own hash: whoever has it can check it.
    Immutable {
        /// Under which name.
        name: Name,
        /// At most [`MAX_VALUE`] bytes.
        value: Payload,
    },
    /// What the owner of a key says under a name, until it says something newer.
    Signed(SignedRecord),
    /// Where a node can be reached.
    Address(#[serde(with = "super::wire::shared")] Arc<AddressRecord>),
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Over the limit.
    #[error("the value is longer than {MAX_VALUE} bytes")]
    TooLarge,
    /// Expired, or good for longer than anything may be.
    #[error("the record has expired, or expires more than {MAX_RECORD_LIFETIME} s ahead")]
    Time,
    /// Not by the owner of its key.
    #[error("the signature is wrong")]
    Signature,
    /// Of an address record.
    #[error(transparent)]
    Address(#[from] BadRecord),
}

impl RecordError {
    /// Whether whoever told it, told a lie: nobody else can have made the mistake, as everybody checks.
    pub fn is_lie(self) -> bool {
        matches!(self, Self::Signature | Self::TooLarge | Self::Address(BadRecord::Signature | BadRecord::Addresses))
    }
}

impl Record {
    /// Where it is kept.
    pub fn key(&self) -> Key {
        match self {
            Self::Immutable { name, value } => Key::of_immutable(name, &Key::value_hash(&value.0)),
            Self::Signed(record) => Key::of_signed(&record.key, &record.name),
            Self::Address(record) => Key::of_node(record.node),
        }
    }

    /// Of two under one key the higher holds; an immutable one has only one.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Immutable { .. } => 0,
            Self::Signed(record) => record.sequence,
            Self::Address(record) => record.sequence,
        }
    }

    /// Whether this one takes the place of `other`, which is under the same key. Of two with one sequence number the one
    /// with the greater signature does, everywhere the same, so that holders agree even when an owner does not.
    pub fn supersedes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signed(a), Self::Signed(b)) => (a.sequence, a.signature.0) > (b.sequence, b.signature.0),
            (Self::Address(a), Self::Address(b)) => (a.sequence, a.signature.0) > (b.sequence, b.signature.0),
            _ => false,
        }
    }

    /// For how many seconds it is good from `now` on, by what it says itself; 0 when it has expired.
    pub fn lifetime(&self, now: Now) -> u64 {
        let most = u64::from(MAX_RECORD_LIFETIME);
        match self {
            Self::Immutable { .. } => most,
            Self::Signed(record) => record.expires.saturating_sub(now.unix).min(most),
            Self::Address(record) => record.time.saturating_add(RECORD_LIFETIME).saturating_sub(now.unix).min(most),
        }
    }

    /// Fails unless everything about it is right at this moment. Does the cheap checks first.
    pub fn check(&self, keys: &dyn Keys, now: Now) -> Result<(), RecordError> {
        match self {
            Self::Immutable { value, .. } if value.0.len() > MAX_VALUE => Err(RecordError::TooLarge),
            Self::Immutable { .. } => Ok(()),
            Self::Signed(record) => check_signed(record, keys, now),
            Self::Address(record) => Ok(record.check(keys, now)?),
        }
    }

    /// About how many bytes it takes to keep.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Immutable { name, value } => name.as_str().len() + value.0.len(),
                Self::Signed(record) => record.name.as_str().len() + record.value.0.len(),
                Self::Address(record) => address_bytes(record),
            }
    }
}

/// About how many bytes an address record takes to keep.
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

/// Before what is signed, so that a signature for one use is none for another.
const SIGNED_PROVIDER: &[u8] = b"polypeer/1 provider\0";

/// A node says that it provides what a key stands for, and where it can be reached. The newest `expires` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    /// What.
    pub key: Key,
    /// Until when it is good, Unix seconds; at most [`MAX_RECORD_LIFETIME`] ahead.
    pub expires: u64,
    /// Who, and where.
    #[serde(with = "super::wire::shared")]
    pub address: Arc<AddressRecord>,
    /// By the node of `address`, of its id, the key and the expiry.
    pub signature: Signature,
}

impl ProviderRecord {
    /// Makes and signs one of this node, whose own record `address` is.
    pub fn sign(keys: &dyn Keys, key: Key, expires: u64, address: Arc<AddressRecord>) -> Self {
        let signature = keys.sign(&Self::signed_bytes(&key, expires, &address.node));
        Self { key, expires, address, signature }
    }

    /// What the signature covers: [`SIGNED_PROVIDER`], the key, the expiry, the node. Not the address: that has a
    /// signature of its own.
    fn signed_bytes(key: &Key, expires: u64, node: &NodeId) -> Vec<u8> {
        let mut bytes = SIGNED_PROVIDER.to_vec();
        codec::encode(&(key, expires, node), &mut bytes).expect("72 bytes");
        bytes
    }

    /// Fails unless everything about it is right at this moment. Does the cheap checks first.
    pub fn check(&self, keys: &dyn Keys, now: Now) -> Result<(), RecordError> {
        check_expiry(self.expires, now)?;
        let signed = Self::signed_bytes(&self.key, self.expires, &self.address.node);
        if !keys.verify(&self.address.node, &signed, &self.signature) {
            return Err(RecordError::Signature);
        }
        Ok(self.address.check(keys, now)?)
    }
}
