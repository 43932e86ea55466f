//! Helpers shared by the tests of several modules.

use polypeer_ipc_protocol::ids::NodeId;

/// A node id that begins with `number`, so that ids sort like their numbers.
pub(crate) fn node(number: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}
