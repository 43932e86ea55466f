//! The first frame of a connection, and its answer.

use serde::{Deserialize, Serialize};

use super::grants::Grants;
use super::info::{Origin, Target};
use super::request::Scope;
use crate::codec::list;
use crate::error::Failure;
use crate::ids::{NodeId, PluginId, Protocol, Secret};

#[cfg(doc)]
use super::event::Event;
#[cfg(doc)]
use super::request::Request;

/// The first frame of every connection to a gateway socket. `Hello` never changes, in any version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// Starts the control session of this launch. It replaces an earlier one, which ends with `superseded`.
    Hello {
        /// Versions the plugin speaks, best first; at most 32.
        #[serde(deserialize_with = "list")]
        versions: Vec<u32>,
        /// `POLYPEER_TOKEN`.
        token: Secret,
    },
    /// Opens a stream.
    Open {
        /// From `Welcome`.
        secret: Secret,
        target: Target,
        protocol: Protocol,
        /// Time for the lookup, the dial and the acceptance together; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Claims a stream announced by [`Event::Stream`].
    Accept {
        /// From `Welcome`.
        secret: Secret,
        stream: u64,
    },
    /// Waits for the next stream to a listener of the session, and claims it: no [`Event::Stream`] announces it. Only
    /// after [`Request::KeepConnections`] was answered with `Done`.
    AcceptNext {
        /// From `Welcome`.
        secret: Secret,
        protocol: Protocol,
        scope: Scope,
    },
}

/// The answer to an [`Opening`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpeningReply {
    /// Refused; netcore closes the connection.
    Refused(Failure),
    /// The control session is open.
    Welcome(Welcome),
    /// The stream is open: data frames follow in both directions.
    Opened { origin: Origin, protocol: Protocol },
}

/// The start of a control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The highest version that both sides speak; the session uses it.
    pub version: u32,
    /// This node.
    pub node: NodeId,
    /// The plugin's name on this node.
    pub plugin: PluginId,
    pub grants: Grants,
    /// Opens data connections while this session is the newest of its launch.
    pub secret: Secret,
}
