//! Ids, names and secrets as types: checked once when parsed or decoded, valid afterwards.

mod invalid;
mod keys;
mod names;

pub use invalid::InvalidId;
pub use keys::{Hash, NodeId, Secret};
pub use names::{Name, NetworkName, OPERATOR, Pattern, PluginId, Protocol};
