//! Universal time: neither the time zone nor the calendar is asked for.

use super::Local;

/// Unix seconds as a time of day in universal time.
pub(super) fn local(at: u64) -> Local {
    let part = |seconds: u64, of: u64| u32::try_from(at / seconds % of).unwrap_or_default();
    Local { date: None, time: (part(3600, 24), part(60, 60)) }
}
