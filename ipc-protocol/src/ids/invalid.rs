//! The error of parsing an id or a name.

use crate::limits::MAX_NAME;

/// The error of parsing an id or a name. `text` is the input, cut to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("{text:?} is not a node id: expected 52 characters of z-base-32")]
    Node { text: String },
    #[error("{text:?} is not a hash: expected 64 lower-case hexadecimal digits")]
    Hash { text: String },
    /// Without the text, since it is secret.
    #[error("expected 64 lower-case hexadecimal digits")]
    Secret,
    #[error("{text:?} is not a plugin id: expected 2 to 40 of a-z, 0-9 and '-'")]
    Plugin { text: String },
    #[error("{text:?} is not a protocol: expected name/version, such as chat/1, of a-z, 0-9, '.', '_' and '-'")]
    Protocol { text: String },
    #[error("{text:?} is not a protocol or a pattern such as chat/*")]
    Pattern { text: String },
    #[error("{text:?} is not a name: expected 1 to {MAX_NAME} of a-z, 0-9, '.', '_', '-' and '/'")]
    Name { text: String },
    #[error("{text:?} is not a network name; expected 1 to 32 of a-z, 0-9 and '-'")]
    Network { text: String },
}

/// The first 80 characters of a text, for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
