//! The child's view of the file system, in a mount namespace of its own: a new `/proc`, control groups and kernel
//! settings read-only, and Polypeer's folders hidden except for the child's own.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::limits::Measure;
use crate::process::launch::{Kept, Setup};

const NOTHING: Option<&str> = None;

/// Sets up the mounts; a step that fails becomes a measure that is not applied.
pub(super) fn arrange(setup: &Setup, own_pids: bool) -> Vec<Measure> {
    // Mounts made here must not be visible outside.
    if let Err(error) = mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING) {
        let why = format!("cannot detach mounts from the system's: {error}");
        return missing(setup, &why).into_iter().chain([Measure::missing("read_only_kernel", &why)]).collect();
    }
    let mut measures = Vec::new();
    if own_pids {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let fresh = mount(Some("proc"), "/proc", Some("proc"), flags, NOTHING);
        measures.push(Measure::from_result("own_proc", fresh.map_err(|error| format!("cannot mount /proc: {error}"))));
    }
    measures.push(Measure::from_result("read_only_kernel", protect_kernel()));
    measures.push(Measure::from_result("hidden_home", hide(&setup.hidden, &setup.kept)));
    for folder in linked(setup) {
        let protected = bind(&folder.path, &folder.path).and_then(|()| remount_read_only(&folder.path));
        measures.push(Measure::from_result("read_only_folder", protected));
    }
    measures
}

/// The measures of a child that sees the file system as the supervisor does.
pub(super) fn missing(setup: &Setup, why: &str) -> Vec<Measure> {
    let linked = linked(setup).map(|_| "read_only_folder");
    ["hidden_home"].into_iter().chain(linked).map(|name| Measure::missing(name, why)).collect()
}

/// The folder of a linked plugin: not inside the home, so not hidden and put back read-only.
fn linked(setup: &Setup) -> impl Iterator<Item = &Kept> {
    setup.kept.iter().filter(|kept| !kept.writable && !is_hidden(kept, &setup.hidden))
}

/// Makes these folders read-only: root owns their files even without capabilities, an ordinary user those of a
/// delegated control group.
fn protect_kernel() -> Result<(), String> {
    for path in ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"].map(Path::new) {
        if path.exists() {
            bind(path, path)?;
            remount_read_only(path)?;
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    for line in mounts.lines() {
        let kind = line.split(" - ").nth(1).and_then(|right| right.split(' ').next());
        let point = line.split(' ').nth(4);
        if let (Some("cgroup" | "cgroup2" | "sysfs"), Some(point)) = (kind, point) {
            remount_read_only(Path::new(&point.replace("\\040", " ")))?;
        }
    }
    Ok(())
}

fn is_hidden(folder: &Kept, hidden: &[PathBuf]) -> bool {
    hidden.iter().any(|cover| folder.path.starts_with(cover))
}

/// Mounts an empty folder over each of `hidden`, and the folders of `kept` inside them back in their places.
fn hide(hidden: &[PathBuf], kept: &[Kept]) -> Result<(), String> {
    // Opened before, because afterwards their paths are hidden.
    let mut held: Vec<(&Kept, OwnedFd)> = Vec::new();
    for folder in kept.iter().filter(|folder| is_hidden(folder, hidden)) {
        let descriptor = open(&folder.path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|error| format!("cannot open {}: {error}", folder.path.display()))?;
        held.push((folder, descriptor));
    }
    for cover in hidden {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("polypeer"), cover, Some("tmpfs"), flags, Some("size=64k,nr_inodes=64,mode=0755"))
            .map_err(|error| format!("cannot cover {}: {error}", cover.display()))?;
    }
    for (folder, descriptor) in &held {
        fs::create_dir_all(&folder.path)
            .map_err(|error| format!("cannot make a place for {}: {error}", folder.path.display()))?;
        bind(Path::new(&format!("/proc/self/fd/{}", descriptor.as_raw_fd())), &folder.path)?;
        if !folder.writable {
            remount_read_only(&folder.path)?;
        }
    }
    hidden.iter().try_for_each(|cover| remount_read_only(cover))
}

fn bind(from: &Path, to: &Path) -> Result<(), String> {
    mount(Some(from), to, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .map_err(|error| format!("cannot bind {}: {error}", to.display()))
}

/// Keeps the present flags: in a user namespace the kernel refuses to clear a locked one.
fn remount_read_only(path: &Path) -> Result<(), String> {
    let fail = |error: Errno| format!("cannot make {} read-only: {error}", path.display());
    let standing = statvfs(path).map_err(fail)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (stands, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if standing.contains(stands) {
            flags |= flag;
        }
    }
    mount(NOTHING, path, NOTHING, flags, NOTHING).map_err(fail)
}
