//! Local time as the C library knows it.

use nix::libc;

use super::Local;

/// Unix seconds in local time; without a date what no calendar has.
#[allow(unsafe_code, reason = "only the C library knows the time zone")]
pub(super) fn local(at: u64) -> Local {
    let at = libc::time_t::try_from(at).unwrap_or_default();
    // SAFETY: all zeros is a valid `tm`: numbers, and a null pointer.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to values that live until the call has returned. The environment is not changed meanwhile:
    // nothing in this program does that.
    if unsafe { libc::localtime_r(&raw const at, &raw mut parts) }.is_null() {
        return Local { date: None, time: (0, 0) };
    }
    let number = |part: libc::c_int| u32::try_from(part).unwrap_or_default();
    Local {
        date: Some((i64::from(parts.tm_year) + 1900, number(parts.tm_mon) + 1, number(parts.tm_mday))),
        time: (number(parts.tm_hour), number(parts.tm_min)),
    }
}
