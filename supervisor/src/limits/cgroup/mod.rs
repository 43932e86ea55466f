//! Control groups: a folder per home, with a leaf per child in it. Uses version 2 if the kernel has its controllers
//! there, else the version 1 hierarchies. Every value is read back after it is written.
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

/// Version of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// A controller that limits or accounts a resource.
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
    /// All controllers.
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

/// Errors of control groups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or folder could not be read, written or created.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write 5 to`, `make`, …
        action: String,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file reads back another value than was written.
    #[error("wrote {wrote} to {}, but it reads {read}", path.display())]
    ReadBack {
        path: PathBuf,
        wrote: String,
        /// What it says.
        read: String,
    },
    /// Processes were left after the time limit.
    #[error("{left} processes under {} outlive SIGKILL", path.display())]
    Unkillable { path: PathBuf, left: usize },
}

/// The folders of one home, one per hierarchy, that contain its leaves.
#[derive(Debug, Clone)]
pub struct Tree {
    version: Version,
    folders: Vec<(Controller, PathBuf)>,
    /// The folder for groups without a controller: version 2 can still list and kill their processes.
    bare: Option<PathBuf>,
    /// Missing controllers, each with the reason.
    why_not: Vec<(Controller, String)>,
}

impl Tree {
    /// Detects the hierarchies of this machine and creates the folders `polypeer-TAG` below this process's group. On
    /// version 2 it moves the calling process into a group beside them, because the kernel allows no processes in a
    /// group with children. Never fails: [`Leaf::apply`] reports each limit whose controller is missing.
    pub fn set_up(tag: &str) -> Self {
        let found = discover::discover();
        match found.version {
            Version::V2 => v2::set_up(&found, tag),
            Version::V1 => v1::set_up(&found, tag),
        }
    }

    /// All folders of the home, for the sweep and the reaper.
    pub fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> =
            self.folders.iter().map(|(_, path)| path.clone()).chain(self.bare.clone()).collect();
        roots.sort();
        roots.dedup();
        roots
    }

    /// Creates the group of one child; `name` is used once. A controller whose folder cannot be created is recorded as
    /// missing.
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

    /// Removes the groups of an earlier supervisor, once they are empty.
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

/// Whether `path` can be a folder that [`Tree::set_up`] made for the home with this tag. Recorded paths are checked
/// before anything below them is killed.
pub fn is_root_of(path: &Path, tag: &str) -> bool {
    path.is_absolute() && path.file_name().is_some_and(|name| name.to_string_lossy() == folder_name(tag))
}

fn folder_name(tag: &str) -> String {
    format!("polypeer-{tag}")
}
