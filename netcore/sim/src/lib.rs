//! The simulator: the network core's own state machines by the thousand, in one thread and virtual time.
//!
//! What is simulated is only the world: the network ([`net`], [`ips`], [`conns`]), the order of events ([`queue`]) and
//! cheap signatures ([`keys`]). [`world`] owns nodes and moves messages; [`scenarios`] are the stories; [`measure`] and
//! [`report`] are what is told at the end. `docs/scale.md` says what is charged for and what is left out.

mod attack;
mod calls;
mod census;
pub mod conns;
mod event;
pub mod index;
pub mod ips;
pub mod keys;
mod liars;
mod life;
mod links;
pub mod lookups;
pub mod measure;
pub mod net;
pub mod node;
pub mod pending;
pub mod published;
pub mod queue;
pub mod report;
pub mod scenarios;
mod size;
mod sources;
mod talk;
pub mod tally;
mod topics;
pub mod world;
