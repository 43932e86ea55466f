//! Publish and subscribe: [`driver`] runs the engine [`polypeer_engine::gossip`].

pub mod driver;
