//! The DHT of this node: `driver` runs the engine of [`polypeer_engine::dht`]; the other tasks of the node use it
//! through [`DhtHandle`].

pub(crate) mod driver;
mod handle;

pub use handle::DhtHandle;
