//! The gateway, netcore's side towards plugins: [`router`] finds the session that serves a protocol, [`calls`] divides the
//! places of pending calls among callers.

pub mod calls;
pub mod router;
