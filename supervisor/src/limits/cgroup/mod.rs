//! Control groups: one folder of ours per home, in it one leaf per child. Version 2 where the kernel has its
//! controllers there, else the version 1 hierarchies. Every value is read back after it is written.
//!
//! [`Tree::set_up`] is called once by the supervisor; [`crate::process`] makes a [`Leaf`] per child; the reaper only
//! needs [`kill::kill_below`] and the paths of [`Tree::roots`].

mod discover;
mod files;
pub mod kill;
mod leaf;
mod v1;
mod v2;

use std::path::{Path, PathBuf};

pub use leaf::Leaf;

/// The kernel's two interfaces, with the same purpose and different files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// A controller we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// Ceiling and weight of processor time; in version 2 the accounting too.
    Cpu,
    /// Accounting of processor time; version 1 only.
    CpuAccounting,
    /// Number of processes and threads.
    Pids,
    /// Stops a whole group; version 1 only.
    Freezer,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Cpu, Self::CpuAccounting, Self::Pids, Self::Freezer];

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::CpuAccounting => "cpuacct",
            Self::Pids => "pids",
            Self::Freezer => "freezer",
        }
    }
}

/// Why something about control groups did not work.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or folder could not be read, written or made.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write 5 to`, `make`, …
        action: String,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The kernel took a value and gives back another.
    #[error("wrote {wrote} to {}, but it reads {read}", path.display())]
    ReadBack {
        path: PathBuf,
        /// What was written.
        wrote: String,
        /// What it says.
        read: String,
    },
    /// Processes were still there when the time was up.
    #[error("{left} processes under {} outlive SIGKILL", path.display())]
    Unkillable { path: PathBuf, left: usize },
}

/// The folders of one home, one per hierarchy, in which its leaves are made.
#[derive(Debug, Clone)]
pub struct Tree {
    version: Version,
    folders: Vec<(Controller, PathBuf)>,
    /// For groups without any controller: version 2 can still find and kill what is in them.
    bare: Option<PathBuf>,
    /// Why a controller that is not in `folders` is not.
    why_not: Vec<(Controller, String)>,
}

impl Tree {
    /// Finds what this machine has and makes the folders `polypeer-TAG` under our own group. On version 2 this moves
    /// the calling process into a group beside them, as the kernel wants none in a group that has children. Never
    /// fails: what is missing is told by [`Leaf::apply`] for each limit.
    pub fn set_up(tag: &str) -> Self {
        let found = discover::discover();
        match found.version {
            Version::V2 => v2::set_up(&found, tag),
            Version::V1 => v1::set_up(&found, tag),
        }
    }

    /// Every folder of ours, for sweeping and for the reaper.
    pub fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> =
            self.folders.iter().map(|(_, path)| path.clone()).chain(self.bare.clone()).collect();
        roots.sort();
        roots.dedup();
        roots
    }

    /// Makes the group of one child; `name` is used once. A controller whose folder cannot be made is missing from
    /// it, with the reason.
    pub fn leaf(&self, name: &str) -> Leaf {
        let mut folders = Vec::new();
        let mut why_not = self.why_not.clone();
        for (controller, parent) in &self.folders {
            match files::make_folder(&parent.join(name)) {
                Ok(path) => folders.push((*controller, path)),
                Err(error) => why_not.push((*controller, error.to_string())),
            }
        }
        let bare = self.bare.as_ref().and_then(|parent| files::make_folder(&parent.join(name)).ok());
        Leaf::new(self.version, folders, bare, why_not)
    }

    /// Removes what an earlier supervisor left in the folders, once nothing runs there.
    pub fn clear(&self) {
        for root in self.roots() {
            kill::remove_children(&root);
        }
    }

    /// Removes the folders once they are empty.
    pub fn remove(&self) {
        for root in self.roots() {
            kill::remove_below(&root);
        }
    }
}

/// Whether `path` can be a root that [`Tree::set_up`] made for the home with this tag: recorded paths are checked
/// before anything under them is killed.
pub fn is_root_of(path: &Path, tag: &str) -> bool {
    path.is_absolute() && path.file_name().is_some_and(|name| name.to_string_lossy() == folder_name(tag))
}

fn folder_name(tag: &str) -> String {
    format!("polypeer-{tag}")
}
