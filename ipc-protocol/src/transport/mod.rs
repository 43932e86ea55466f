//! Local sockets and frames on them, for tokio. The rules of the sessions are in [`crate::session`].
//!
//! [`connect`] and [`listen`] take the path of a Unix socket, or the name of a pipe on Windows. [`FrameReader`] and
//! [`FrameWriter`] work on any byte stream. The sockets are in `local`, per system. The admin session, which also hands
//! gateways over, is in [`admin`].

pub mod admin;
mod frames;
mod local;

pub use frames::{FrameReader, FrameWriter, TransportError};
pub use local::{LocalListener, LocalStream, ReadHalf, WriteHalf, connect, listen, split};
