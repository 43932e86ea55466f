//! Targets for text that people type or pass on: ids, names, patterns and tickets.

use std::fmt::Display;
use std::str::FromStr;

use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::ticket::Ticket;

/// Parses a `T`, and asserts that its text parses to the same value.
pub(super) fn shown<T: FromStr + Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let again = value.to_string();
    let read: Option<T> = again.parse().ok();
    assert_eq!(read.map(|value| value.to_string()), Some(again), "{text:?}");
    Some(value)
}

/// Parses ids, names, patterns and tickets.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The whole text and each of its lines: a seed holds many values.
    for text in [text].into_iter().chain(text.lines().map(|line| line.trim().trim_matches(['"', ',']))) {
        shown::<NodeId>(text);
        shown::<Hash>(text);
        shown::<PluginId>(text);
        shown::<Protocol>(text);
        shown::<Ticket>(text);
        let _ = text.parse::<Secret>();
        let name = shown::<Name>(text);
        if let (Some(pattern), Some(name)) = (shown::<Pattern>(text), name) {
            assert!(pattern.allows(name.as_str()), "a name without a star is the pattern of itself");
        }
    }
}
