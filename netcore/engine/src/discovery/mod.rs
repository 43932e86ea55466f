//! Discovery of other nodes. [`schedule`] decides when each source is asked. [`exchange`] asks peers for other nodes'
//! records and answers such questions. [`crosscheck`] limits what an unverified seed can do. Netcore's
//! `discovery::driver` runs them and asks the sources.

pub mod crosscheck;
pub mod exchange;
pub mod schedule;
