//! Targets for decoders of untrusted bytes and text. A decoded value must encode to something that decodes to the same
//! value, so that no two parts of the program understand one input differently.

#[cfg(feature = "all")]
pub mod files;
pub mod gateway;
#[cfg(feature = "all")]
pub mod link;
pub mod services;
pub mod text;

use std::fmt::Debug;

use polypeer_ipc_protocol::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes a `T`, and asserts that encoding and decoding it again gives the same value.
fn reads_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = codec::decode(bytes).ok()?;
    let mut again = Vec::new();
    codec::encode(&message, &mut again).expect("what was read is not too large to write");
    assert_eq!(codec::decode::<T>(&again).ok().as_ref(), Some(&message), "read, written and read again");
    Some(message)
}
