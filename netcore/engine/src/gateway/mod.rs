//! The gateway, netcore's interface for plugins: [`router`] finds the session that serves a protocol, [`calls`] shares
//! out the places for pending calls among callers.

pub mod calls;
pub mod router;
