//! Links between peers: [`credit`] is the flow control of streams between their plugins.

pub mod credit;
