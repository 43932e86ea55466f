//! Killing everything in a group and in the groups under it, then removing them. Works on both versions and without
//! knowing which it is, as the reaper has nothing but paths.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CgroupError, files};

/// How long to insist. A process in an uninterruptible system call dies when that ends.
pub const KILL_TIME: Duration = Duration::from_secs(2);
/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// Kills every process under `root` until none is left, at most [`KILL_TIME`] long. Blocks. A `root` that does not
/// exist is empty.
pub fn kill_below(root: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + KILL_TIME;
    loop {
        let groups = groups_below(root);
        let left: Vec<i32> = groups.iter().flat_map(|group| members(group)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(CgroupError::Unkillable { path: root.to_owned(), left: left.len() });
        }
        kill_once(root, &groups);
        std::thread::sleep(PAUSE);
    }
}

fn kill_once(root: &Path, groups: &[PathBuf]) {
    // Version 2, Linux 5.14: the kernel does all of it, forks in flight included.
    if root.join("cgroup.kill").exists() && files::write(&root.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Version 1: nothing forks while it is frozen; a signal that arrives then takes effect on thawing.
    let freezer = |state: &str| {
        for group in groups.iter().filter(|group| group.join("freezer.state").exists()) {
            let _ = files::write(&group.join("freezer.state"), state);
        }
    };
    freezer("FROZEN");
    for pid in groups.iter().flat_map(|group| members(group)) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    freezer("THAWED");
}

/// The processes in one group, those in groups under it not counted. Zero stands for one outside our pid namespace,
/// which cannot be named and so is left out.
pub fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// `root` and every group under it, deepest first. A plugin that may write there can make many; it is read whole
/// because everything in them has to go.
fn groups_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(group) = ahead.pop() {
        let entries = fs::read_dir(&group).into_iter().flatten().flatten();
        ahead.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
        );
        found.push(group);
    }
    found.reverse();
    found
}

/// Removes `root` and the groups under it, as far as they are empty.
pub fn remove_below(root: &Path) {
    let deadline = Instant::now() + Duration::from_millis(500);
    // A group stays busy for a moment after its last process is gone.
    while root.exists() {
        for group in groups_below(root) {
            let _ = fs::remove_dir(&group);
        }
        if !root.exists() || Instant::now() > deadline {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Removes the groups under `root`, as far as they are empty.
pub fn remove_children(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path());
    }
}
