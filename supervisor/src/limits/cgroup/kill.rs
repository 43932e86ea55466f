//! Kills all processes in a group and the groups below it, then removes the groups. Works on both versions without
//! knowing which one it is, because the reaper only has paths.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CgroupError, files};
use crate::limits::pauses;

/// Time limit for killing. A process in an uninterruptible system call only dies when that returns.
pub const KILL_TIME: Duration = Duration::from_secs(2);

/// Kills every process below `root` until none is left, for at most [`KILL_TIME`]. Blocks. A missing `root` is empty.
pub fn kill_below(root: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + KILL_TIME;
    let mut pauses = pauses();
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
        std::thread::sleep(pauses.next().unwrap_or_default());
    }
}

fn kill_once(root: &Path, groups: &[PathBuf]) {
    // Version 2, Linux 5.14: the kernel does all of it, forks in flight included.
    if root.join("cgroup.kill").exists() && files::write(&root.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Version 1: a frozen process cannot fork; a signal sent to it takes effect when it is thawed.
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

/// The processes in one group, without those in groups below it. Zero stands for a process outside this pid namespace,
/// which has no number here; it is left out.
pub fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// `root` and every group below it, deepest first. A plugin with write access can make many; all of them are read,
/// because everything in them must be killed.
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

/// Removes `root` and the groups below it, as far as they are empty.
pub fn remove_below(root: &Path) {
    let deadline = Instant::now() + Duration::from_millis(500);
    let mut pauses = pauses();
    // A group stays busy for a moment after its last process ended.
    while root.exists() {
        for group in groups_below(root) {
            let _ = fs::remove_dir(&group);
        }
        if !root.exists() || Instant::now() > deadline {
            return;
        }
        std::thread::sleep(pauses.next().unwrap_or_default());
    }
}

/// Removes the groups below `root`, as far as they are empty.
pub fn remove_children(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path());
    }
}
