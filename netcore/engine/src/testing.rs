//! Helpers shared by the tests of several modules.

use std::time::Instant;

use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::keys::Keys;
use crate::now::Now;

/// A node id that begins with `number`, so that ids sort like their numbers.
pub(crate) fn node(number: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

/// The instant at which a test begins; it computes all later ones.
#[expect(clippy::disallowed_methods, reason = "the standard library makes no Instant but from the clock")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// [`start`] with a date that is the same in each run.
pub(crate) fn now() -> Now {
    Now { at: start(), unix: 1_800_000_000 }
}

/// An Ed25519 key, for tests in which signatures must be real.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    /// Creates a random key.
    pub(crate) fn generate() -> Self {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).expect("the system gives randomness");
        Self::from_seed(seed)
    }

    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are an Ed25519 seed"))
    }

    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"))
    }
}

impl Keys for Signer {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes"))
    }

    fn verify(&self, key: &NodeId, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &key.0).verify(message, &signature.0).is_ok()
    }
}
