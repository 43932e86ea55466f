//! Options of named pipes on Windows.

use interprocess::local_socket::ListenerOptions;
use interprocess::os::windows::local_socket::ListenerOptionsExt;
use interprocess::os::windows::security_descriptor::SecurityDescriptor;
use widestring::u16cstr;

/// Only the pipe's owner may connect, from this machine: the access list inherits nothing and names the owner alone
/// (SDDL: `OW` is "owner rights", `GA` all of them). Without it, everybody may read.
pub(super) fn for_owner(options: ListenerOptions<'_>) -> std::io::Result<ListenerOptions<'_>> {
    let owner = SecurityDescriptor::deserialize(u16cstr!("D:P(A;;GA;;;OW)"))?;
    Ok(options.security_descriptor(owner))
}
