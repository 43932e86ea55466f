//! The contract between Polypeer's processes: what plugins and the network core say on the gateway, and what the
//! supervisor and the network core say on the admin session. `SPEC.md` owns the bytes; this crate is its Rust form.
//!
//! [`gateway`] and [`admin`] hold the message types, [`codec`] turns them into bytes and is the only file that names
//! the encoding crate, [`frame`] cuts byte streams into frames without allocating by a length it was told. [`session`]
//! has the rules of a session without input or output, [`transport`] puts frames on local sockets, and [`client`] is
//! the gateway's client for Rust; the last two need the feature `transport`, on by default.

pub mod admin;
#[cfg(feature = "transport")]
pub mod client;
pub mod codec;
pub mod error;
mod forms;
pub mod frame;
pub mod gateway;
pub mod ids;
pub mod limits;
pub mod payload;
pub mod record;
pub mod seeds;
pub mod session;
pub mod ticket;
#[cfg(feature = "transport")]
pub mod transport;
