//! The documents of `chat-control/1`, one per line. Unknown ones are skipped.

use polypeer_ipc_protocol::ids::NodeId;
use serde::Deserialize;

use crate::cli_error::CliError;
use crate::output::clean;

/// What the app says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Said {
    Message(Message),
    /// Everything that was unread has been shown.
    CaughtUp {
        #[allow(dead_code, reason = "tells this document from the others")]
        caught_up: bool,
    },
    Conversations {
        peers: Vec<Conversation>,
    },
    Failed {
        error: String,
    },
    Other(serde::de::IgnoredAny),
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) from: NodeId,
    pub(super) text: String,
    /// Unix seconds.
    pub(super) at: u64,
    /// `received`, `sent` (waits), `delivered` or `failed`.
    pub(super) state: String,
    /// Why it failed, or still waits.
    #[serde(default)]
    pub(super) error: Option<String>,
    /// With `sent`: why it still waits, a code of Polypeer's.
    #[serde(default)]
    pub(super) code: Option<u32>,
}

/// A conversation in the list.
#[derive(Debug, Deserialize)]
pub(super) struct Conversation {
    pub(super) peer: NodeId,
    pub(super) messages: u64,
    pub(super) unread: u64,
    pub(super) undelivered: u64,
}

/// The error for what the app refused.
pub(super) fn refused(error: &str) -> CliError {
    CliError::failed(format!("the app chat says: {}", clean(error)), "see `polypeer plugin logs chat`")
}
