//! Files of logs: `NAME.log`, and the rotated ones, of which `NAME.log.1` is the newest. Written by `rotating`, for
//! [`crate::process::log`]; read by `read`, for `polypeer logs` and `polypeer plugin logs`.

mod read;
mod rotating;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use read::latest;
pub(crate) use rotating::Rotating;

/// Size at which a file is rotated, bytes.
pub(crate) const FILE_SIZE: u64 = 4 << 20;
/// Rotated files of a log, at most.
pub(crate) const OLD_FILES: usize = 3;

/// The existing files of a log: `NAME.log`, then the rotated ones.
pub(crate) fn files_of(folder: &Path, name: &str) -> Vec<PathBuf> {
    let first = folder.join(format!("{name}.log"));
    let old = (1..=OLD_FILES).map(|number| rotated(&first, number));
    std::iter::once(first.clone()).chain(old).filter(|path| path.exists()).collect()
}

/// The path of a rotated file, counted from 1.
fn rotated(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// `2026-11-22T16:20:00.123Z` (RFC 3339). The date from the day count after Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_795_363_200), "2026-11-22T16:00:00.000Z");
    }
}
