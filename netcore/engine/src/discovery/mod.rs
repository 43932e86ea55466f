//! Finding nodes: [`schedule`] says which source is asked when, [`exchange`] what peers are told of other nodes and
//! what of their answers is taken, [`crosscheck`] how far an unverified seed is believed. Netcore's `discovery::driver`
//! runs them and asks the sources.

pub mod crosscheck;
pub mod exchange;
pub mod schedule;
