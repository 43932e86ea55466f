//! Usage of a process and its descendants, read from `/proc`, where there are no control groups. A process that
//! detached itself from the tree is still found, because the init is the subreaper of all of them.

use std::collections::HashMap;
use std::fs;

use super::Usage;

/// Bytes per page and clock ticks per second, the units of `/proc/PID/stat`. They hold on every Linux that Polypeer is
/// built for, except for the page size on some 64-bit ARM systems, where memory then reads too low.
const PAGE: u64 = 4096;
const TICKS: u64 = 100;

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

/// All processes visible to this one.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

/// The descendants of `root` among `all`, without `root`.
pub fn descendants(all: &[Process], root: i32) -> Vec<Process> {
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

/// Usage of all descendants of `root`. Memory is the sum of resident sizes, so shared pages count more than once.
pub fn usage(root: i32) -> Usage {
    let mut sum = Usage { memory_bytes: Some(0), cpu_us: Some(0), pids: Some(0) };
    for process in descendants(&processes(), root).iter().filter(|process| !process.dead) {
        sum.memory_bytes = sum.memory_bytes.map(|bytes| bytes + process.resident_pages * PAGE);
        sum.cpu_us = sum.cpu_us.map(|us| us + process.cpu_ticks * 1_000_000 / TICKS);
        sum.pids = sum.pids.map(|pids| pids + process.threads);
    }
    sum
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
        let mut found: Vec<i32> = descendants(&all, 2).iter().map(|process| process.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }

    #[test]
    fn own_process_is_in_the_table() {
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        assert!(processes().iter().any(|process| process.pid == own));
        assert!(resident_bytes(own).is_some_and(|bytes| bytes > 100_000));
    }
}
