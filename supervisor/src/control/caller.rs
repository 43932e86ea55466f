//! Who is at the other end of a control connection. Being the same user is not enough: a plugin may be that too. So the
//! kernel is asked for the caller's process, and one in a plugin's control group, in a pid namespace other than ours, or
//! started by us, is refused before its first byte is read. The secret is asked for as well.

use tokio::net::UnixStream;

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

/// Checks the process at the other end; `is_confined` says whether a process is, or may be, a plugin's.
///
/// # Errors
/// When it must not use the control socket.
pub fn check(stream: &UnixStream, is_confined: impl FnOnce(i32) -> bool) -> Result<(), RefusedCaller> {
    let credentials = stream.peer_cred().map_err(|_| RefusedCaller::Unknown)?;
    let own = nix::unistd::geteuid().as_raw();
    if credentials.uid() != own && credentials.uid() != 0 {
        return Err(RefusedCaller::User(credentials.uid()));
    }
    if cfg!(not(target_os = "linux")) {
        return Ok(()); // There are neither namespaces nor control groups.
    }
    let pid = credentials.pid().filter(|pid| *pid > 0).ok_or(RefusedCaller::Unknown)?;
    if is_confined(pid) { Err(RefusedCaller::Confined(pid)) } else { Ok(()) }
}
