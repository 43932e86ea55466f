//! The distributed hash table of this node: `driver` runs the state machine of [`polypeer_engine::dht`], and
//! [`DhtHandle`] is how the rest of the node asks it.

pub(crate) mod driver;
mod handle;

pub use handle::DhtHandle;
