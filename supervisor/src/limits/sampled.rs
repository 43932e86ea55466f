//! Usage of a process's descendants, read from `/proc`, where there are no control groups. A process that detached
//! itself from the tree is still found, because the init is the subreaper of all of them.

use std::collections::HashMap;
use std::fs;

use super::Usage;

/// Bytes per page and clock ticks per second, the units of `/proc/PID/stat`. They hold on every Linux that Polypeer is
/// built for, except for the page size on some 64-bit ARM systems, where memory then reads too low.
const PAGE: u64 = 4096;
const TICKS: u64 = 100;
/// Most descendants that are followed: far above any limit on processes that a plugin may have.
const MAX_DESCENDANTS: usize = 100_000;
/// Most generations that are followed upwards: a tree of real processes has a few dozen.
const MAX_GENERATIONS: usize = 10_000;

/// One process of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Pid of its parent, or of the process that inherited it.
    pub parent: i32,
    /// State `Z` or `X`: it has ended and is not reaped yet.
    pub dead: bool,
    threads: u64,
    cpu_ticks: u64,
    resident_pages: u64,
}

/// Reads one `/proc/PID/stat` (proc_pid_stat(5)). The name in parentheses may hold anything, so fields are counted
/// from its last parenthesis.
fn parse(text: &str) -> Option<Process> {
    let (pid, _) = text.split_once(' ')?;
    let rest = text.get(text.rfind(')')? + 2..)?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.trim().parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        parent: i32::try_from(number(4)?).ok()?,
        dead: matches!(*fields.first()?, "Z" | "X"),
        threads: number(20)?,
        cpu_ticks: number(14)? + number(15)?,
        resident_pages: number(24)?,
    })
}

/// Reads one process; `None` once it is reaped.
fn process(pid: i32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The descendants of `root`, without `root`: only they are looked at, however many other processes the machine has.
pub fn descendants(root: i32) -> Vec<Process> {
    let mut found = Vec::new();
    let mut ahead = vec![root];
    while let Some(pid) = ahead.pop().filter(|_| found.len() < MAX_DESCENDANTS) {
        let Some(children) = children(pid) else { return among(&all(), root) };
        found.extend(children.iter().filter_map(|pid| process(*pid)));
        ahead.extend(children);
    }
    found
}

/// The children of a process, from `/proc/PID/task/TID/children`: each thread lists those it started. `None` if this
/// kernel has no such file (it is built without `CONFIG_PROC_CHILDREN`).
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) if thread.path().join("stat").exists() => return None,
            Err(_ended) => {}
        }
    }
    Some(found)
}

/// All processes visible to this one.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The descendants of `root` among `all`, without `root`.
fn among(all: &[Process], root: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut ahead = vec![root];
    while let Some(parent) = ahead.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(*child);
            ahead.push(child.pid);
        }
    }
    found
}

/// Whether `ancestor` started `pid`, over any number of generations. A process that cannot be read has none.
pub fn is_descendant(pid: i32, ancestor: i32) -> bool {
    let parents = std::iter::successors(process(pid), |process| self::process(process.parent));
    parents.take(MAX_GENERATIONS).any(|process| process.parent == ancestor)
}

/// Usage of all descendants of `root`. Memory is the sum of resident sizes, so shared pages count more than once.
pub fn usage(root: i32) -> Usage {
    let mut sum = Usage { memory_bytes: Some(0), cpu_us: Some(0), pids: Some(0) };
    for process in descendants(root).iter().filter(|process| !process.dead) {
        sum.memory_bytes = sum.memory_bytes.map(|bytes| bytes + process.resident_pages * PAGE);
        sum.cpu_us = sum.cpu_us.map(|us| us + process.cpu_ticks * 1_000_000 / TICKS);
        sum.pids = sum.pids.map(|pids| pids + process.threads);
    }
    sum
}

/// Usage of one process without its descendants.
pub fn of_process(pid: u32) -> Option<Usage> {
    let process = parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Usage {
        memory_bytes: Some(process.resident_pages * PAGE),
        cpu_us: Some(process.cpu_ticks * 1_000_000 / TICKS),
        pids: Some(process.threads),
    })
}

/// Resident memory of one process, bytes.
pub fn resident_bytes(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_line_with_a_hostile_name_is_read() {
        let line = "42 (a) Z 1 (b) S 7 42 42 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 100 9999 25 1";
        let process = parse(line).expect("a valid line");
        assert_eq!((process.pid, process.parent, process.dead), (42, 7, false));
        assert_eq!((process.threads, process.cpu_ticks, process.resident_pages), (3, 200, 25));
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let process = |pid, parent| Process { pid, parent, dead: false, threads: 1, cpu_ticks: 0, resident_pages: 0 };
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1)];
        let mut found: Vec<i32> = among(&all, 2).iter().map(|process| process.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }

    #[test]
    fn descendants_alone_are_looked_at_and_the_whole_table_says_the_same() {
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        let script = "sleep 60 & echo started; wait";
        let shell = std::process::Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn();
        let mut shell = shell.expect("a shell");
        let mut line = [0; 8];
        std::io::Read::read_exact(shell.stdout.as_mut().expect("a pipe"), &mut line).expect("it has started the other");
        let root = i32::try_from(shell.id()).expect("a pid fits");
        let found: Vec<i32> = descendants(root).iter().map(|process| process.pid).collect();
        let whole: Vec<i32> = among(&all(), root).iter().map(|process| process.pid).collect();
        assert_eq!((found.len(), &found), (1, &whole));
        assert!(is_descendant(found[0], root) && is_descendant(found[0], own));
        assert!(!is_descendant(own, root) && !is_descendant(root, root));
        assert!(usage(own).memory_bytes.is_some_and(|bytes| bytes > 0));
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(found[0]), nix::sys::signal::Signal::SIGKILL);
        shell.wait().expect("it ends");
        assert_eq!(descendants(root), []);
    }

    #[test]
    fn own_process_is_in_the_table() {
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        assert!(all().iter().any(|process| process.pid == own));
        assert!(resident_bytes(own).is_some_and(|bytes| bytes > 100_000));
        let usage = of_process(std::process::id()).expect("its own entry");
        assert!(usage.memory_bytes.is_some_and(|bytes| bytes > 100_000) && usage.pids.is_some_and(|pids| pids > 0));
    }
}
