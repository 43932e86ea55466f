//! Version 2: the leaves are in a folder below the supervisor's own group. A group with processes cannot delegate
//! controllers to its children, so the supervisor first moves into a group beside that folder, as systemd's `Delegate=`
//! requires.

use std::path::{Path, PathBuf};

use super::discover::Found;
use super::{Controller, Tree, Version, files, folder_name};

/// The group of the supervisor and its reaper, beside the folders of the children.
const SUPERVISOR: &str = "polypeer-supervisor";
/// Attempts to move all processes. One that forks meanwhile leaves its child behind, and that may fork, too.
const MOVES: usize = 100;
/// Controllers to enable; version 2 accounts processor time without one.
const WANTED: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];

pub(super) fn set_up(found: &Found, tag: &str) -> Tree {
    let mut tree = Tree { version: Version::V2, folders: Vec::new(), bare: None, why_not: Vec::new() };
    let Some(own) = &found.unified else {
        let why = "this machine has no control groups mounted";
        tree.why_not = WANTED.iter().map(|controller| (*controller, why.to_owned())).collect();
        return tree;
    };
    // This process was started in the group that an earlier supervisor moved to.
    let base = match own.file_name() {
        Some(name) if name == SUPERVISOR => own.parent().unwrap_or(own),
        _ => own,
    };
    let folder = match files::make_folder(&base.join(folder_name(tag))) {
        Ok(folder) => folder,
        Err(error) => {
            let why = format!("{error}; run it as a service, or under systemd-run --user --scope -p Delegate=yes");
            tree.why_not = WANTED.iter().map(|controller| (*controller, why.clone())).collect();
            return tree;
        }
    };
    for controller in WANTED {
        match enable(base, &folder, controller) {
            Ok(()) => tree.folders.push((controller, folder.clone())),
            Err(why) => tree.why_not.push((controller, why)),
        }
    }
    tree.bare = Some(folder);
    tree
}

/// Delegates one controller from `base` to the leaves in `folder`.
fn enable(base: &Path, folder: &Path, controller: Controller) -> Result<(), String> {
    let name = controller.name();
    let has = |path: PathBuf| files::read(&path).is_ok_and(|text| text.split_whitespace().any(|word| word == name));
    if !has(base.join("cgroup.controllers")) {
        return Err(format!("the {name} controller is not delegated to {}", base.display()));
    }
    let value = format!("+{name}");
    let control = base.join("cgroup.subtree_control");
    if !has(control.clone()) && files::write(&control, &value).is_err() {
        move_down(base).map_err(|error| error.to_string())?;
        files::write(&control, &value).map_err(|error| {
            format!("{error}; other processes share the group: run it as a service, or under systemd-run --scope -p Delegate=yes")
        })?;
    }
    files::write(&folder.join("cgroup.subtree_control"), &value).map_err(|error| error.to_string())?;
    match has(folder.join("cgroup.subtree_control")) {
        true => Ok(()),
        false => Err(format!("the {name} controller was handed down, and is not there")),
    }
}

/// Moves this process into a group of its own; if the whole group is delegated to it, its other processes, too.
fn move_down(base: &Path) -> Result<(), super::CgroupError> {
    let group = files::make_folder(&base.join(SUPERVISOR))?.join("cgroup.procs");
    files::write(&group, &std::process::id().to_string())?;
    if is_delegated(base) {
        for _ in 0..MOVES {
            let left = files::read(&base.join("cgroup.procs"))?;
            if left.is_empty() {
                break;
            }
            for pid in left.lines() {
                // The process may have ended meanwhile.
                let _ = files::write(&group, pid);
            }
        }
    }
    Ok(())
}

/// Whether the whole group is delegated: systemd marked it (`user.delegate` or `trusted.delegate`), or it is the top of
/// a control group namespace, which a container owns.
fn is_delegated(base: &Path) -> bool {
    let marked = crate::kernel::has_attribute;
    let top_of_namespace = std::fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.contains("0::/\n"))
        && base.join("cgroup.type").exists();
    top_of_namespace || marked(base, "user.delegate") || marked(base, "trusted.delegate")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group with `controllers` as the kernel shows it, but of ordinary files, which delegate nothing.
    fn set_up_in(base: &Path, own: &Path, controllers: &str) -> Tree {
        std::fs::write(base.join("cgroup.controllers"), controllers).expect("writable");
        std::fs::write(base.join("cgroup.subtree_control"), "").expect("writable");
        set_up(&Found { version: Version::V2, unified: Some(own.to_owned()), own: Vec::new() }, "77")
    }

    #[test]
    fn each_controller_that_is_missing_is_told_with_its_reason() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let tree = set_up_in(base.path(), base.path(), "cpuset pids\n");
        let why = |controller| {
            let found = tree.why_not.iter().find(|(of, _)| *of == controller);
            found.map(|(_, why)| why.as_str()).unwrap_or_default()
        };
        assert_eq!(tree.folders, []);
        assert!(why(Controller::Memory).contains("the memory controller is not delegated to /"));
        assert!(why(Controller::Cpu).contains("the cpu controller is not delegated to /"));
        assert!(why(Controller::Pids).contains("handed down, and is not there"));
        assert_eq!(tree.roots(), [base.path().join("polypeer-77")], "what runs can still be found and killed");
    }

    #[test]
    fn one_started_from_where_an_earlier_one_moved_to_uses_the_same_place() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let tree = set_up_in(base.path(), &base.path().join(SUPERVISOR), "");
        assert_eq!(tree.roots(), [base.path().join("polypeer-77")]);
    }

    #[test]
    fn group_that_cannot_be_changed_is_told_with_what_to_do() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let tree = set_up_in(base.path(), &base.path().join("none/here"), "memory cpu pids");
        assert_eq!(tree.roots(), Vec::<PathBuf>::new());
        assert_eq!(tree.why_not.len(), 3);
        assert!(tree.why_not.iter().all(|(_, why)| why.contains("Delegate=yes")), "{:?}", tree.why_not);
    }
}
