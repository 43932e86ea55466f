//! What a plugin and the network core say to each other. Enum tags are their order here: only ever append. A message
//! that needs a new field becomes a new variant.
//!
//! A plugin connects to its socket; the first frame, an [`Opening`], says what the connection is: a control session,
//! or a data connection that opens a stream or claims one that was announced. The answer is an [`OpeningReply`]. From
//! then on a control session carries [`ClientFrame`] and [`ServerFrame`]; a data connection carries data frames
//! ([`crate::frame`]).

mod event;
mod opening;
mod payload;
mod request;
mod response;

pub use event::{Event, NetworkChange, Reach};
pub use opening::{Grants, Opening, OpeningReply, Origin, PeerScope, Target, Welcome};
pub use payload::Payload;
pub use request::{CallMode, ClientFrame, Request, Scope, Validation, Verdict};
pub use response::{NodeInfo, Path, PeerInfo, Response, ServerFrame, TopicInfo};
