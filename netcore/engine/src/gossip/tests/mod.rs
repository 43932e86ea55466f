//! Tests of the whole engine: alone against misbehaving peers, among many nodes, and under random operations.

mod among;
mod delivery;
mod examples;
mod hostile;
mod random;
mod rates;
mod standing;
mod world;
