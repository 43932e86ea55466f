//! The decisions of the network core, as state machines.

pub mod address;
pub mod bounded;
pub mod dht;
pub mod discovery;
#[cfg(test)]
mod examples;
pub mod gateway;
pub mod gossip;
pub mod keys;
pub mod link;
pub mod now;
pub mod peers;
pub mod rate;
pub mod reach;
pub mod socket_address;
#[cfg(test)]
mod testing;
