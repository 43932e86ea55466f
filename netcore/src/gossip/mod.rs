//! Publish and subscribe of this node: [`driver`] runs the state machine of [`polypeer_engine::gossip`].

pub mod driver;
