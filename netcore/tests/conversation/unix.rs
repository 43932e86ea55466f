//! Unix: the admin session is descriptor 3, a gateway is a listening socket.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use polypeer_ipc_protocol::transport::admin::{AdminChannel, Handover};
use tokio::process::{Child, Command};

pub(crate) fn start(home: &Path) -> (AdminChannel, Child) {
    let (channel, far) = AdminChannel::pair().expect("a pair");
    // The shell moves the socket from its standard input to descriptor 3.
    let child = Command::new("sh")
        .args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_polypeer-netcore"), "--home"])
        .arg(home)
        .stdin(Stdio::from(far))
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    (channel, child)
}

pub(crate) fn gateway(folder: &Path, launch: u64) -> (PathBuf, Handover) {
    let address = folder.join(format!("{launch}.sock"));
    let listener = UnixListener::bind(&address).expect("a socket");
    (address, listener.into())
}
