//! The caller by the pipe's client process. Other users cannot open the pipe.

use interprocess::local_socket::traits::StreamCommon;
use polypeer_ipc_protocol::transport::LocalStream;

use super::RefusedCaller;

/// Checks the process at the other end; `is_confined` says whether a process is, or may be, a plugin's.
///
/// # Errors
/// When it must not use the control socket.
pub fn check(stream: &LocalStream, is_confined: impl FnOnce(i32) -> bool) -> Result<(), RefusedCaller> {
    let credentials = stream.peer_creds().map_err(|_| RefusedCaller::Unknown)?;
    let pid = credentials.pid().and_then(|pid| i32::try_from(pid).ok()).ok_or(RefusedCaller::Unknown)?;
    if is_confined(pid) { Err(RefusedCaller::Confined(pid)) } else { Ok(()) }
}
