//! The wire format between two netcores, for [`crate::link`] and [`crate::query`] alike: encoding, decoding, and the
//! budget for incomplete payloads. `PROTOCOL.md` specifies the bytes.
//!
//! ```text
//! header ──► halves (one stream: header, status, message, end) ◄── budget (payloads not yet complete)
//!               └──► frames (length-prefixed bodies on a long-lived stream)
//! control (frames of a link's control stream)      datagram      closed (why a connection is closed)
//! ```

pub(crate) mod budget;
mod closed;
pub mod control;
pub mod datagram;
#[cfg(test)]
mod examples;
pub(crate) mod frames;
pub(crate) mod halves;
pub mod header;

pub(crate) use budget::{Budget, Payloads};
pub(crate) use closed::{code_of, why_closed};
pub use control::{ControlFrame, EARLY_BYTES, Found, FrameError, VERSION, read_frame, write_frame};
pub(crate) use halves::{Broken, Early, Halves, read_status};
pub use header::{
    ACCEPTED, MAX_FAILURE, REFUSED, StreamHeader, StreamKind, WireError, failure_length, header_bytes, header_length,
    read_failure, read_header, refusal_bytes,
};
