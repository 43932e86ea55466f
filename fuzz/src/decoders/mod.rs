//! Everything that reads bytes or text written by others. What is read must be written again as something that reads the
//! same, so that two parts of the program never see two things in one.

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

/// Reads `bytes` as a `T`; what was read must survive being written and read again.
fn reads_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = codec::decode(bytes).ok()?;
    let mut again = Vec::new();
    codec::encode(&message, &mut again).expect("what was read is not too large to write");
    assert_eq!(codec::decode::<T>(&again).ok().as_ref(), Some(&message), "read, written and read again");
    Some(message)
}
