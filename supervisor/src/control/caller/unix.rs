//! The caller by the socket's peer credentials.

use tokio::net::UnixStream;

use super::RefusedCaller;

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
