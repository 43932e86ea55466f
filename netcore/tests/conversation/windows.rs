//! Windows: the admin session is stdin and stdout, a gateway is the name of a pipe that the network core makes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use polypeer_ipc_protocol::transport::admin::{AdminChannel, Handover};
use tokio::process::{Child, Command};

pub(crate) fn start(home: &Path) -> (AdminChannel, Child) {
    let (channel, far) = AdminChannel::pair().expect("a pair");
    let child = Command::new(env!("CARGO_BIN_EXE_polypeer-netcore"))
        .arg("--home")
        .arg(home)
        .stdin(Stdio::from(far.reader))
        .stdout(Stdio::from(far.writer))
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    (channel, child)
}

pub(crate) fn gateway(folder: &Path, launch: u64) -> (PathBuf, Handover) {
    let folder = folder.file_name().expect("a name drawn at random").to_string_lossy();
    let name = PathBuf::from(format!(r"\\.\pipe\polypeer-test-{folder}-{launch}"));
    (name.clone(), name)
}
