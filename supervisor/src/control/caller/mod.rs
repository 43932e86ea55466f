//! Check of the process at the other end of a control connection. The same user is not enough, since plugins may run as
//! that user. So the kernel reports the caller's process, and one in a plugin's control group, in another pid
//! namespace, or started by the daemon is refused before its first byte is read. The secret is demanded as well.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::check;
#[cfg(windows)]
pub use windows::check;

/// Reasons to refuse a caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedCaller {
    #[error("caller of user {0}")]
    User(u32),
    /// The kernel does not report its process, which is in a pid namespace that is not below this one.
    #[error("caller whose process is not known")]
    Unknown,
    /// It belongs to a plugin, or has already ended.
    #[error("caller that is a plugin, or gone: process {0}")]
    Confined(i32),
}
