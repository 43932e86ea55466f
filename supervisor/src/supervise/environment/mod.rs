//! The part of a child's environment that the system decides.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::Path;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// Variables that every child takes over from the daemon, `names` among them, and `PATH`.
pub(super) fn inherited(names: &[&str]) -> Vec<(String, String)> {
    let all = names.iter().chain(system::INHERITED);
    let mut set: Vec<_> = all.filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    set.push(("PATH".to_owned(), std::env::var("PATH").unwrap_or_else(|_| system::PATH.to_owned())));
    set
}

/// Where a plugin's programs are looked for when the daemon has no `PATH`.
pub fn path() -> &'static str {
    system::PATH
}

/// What leads a plugin to its data folder as its home, and to `tmp` in it for temporary files.
pub(super) fn folders(data: &Path) -> Vec<(String, String)> {
    let homes = system::HOMES.iter().map(|name| (*name, data.to_owned()));
    let temporary = system::TEMPORARY.iter().map(|name| (*name, data.join("tmp")));
    homes.chain(temporary).map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned())).collect()
}
