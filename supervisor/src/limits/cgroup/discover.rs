//! Detection of the mounted hierarchies and of this process's group in each, from `/proc/self/mountinfo` and
//! `/proc/self/cgroup` (cgroups(7), proc_pid_mountinfo(5)).

use std::fs;
use std::path::{Path, PathBuf};

use super::{Controller, Version};

/// The hierarchies of this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) version: Version,
    /// The group of this process on version 2.
    pub(super) unified: Option<PathBuf>,
    /// The group of this process in each version 1 hierarchy.
    pub(super) own: Vec<(Controller, PathBuf)>,
}

/// Detects the hierarchies of this machine.
pub(super) fn discover() -> Found {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = interpret(&mounts, &groups);
    for (_, path) in &mut found.own {
        existing_or_mount(path, &mounts);
    }
    if let Some(path) = &mut found.unified {
        existing_or_mount(path, &mounts);
        // A machine in transition has version 2 mounted without any controllers: those are in version 1.
        let controllers = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        if found.own.is_empty() || controllers.split_whitespace().any(|name| name == "memory" || name == "pids") {
            found.version = Version::V2;
        }
    }
    found
}

/// The folder of this process's group. If the group is outside the mount and so not visible, the top of the mount.
fn existing_or_mount(path: &mut PathBuf, mounts: &str) {
    if path.is_dir() {
        return;
    }
    let top = mounts.lines().filter_map(Mount::parse).map(|mount| mount.point).filter(|point| path.starts_with(point));
    if let Some(top) = top.max_by_key(|point| point.as_os_str().len()) {
        *path = top;
    }
}

struct Mount {
    root: PathBuf,
    point: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    /// `36 35 98:0 /root /point options … - type source super-options`
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?.to_owned();
        Some(Self { root: unescape(root), point: unescape(point), kind, options: right.nth(1)?.to_owned() })
    }

    /// The folder in which this mount shows the group `/path` of the hierarchy.
    fn locate(&self, group: &str) -> PathBuf {
        let inside = Path::new(group).strip_prefix(&self.root).unwrap_or(Path::new(""));
        self.point.join(inside.strip_prefix("/").unwrap_or(inside))
    }
}

/// Decodes octal escapes such as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'\\').then(|| text.get(at + 1..at + 4)).flatten();
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&out).into_owned())
}

fn interpret(mounts: &str, groups: &str) -> Found {
    // Lines `number:controllers:/path`; version 2 is the line `0::/path`.
    let group_of = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            names.split(',').any(|name| name == controller).then(|| path.to_owned())
        })
    };
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let mut own = Vec::new();
    for controller in Controller::ALL {
        let mount = mounts
            .iter()
            .find(|mount| mount.kind == "cgroup" && mount.options.split(',').any(|name| name == controller.name()));
        if let (Some(mount), Some(group)) = (mount, group_of(controller.name())) {
            own.push((controller, mount.locate(&group)));
        }
    }
    let unified = mounts.iter().find(|mount| mount.kind == "cgroup2");
    let unified = unified.and_then(|mount| Some(mount.locate(&group_of("")?)));
    Found { version: Version::V1, unified, own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/docker/7/deep\n2:cpu,cpuacct:/a\n1:name=systemd:/x\n0::/user/me\n";
        let found = interpret(mounts, groups);
        let path = |controller| found.own.iter().find(|(of, _)| *of == controller).map(|(_, path)| path.clone());
        assert_eq!(path(Controller::Memory), Some("/sys/fs/cgroup/memory/deep".into()));
        assert_eq!(path(Controller::Cpu), Some("/sys/fs/cgroup/cpu,cpuacct/a".into()));
        assert_eq!(path(Controller::CpuAccounting), path(Controller::Cpu));
        assert_eq!(path(Controller::Pids), None);
        assert_eq!(found.unified, Some("/sys/fs/cgroup/uni fied/user/me".into()));
    }

    #[test]
    fn machine_without_control_groups_is_no_error() {
        assert_eq!(interpret("", ""), Found { version: Version::V1, unified: None, own: Vec::new() });
    }
}
