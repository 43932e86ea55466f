//! The group of one child: its limits, members, usage and removal. The only file with the names of the kernel's files
//! (Linux documentation: admin-guide/cgroup-v1, admin-guide/cgroup-v2).

use std::path::{Path, PathBuf};

use super::files::{read_key, read_number, write, write_bytes, write_checked, write_exact};
use super::{CgroupError, Controller, Version, kill};
use crate::limits::{Measure, Usage};
use crate::manifest::Limits;

/// The init is in the group, too, and does not count against the plugin's limit.
const INIT_PROCESSES: u32 = 1;
/// Period of the CPU limit, microseconds: the kernel's default.
const PERIOD: u64 = 100_000;
/// Smallest share of a period that the kernel accepts, microseconds.
const SMALLEST_QUOTA: u64 = 1_000;

/// The group of one child, in every hierarchy.
#[derive(Debug)]
pub struct Leaf {
    version: Version,
    folders: Vec<(Controller, PathBuf)>,
    bare: Option<PathBuf>,
    why_not: Vec<(Controller, String)>,
}

impl Leaf {
    pub(super) fn new(
        version: Version,
        folders: Vec<(Controller, PathBuf)>,
        bare: Option<PathBuf>,
        why_not: Vec<(Controller, String)>,
    ) -> Self {
        Self { version, folders, bare, why_not }
    }

    /// Whether the kernel accounts the child's memory; if not, it is sampled.
    pub fn has_memory(&self) -> bool {
        self.folder(Controller::Memory).is_ok()
    }

    /// All folders of the group.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> =
            self.folders.iter().map(|(_, path)| path.clone()).chain(self.bare.clone()).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    fn folder(&self, controller: Controller) -> Result<&Path, String> {
        match self.folders.iter().find(|(of, _)| *of == controller) {
            Some((_, path)) => Ok(path),
            None => Err(match self.why_not.iter().find(|(of, _)| *of == controller) {
                Some((_, why)) => why.clone(),
                None => format!("no {} controller", controller.name()),
            }),
        }
    }

    /// Writes the limits and reads each back; returns one measure per limit. May be called again while the child runs.
    pub fn apply(&self, limits: &Limits) -> Vec<Measure> {
        let mut measures = Vec::new();
        let mut add = |name: &str, controller: Controller, set: &dyn Fn(&Path) -> Result<(), CgroupError>| {
            let result = self.folder(controller).and_then(|folder| set(folder).map_err(|error| error.to_string()));
            measures.push(Measure::from_result(name, result));
        };
        add("memory", Controller::Memory, &|folder| self.set_memory(folder, limits.memory_bytes, limits.swap_bytes));
        add("swap", Controller::Memory, &|folder| self.set_swap(folder, limits.memory_bytes, limits.swap_bytes));
        add("cpu", Controller::Cpu, &|folder| self.set_cpu(folder, limits.cpu_percent));
        add("cpu_weight", Controller::Cpu, &|folder| self.set_cpu_weight(folder, limits.cpu_weight));
        let pids = limits.pids.saturating_add(INIT_PROCESSES).to_string();
        add("pids", Controller::Pids, &|folder| write_exact(&folder.join("pids.max"), &pids));
        measures
    }

    fn set_memory(&self, folder: &Path, bytes: u64, swap: u64) -> Result<(), CgroupError> {
        match self.version {
            Version::V2 => write_bytes(&folder.join("memory.max"), bytes),
            Version::V1 => {
                // The limit on memory and swap must not be below that on memory, so it is raised first.
                let both = folder.join("memory.memsw.limit_in_bytes");
                if both.exists() && read_number(&both).is_some_and(|now| now < bytes) {
                    write(&both, &bytes.saturating_add(swap).to_string())?;
                }
                write_bytes(&folder.join("memory.limit_in_bytes"), bytes)
            }
        }
    }

    fn set_swap(&self, folder: &Path, memory: u64, bytes: u64) -> Result<(), CgroupError> {
        match self.version {
            Version::V2 => write_bytes(&folder.join("memory.swap.max"), bytes),
            Version::V1 => write_bytes(&folder.join("memory.memsw.limit_in_bytes"), memory.saturating_add(bytes)),
        }
    }

    fn set_cpu(&self, folder: &Path, percent: u32) -> Result<(), CgroupError> {
        let quota = (u64::from(percent) * PERIOD / 100).max(SMALLEST_QUOTA);
        match self.version {
            Version::V2 => write_exact(&folder.join("cpu.max"), &format!("{quota} {PERIOD}")),
            Version::V1 => {
                write_exact(&folder.join("cpu.cfs_period_us"), &PERIOD.to_string())?;
                write_exact(&folder.join("cpu.cfs_quota_us"), &quota.to_string())
            }
        }
    }

    fn set_cpu_weight(&self, folder: &Path, weight: u32) -> Result<(), CgroupError> {
        match self.version {
            Version::V2 => write_exact(&folder.join("cpu.weight"), &weight.to_string()),
            Version::V1 => {
                // The normal weight is 100 here and 1024 in version 1, whose minimum is 2.
                let shares = (u64::from(weight) * 1024 / 100).max(2).to_string();
                write_checked(&folder.join("cpu.shares"), &shares, |read| read == shares)
            }
        }
    }

    /// The files that a process of one thread joins the group by writing 0 to. In version 1 that is the file for single
    /// threads: the one for processes makes the kernel wait until no process forks, for milliseconds.
    pub fn entrances(&self) -> Vec<PathBuf> {
        let file = match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        };
        self.folders().iter().map(|folder| folder.join(file)).collect()
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        let init = u64::from(INIT_PROCESSES);
        let pids = self.folder(Controller::Pids).ok();
        Usage {
            memory_bytes: self.memory_bytes(),
            cpu_us: self.cpu_us(),
            pids: pids
                .and_then(|folder| read_number(&folder.join("pids.current")))
                .map(|pids| pids.saturating_sub(init)),
        }
    }

    fn memory_bytes(&self) -> Option<u64> {
        let folder = self.folder(Controller::Memory).ok()?;
        let (total, cache) = match self.version {
            Version::V2 => ("memory.current", "inactive_file"),
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
        };
        let cached = read_key(&folder.join("memory.stat"), cache).unwrap_or(0);
        Some(read_number(&folder.join(total))?.saturating_sub(cached))
    }

    fn cpu_us(&self) -> Option<u64> {
        match self.version {
            Version::V2 => read_key(&self.bare.as_ref()?.join("cpu.stat"), "usage_usec"),
            Version::V1 => {
                let folder = self.folder(Controller::CpuAccounting).ok()?;
                Some(read_number(&folder.join("cpuacct.usage"))? / 1_000)
            }
        }
    }

    /// Number of its processes that the kernel killed because memory ran out.
    pub fn out_of_memory_kills(&self) -> u64 {
        let Ok(folder) = self.folder(Controller::Memory) else { return 0 };
        let file = match self.version {
            Version::V2 => "memory.events",
            Version::V1 => "memory.oom_control",
        };
        read_key(&folder.join(file), "oom_kill").unwrap_or(0)
    }

    /// Kills all processes in the group and removes it. Blocks, up to some seconds.
    pub fn destroy(&self) -> Result<(), CgroupError> {
        let folders = self.folders();
        let killed = folders.iter().try_for_each(|folder| kill::kill_below(folder));
        for folder in &folders {
            kill::remove_below(folder);
        }
        killed
    }
}
