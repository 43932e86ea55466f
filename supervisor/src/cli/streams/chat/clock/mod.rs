//! The time of a message in the clock of whoever looks at it.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// A moment in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Local {
    /// Year, month and day, where the system tells.
    date: Option<(i64, u32, u32)>,
    time: (u32, u32),
}

/// Formats Unix seconds: the time, and before it the date unless that is today's.
pub(super) fn shown(at: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    formatted(system::local(at), system::local(now))
}

fn formatted(at: Local, now: Local) -> String {
    let time = format!("{:02}:{:02}", at.time.0, at.time.1);
    match at.date.filter(|_| at.date != now.date) {
        Some((year, month, day)) => format!("{year:04}-{month:02}-{day:02} {time}"),
        None => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_shown_unless_it_is_todays() {
        let at = Local { date: Some((2026, 11, 9)), time: (4, 5) };
        assert_eq!(formatted(at, at), "04:05");
        assert_eq!(formatted(at, Local { date: Some((2026, 11, 10)), ..at }), "2026-11-09 04:05");
        assert!(!shown(0).is_empty() && !shown(u64::MAX).is_empty());
    }
}
