//! System calls that no safe crate among the dependencies wraps.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::libc;
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::ForkResult;

/// Whether `path` carries this extended attribute with the value `1` (getxattr(2)).
#[allow(unsafe_code, reason = "getxattr has no safe wrapper in the crates we use")]
pub(crate) fn has_attribute(path: &Path, name: &str) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_encoded_bytes()) else { return false };
    let Ok(name) = CString::new(name) else { return false };
    let mut value = [0u8; 8];
    // SAFETY: both strings end in NUL and live through the call; `value` is writable for the length given with it.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    length == 1 && value[0] == b'1'
}

/// Switches the loopback interface of this process's network namespace on (netdevice(7)).
#[allow(unsafe_code, reason = "interface flags have no safe wrapper in the crates we use")]
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all zeroes is a valid `ifreq`: integers, and a union of integers and arrays of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    // SAFETY: the descriptor is open, and SIOCGIFFLAGS reads and writes one `ifreq`, which `request` is.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: after SIOCGIFFLAGS the union holds the flags; any bits are a valid integer.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: as above; SIOCSIFFLAGS reads one `ifreq`.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes ownership of a descriptor that was just received in a message.
#[allow(unsafe_code, reason = "received descriptors arrive as plain numbers")]
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: recvmsg returned it as new and open, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Sets every signal to its default action. Otherwise children would ignore what a shell or `nohup` made this process
/// ignore. SIGPIPE is left: this process needs it ignored, and the standard library resets it in a child.
#[allow(unsafe_code, reason = "changing a signal's action is unsafe, as handlers may be")]
pub(crate) fn default_signals() {
    for signal in
        Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE))
    {
        // SAFETY: the default action runs no code of ours.
        let changed = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
        debug_assert!(changed.is_ok(), "every signal but SIGKILL and SIGSTOP may be changed");
    }
}

/// Lets the kernel reap this process's children.
#[allow(unsafe_code, reason = "changing a signal's action is unsafe, as handlers may be")]
pub(crate) fn ignore_children() {
    // SAFETY: ignoring a signal runs no code of ours.
    let changed = unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    debug_assert!(changed.is_ok(), "SIGCHLD may be ignored");
}

/// Which of the two processes after [`fork`] this is.
#[derive(Debug)]
pub(crate) enum Forked {
    Parent {
        /// Pid of the other.
        child: i32,
    },
    Child,
}

/// Duplicates this process, which must have one thread only (fork(2)).
#[allow(unsafe_code, reason = "fork is unsafe where other threads may hold locks")]
pub(crate) fn fork() -> io::Result<Forked> {
    debug_assert_eq!(std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count), 1, "the only thread");
    // SAFETY: the callers are the fork server and the inits, which start no threads: no lock is held by another one.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent { child: child.as_raw() }),
        ForkResult::Child => Ok(Forked::Child),
    }
}
