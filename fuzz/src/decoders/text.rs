//! What people and their files say: names, tickets, manifests, configuration, links to files.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_supervisor::cli::streams::file_link::{FileLink, is_safe_name};
use polypeer_supervisor::config::DaemonConfig;
use polypeer_supervisor::manifest::{Manifest, values};
use polypeer_supervisor::toml_file;

/// What is read is shown as text that reads the same.
fn shown<T: FromStr + Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let again = value.to_string();
    let read: Option<T> = again.parse().ok();
    assert_eq!(read.map(|value| value.to_string()), Some(again), "{text:?}");
    Some(value)
}

/// Ids, names, patterns, tickets.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As a whole, and each line: the seeds have many.
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

/// A plugin's manifest: whatever is wrong is said in words.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Manifest::parse(Path::new("plugin.toml"), text) {
        Ok(manifest) => {
            manifest.shown_name();
            manifest.ready();
            manifest.not_enforced();
            manifest.permissions.in_words();
            manifest.permissions.grants(&[]);
        }
        Err(error) => assert!(!error.to_string().is_empty() && error.hint().len() < 1 << 20),
    }
    if text.len() < 64 {
        if let Ok(size) = values::parse_size(text) {
            values::shown_size(size);
        }
        let _ = values::parse_duration(text);
        let _ = values::parse_percent(text);
    }
}

/// The operator's configuration.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = toml_file::parse::<DaemonConfig>(Path::new("config.toml"), text) {
        assert!(!error.to_string().is_empty() && error.hint().len() < 1 << 20);
    }
}

/// A link to a file: its name never leads out of a folder.
pub fn file_link(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(link) = shown::<FileLink>(text) {
        assert!(is_safe_name(&link.name) && link.hash.len() == 64);
    }
}
