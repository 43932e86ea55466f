//! Stderr on Unix.

/// Whether stderr is a stream of systemd's journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)).
pub(crate) fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(std::io::stderr()).is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}
