//! Who is at the other end of a control connection. Being the same user is not enough: a plugin may be that too. So the
//! kernel is asked for the caller's process, and one in a plugin's control group, in a pid namespace other than ours, or
//! started by us, is refused before its first byte is read. The secret is asked for as well.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::check;
#[cfg(windows)]
pub use windows::check;

/// Why a caller is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedCaller {
    /// Another user.
    #[error("caller of user {0}")]
    User(u32),
    /// The kernel does not say which process: it is in a namespace that is not below ours.
    #[error("caller whose process is not known")]
    Unknown,
    /// A plugin, or a process that is gone already.
    #[error("caller that is a plugin, or gone: process {0}")]
    Confined(i32),
}
