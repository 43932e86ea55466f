//! How nodes find each other, source by source: real network cores inside the test, over real QUIC on loopback.

mod lan;
mod seeds;
mod world;
