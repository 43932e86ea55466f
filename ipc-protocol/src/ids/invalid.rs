//! The error of parsing an id or a name.

use crate::limits::MAX_NAME;

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not 52 characters of z-base-32 that stand for exactly 32 bytes.
    #[error("{text:?} is not a node id: expected 52 characters of z-base-32")]
    Node {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Not 64 hex digits.
    #[error("expected 64 hexadecimal digits")]
    Secret,
    /// Breaks the rule of [`PluginId`].
    #[error("{text:?} is not a plugin id: expected 2 to 40 of a-z, 0-9 and '-'")]
    Plugin {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Breaks the rule of [`Protocol`].
    #[error("{text:?} is not a protocol: expected name/version, such as chat/1, of a-z, 0-9, '.', '_' and '-'")]
    Protocol {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Breaks the rule of [`Pattern`].
    #[error("{text:?} is not a protocol or a pattern such as chat/*")]
    Pattern {
        /// What was given, cut to 80 characters.
        text: String,
    },
    /// Breaks the rule of [`Name`].
    #[error("{text:?} is not a name: expected 1 to {MAX_NAME} of a-z, 0-9, '.', '_', '-' and '/'")]
    Name {
        /// What was given, cut to 80 characters.
        text: String,
    },
}

/// At most 80 characters of a text, for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
