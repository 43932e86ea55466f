//! Names of signals, which Windows does not have.

/// Nothing.
pub(super) fn signal_name(_number: i32) -> Option<&'static str> {
    None
}
