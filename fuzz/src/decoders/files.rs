//! Targets for files of operators and plugins, and for links to files.

use std::path::Path;

use polypeer_supervisor::cli::streams::file_link::{FileLink, is_safe_name};
use polypeer_supervisor::config::{Configuration, Flags};
use polypeer_supervisor::manifest::{Manifest, values};

use super::text::shown;

/// Parses a plugin's manifest; every error has a text.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Manifest::parse(Path::new("plugin.toml"), text) {
        Ok(manifest) => {
            manifest.shown_name();
            manifest.ready();
            manifest.not_enforced(&manifest.limits);
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

/// Parses the operator's configuration; every error has a text.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Configuration::parse(Path::new("config.toml"), text, &Flags::default()) {
        assert!(!error.to_string().is_empty() && error.hint().len() < 1 << 20);
    }
}

/// Parses a link to a file; its name never points outside a folder.
pub fn file_link(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(link) = shown::<FileLink>(text) {
        assert!(is_safe_name(&link.name) && link.hash.len() == 64);
    }
}
