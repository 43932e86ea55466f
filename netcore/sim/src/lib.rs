//! The simulator: thousands of the network core's own engines in one thread and virtual time.
//!
//! Only the world is simulated: the network ([`net`], [`ips`], [`conns`]), the order of events ([`queue`]) and cheap
//! signatures ([`keys`]). [`world`] owns the nodes and carries their messages; [`scenarios`] defines the runs;
//! [`measure`] and [`report`] compute and print the figures. `docs/scale.md` says what a run accounts for and what it
//! leaves out.

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
