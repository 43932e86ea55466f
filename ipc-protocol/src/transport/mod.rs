//! Local sockets and frames on them, for tokio. Thin: what the bytes mean is decided in [`crate::session`].
//!
//! [`connect`] and [`listen`] take a path (a Unix socket there; a named pipe on Windows). [`FrameReader`] and
//! [`FrameWriter`] work on any byte stream. The admin session, which also hands gateways
//! over, is in [`admin`].

pub mod admin;
mod frames;
mod local;

pub use frames::{FrameReader, FrameWriter, TransportError};
pub use local::{LocalListener, LocalStream, ReadHalf, WriteHalf, connect, listen, split};
