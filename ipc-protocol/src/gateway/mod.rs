//! What a plugin and the network core say to each other. Enum tags are their order here: only ever append. A message
//! that needs a new field becomes a new variant.
//!
//! A plugin connects to its socket; the first frame, an [`Opening`], says what the connection is: a control session,
//! or a data connection that opens a stream or claims one that was announced. The answer is an [`OpeningReply`]. From
//! then on a control session carries [`ClientFrame`] and [`ServerFrame`]; a data connection carries data frames
//! ([`crate::frame`]).

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
pub use info::{NetworkChange, NodeInfo, Origin, Path, PeerInfo, Reach, TopicInfo};
pub use opening::{Opening, OpeningReply, Target, Welcome};
pub use request::{CallMode, Request, Scope, Validation, Verdict};
pub use response::Response;
