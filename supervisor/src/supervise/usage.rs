//! Usage of plugins, measured every few seconds on a thread for blocking work.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::UsageStatus;
use crate::files;
use crate::limits::Usage;

/// Interval of measuring memory, processor time and processes, while somebody asks for them.
pub(super) const PERIOD: Duration = Duration::from_secs(3);
/// How long it counts as asking after a request.
pub(super) const ASKING: Duration = Duration::from_secs(30);
/// Interval of measuring them otherwise, in periods.
pub(super) const UNASKED_EVERY: u64 = 5;
/// Interval of measuring data folders, in periods.
pub(super) const DISK_EVERY: u64 = 10;
/// Most files measured in a data folder; the size of further ones is not counted.
const MAX_FILES: usize = 200_000;

/// One measurement of one child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) usage: Usage,
    pub(super) disk_bytes: Option<u64>,
}

/// The latest measurements of one child.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    last: Option<Look>,
    cpu_percent: Option<f64>,
    disk_bytes: Option<u64>,
    most_memory_bytes: u64,
    most_pids: u64,
}

impl Meter {
    /// Adds a measurement.
    pub(super) fn look(&mut self, look: Look) {
        if let Some(last) = self.last
            && let (Some(before), Some(now)) = (last.usage.cpu_us, look.usage.cpu_us)
            && look.at > last.at
        {
            let wall = look.at.saturating_duration_since(last.at).as_micros().max(1) as f64;
            let percent = now.saturating_sub(before) as f64 * 100.0 / wall;
            self.cpu_percent = Some((percent * 10.0).round() / 10.0);
        }
        self.disk_bytes = look.disk_bytes.or(self.disk_bytes);
        self.most_memory_bytes = self.most_memory_bytes.max(look.usage.memory_bytes.unwrap_or_default());
        self.most_pids = self.most_pids.max(look.usage.pids.unwrap_or_default());
        self.last = Some(look);
    }

    /// Whether its processor time was measured between two looks, and so all of its use.
    pub(super) fn knows_use(&self) -> bool {
        self.cpu_percent.is_some()
    }

    /// Whether its folder was measured.
    pub(super) fn knows_disk(&self) -> bool {
        self.disk_bytes.is_some()
    }

    /// Most memory, bytes, and most processes and threads that were measured since the daemon started.
    pub(super) fn most(&self) -> (u64, u64) {
        (self.most_memory_bytes, self.most_pids)
    }

    /// Clears everything but the disk usage and what was most, when the child has ended.
    pub(super) fn ended(&mut self) {
        self.last = None;
        self.cpu_percent = None;
    }

    /// The status without the traffic, which netcore adds.
    pub(super) fn status(&self) -> UsageStatus {
        let usage = self.last.map(|last| last.usage).unwrap_or_default();
        UsageStatus {
            memory_bytes: usage.memory_bytes,
            cpu_percent: self.cpu_percent,
            pids: usage.pids,
            disk_bytes: self.disk_bytes,
            sent_bytes: None,
            received_bytes: None,
        }
    }
}

/// Bytes on disk of everything below `folder`, without following links. Blocks.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    let mut sum = 0;
    let mut files = 0;
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            sum += files::allocated_bytes(&metadata);
            files += 1;
            if files == MAX_FILES {
                return sum;
            }
            if metadata.is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_share_is_that_between_two_looks() {
        let start = Instant::now();
        let look = |seconds, cpu_us| Look {
            at: start + Duration::from_secs(seconds),
            usage: Usage { cpu_us: Some(cpu_us), ..Usage::default() },
            disk_bytes: None,
        };
        let mut meter = Meter::default();
        meter.look(look(0, 5_000_000));
        assert_eq!(meter.status().cpu_percent, None);
        meter.look(look(2, 6_000_000));
        assert_eq!(meter.status().cpu_percent, Some(50.0));
    }

    #[test]
    fn data_folder_is_measured_with_what_is_below() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("deep")).expect("writable");
        fs::write(folder.path().join("deep/file"), vec![1; 100_000]).expect("writable");
        assert!(disk_bytes(folder.path()) >= 100_000);
    }
}
