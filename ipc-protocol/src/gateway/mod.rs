//! The messages of the gateway, the local sockets between plugins and the network core. An enum's tag is the position
//! of its variant: only ever append, and never change a variant's fields. A message with another field is a new
//! variant.
//!
//! A plugin connects to its socket. The first frame, an [`Opening`], makes the connection a control session, or a data
//! connection that opens a stream or claims an announced one. The answer is an [`OpeningReply`]. Afterwards a control
//! session carries [`ClientFrame`] and [`ServerFrame`]; a data connection carries data frames ([`crate::frame`]).

mod event;
mod frames;
mod grants;
mod info;
mod opening;
mod request;
mod response;

pub use crate::payload::Payload;
pub use event::Event;
pub use frames::{ClientFrame, ServerFrame};
pub use grants::{Grants, PeerScope};
pub use info::{NetworkChange, NodeInfo, Origin, Path, PeerInfo, Reach, Target, TopicInfo};
pub use opening::{Opening, OpeningReply, Welcome};
pub use request::{CallMode, Request, Scope, Validation, Verdict};
pub use response::Response;
