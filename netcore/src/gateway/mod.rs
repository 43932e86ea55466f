//! The gateway: netcore's side of plugins, with one listening socket per launch, control sessions and data connections.
//!
//! ```text
//! admin ── launches, grants ──► hub ◄── peers up and down, datagrams (crate::link, through crate::core)
//!
//! accept ──first frame──► control (a session: requests, events) ──► requests ──► topics, records, provided, datagrams,
//!    │                       ▲ outbox                                    │       network: the node's services
//!    │                    session ◄── announced streams and calls        │ Call
//!    └─ Open ──────────────────────────────────────────► StreamOpener (crate::streams)
//! ```
//!
//! The gateway passes what plugins open to a [`StreamOpener`], implemented by [`crate::streams`]. Streams and calls for
//! a plugin come back from there and are announced by [`launch::session`]. Each piece of state has one owner: the task
//! in `control` owns a session's connection, a task in `crate::streams` owns both ends of a stream. `launch` and
//! `router` are shared behind locks, each held for a few lines.

mod accept;
mod control;
pub(crate) mod data;
pub(crate) mod datagrams;
mod hub;
pub(crate) mod keep;
pub mod launch;
pub(crate) mod network;
pub(crate) mod opening;
mod outbox;
mod own_puts;
mod provided_names;
mod record_quota;
mod records;
pub(crate) mod requests;
pub mod socket;
mod topics;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::{Payload, Target};
use polypeer_ipc_protocol::ids::Protocol;

pub use hub::Hub;
pub(crate) use hub::Listening;
use launch::Launch;
use opening::Opening;

/// Opens streams and makes calls for plugins. Each future runs in the task of its data connection or request.
pub(crate) trait StreamOpener: Send + Sync {
    /// Opens a stream and carries it to its end. The answer goes out on `opening`.
    fn open(
        &self,
        launch: Arc<Launch>,
        opening: Opening,
        target: Target,
        protocol: Protocol,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Makes a call and waits for the reply. `timeout` limits both together.
    fn call(
        &self,
        launch: Arc<Launch>,
        target: Target,
        protocol: Protocol,
        payload: Payload,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Payload, Failure>> + Send>>;
}
