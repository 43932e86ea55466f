//! The contract between Polypeer's processes: the messages of the gateway (plugins and the network core) and of the
//! admin session (supervisor and network core). `SPEC.md` defines the bytes of the gateway; this crate is its Rust
//! form. Each floor uses only those below it:
//!
//! ```text
//!   client
//!   session     transport   admin
//!   gateway     frame       settings
//!   seeds
//!   record      ticket
//!   ids         payload     codec       error
//!   forms       limits
//! ```
//!
//! - [`admin`]: messages between the supervisor and netcore.
//! - [`client`]: the gateway's client for Rust: control session, streams, subscriptions, records.
//! - [`codec`]: messages to bytes and back; the only file that names the encoding crate.
//! - [`error`]: the table of error codes, and a failure as it crosses a process.
//! - `forms`: the serde forms of types that are text in JSON.
//! - [`frame`]: cuts byte streams into frames; never allocates by an announced length.
//! - [`gateway`]: messages between plugins and netcore.
//! - [`ids`]: node ids, hashes, secrets, and the names of plugins, protocols, topics and records.
//! - [`limits`]: every size and time that the gateway protocol fixes.
//! - [`payload`]: bytes that netcore carries without reading them.
//! - [`record`]: signed records of the DHT.
//! - [`seeds`]: hosts and lists of nodes, as operators write them.
//! - [`session`]: both ends of a control session and of a data connection, sans-IO.
//! - [`settings`]: the network core's settings, as `config.toml` and the admin session have them.
//! - [`ticket`]: text that lets a stranger dial a node.
//! - [`transport`]: frames on local sockets, and the admin session with its descriptors.
//!
//! [`client`] and [`transport`] need the feature `transport`, on by default; without it the crate does no input or
//! output.

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
pub mod settings;
pub mod ticket;
#[cfg(feature = "transport")]
pub mod transport;
