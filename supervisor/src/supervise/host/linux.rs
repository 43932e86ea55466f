//! Linux: control groups, the reaper, and `/proc`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::home::Home;
use crate::limits::cgroup::{Tree, is_root_of};
use crate::limits::sampled::is_descendant;
pub(in crate::supervise) use crate::limits::sampled::resident_bytes;
use crate::process::fork_server::ForkServer;
use crate::process::watch::become_subreaper;
use crate::process::{Groups, init};
use crate::reaper::{self, Reaper, Targets, sweep};
use crate::supervise::gateway::folder_of_all;
use crate::supervise::{Programs, StartError, tag_of};

/// Measures that this version does not take, and why.
pub(in crate::supervise) const NOT_TAKEN: [(&str, &str); 4] = [
    ("own_user", "this version runs plugins as the daemon's user"),
    ("system_calls", "this version does not filter system calls"),
    ("files", "this version hides only Polypeer's own files"),
    ("disk", "this version measures the data folder and does not limit it"),
];

/// What children share.
#[derive(Debug)]
pub(in crate::supervise) struct Host {
    pub(in crate::supervise) groups: Arc<Groups>,
    reaper: Reaper,
    /// The folders of control groups, for the next daemon.
    record: PathBuf,
    gateways: PathBuf,
}

impl Host {
    /// Leftovers are swept before anything is spawned, and the reaper comes first.
    pub(in crate::supervise) async fn set_up(home: &Home, programs: &Programs) -> Result<Self, StartError> {
        let tag = tag_of(home);
        let record = home.run().join("cgroups");
        let gateways = folder_of_all(&home.sockets());
        let (tree, targets) = {
            let (record, gateways) = (record.clone(), gateways.clone());
            let prepared = spawn_blocking(move || set_up(&tag, &record, gateways)).await;
            prepared.map_err(|error| StartError::Leftovers { problem: error.to_string() })??
        };
        let io = |action: &'static str, path: PathBuf| move |source| StartError::Io { action, path, source };
        become_subreaper().map_err(io("become subreaper for", PathBuf::from("/proc/self")))?;
        let reaper = Reaper::start(programs.polypeer.clone(), targets).map_err(io("run", programs.polypeer.clone()))?;
        let inits = ForkServer::new(programs.polypeer.clone(), gateways.clone());
        Ok(Self { groups: Arc::new(Groups { tree, inits }), reaper, record, gateways })
    }

    /// Removes what was made for children; to be called when none is left.
    pub(in crate::supervise) async fn finish(self) {
        self.groups.inits.stop();
        self.reaper.stop().await;
        let (groups, gateways, record) = (self.groups, self.gateways, self.record);
        let _ = spawn_blocking(move || {
            groups.tree.remove();
            let _ = std::fs::remove_dir(gateways);
            let _ = std::fs::remove_file(record);
        })
        .await;
    }
}

/// Makes the control groups and kills what an earlier daemon left: in these, in those it recorded, and, without any,
/// whatever carries our mark. Blocks.
fn set_up(tag: &str, record: &Path, gateways: PathBuf) -> Result<(Tree, Targets), StartError> {
    let recorded = std::fs::read_to_string(record).unwrap_or_default();
    let mut old: Vec<PathBuf> = recorded.lines().map(PathBuf::from).filter(|path| is_root_of(path, tag)).collect();
    let tree = Tree::set_up(tag);
    let targets = Targets { roots: tree.roots(), gateways };
    old.extend(targets.roots.iter().cloned());
    let problems = sweep(&Targets { roots: old, gateways: targets.gateways.clone() });
    if let Some(problem) = problems.into_iter().next() {
        return Err(StartError::Leftovers { problem });
    }
    tree.clear();
    let lines: String = targets.roots.iter().map(|root| format!("{}\n", root.display())).collect();
    std::fs::write(record, lines).map_err(|source| StartError::Io {
        action: "write",
        path: record.to_owned(),
        source,
    })?;
    Ok((tree, targets))
}

/// Runs the helper that this process was started as, if any: an init or the reaper.
pub fn internal_command() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == init::SUBCOMMAND {
        return Some(init::main(arguments));
    }
    (first == reaper::SUBCOMMAND).then(|| reaper::main(arguments))
}

/// See [`crate::supervise::Supervisor::is_confined`].
pub(in crate::supervise) fn is_confined(pid: i32, tag: &str) -> bool {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/pid"));
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    match (namespace("self"), namespace(&pid.to_string()), groups) {
        (Ok(ours), Ok(theirs), Ok(groups)) => {
            ours != theirs || groups.contains(&format!("/polypeer-{tag}/")) || is_below_us(pid)
        }
        _ => true,
    }
}

/// Whether this process started another, over any number of generations: we and every plugin's init are subreapers, so
/// a process that lost its parents stays below us. What is left to go by where a plugin has neither group nor
/// namespace.
fn is_below_us(pid: i32) -> bool {
    let ours = i32::try_from(std::process::id()).expect("a pid fits");
    is_descendant(pid, ours)
}

/// The memory of this machine, bytes (proc_meminfo(5)).
pub(in crate::supervise) fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Whether a debugger is attached to a process, which may hold it for as long as somebody thinks.
pub(in crate::supervise) fn is_traced(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().filter_map(|line| line.strip_prefix("TracerPid:")).any(|tracer| tracer.trim() != "0")
}

/// Whether namespaces can be left without a user namespace.
pub(in crate::supervise) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// As many as asked for, or as many as we may have ourselves.
pub(in crate::supervise) fn open_files_within(wanted: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, most)| most.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_started_may_be_a_plugins_and_who_started_us_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        assert!(is_confined(i32::try_from(child.id()).expect("a pid fits"), "none"));
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert!(!is_confined(nix::unistd::getppid().as_raw(), "none"));
        assert!(!is_confined(nix::unistd::getpid().as_raw(), "none"));
    }
}
