//! The fork server: forks an init for each request, and ends with its socket. What it has, each init has: nothing but
//! this program and one descriptor.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setpgid};

use super::{SUBCOMMAND, TITLE};
use crate::kernel::{Forked, default_signals, fork, ignore_children};
use crate::process::channel::{Received, receive, send};
use crate::process::launch::Birth;
use crate::process::message::Report;

/// Why [`serve`] returned.
pub(super) enum Served {
    /// The supervisor has ended.
    Everything,
    /// In a new process, whose descriptors 0, 1 and 2 are its own.
    Born,
}

/// Serves the supervisor at the other end of `socket`, descriptor 0.
pub(super) fn serve(socket: BorrowedFd<'_>, mark: &str) -> io::Result<Served> {
    ignore_children();
    // A command line is for people, and for the reaper, which knows the one that this process was run with as well.
    let _ = name(TITLE, Path::new(mark));
    while let Some(Received { message: birth, descriptors, .. }) = receive::<Birth>(socket)? {
        let [own, output, errors] = <[_; 3]>::try_from(descriptors)
            .map_err(|descriptors| io::Error::other(format!("{} descriptors instead of 3", descriptors.len())))?;
        match fork() {
            Ok(Forked::Parent { .. }) => {}
            Ok(Forked::Child) => {
                dup2_stdin(own)?;
                dup2_stdout(output)?;
                dup2_stderr(errors)?;
                default_signals();
                setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
                let _ = name(&birth.title, &birth.mark); // as above
                return Ok(Served::Born);
            }
            Err(error) => {
                let reason = format!("cannot start its init: {error}");
                let _ = send(own.as_fd(), &Report::Failed { reason }, &[]);
            }
        }
    }
    Ok(Served::Everything)
}

/// Makes the command line of this process `TITLE internal-init MARK`, within the room that it has (proc_pid_stat(5),
/// `arg_start` and `arg_end`; proc_pid_mem(5)).
fn name(title: &str, mark: &Path) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Fields are counted from the name, which may hold anything: the first after it is the third.
    let place = |field: usize| stat.rsplit(')').next()?.split_whitespace().nth(field - 3)?.parse::<u64>().ok();
    let (Some(start), Some(end)) = (place(48), place(49)) else { return Err(io::Error::other("no command line")) };
    let mut line = Vec::new();
    for word in [title.as_bytes(), SUBCOMMAND.as_bytes(), mark.as_os_str().as_encoded_bytes()] {
        line.extend_from_slice(word);
        line.push(0);
    }
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or_default();
    if line.len() > room {
        return Err(io::Error::other(format!("a command line of {} bytes; there is room for {room}", line.len())));
    }
    line.resize(room, 0);
    let mut memory = File::options().write(true).open("/proc/self/mem")?;
    memory.seek(SeekFrom::Start(start))?;
    memory.write_all(&line)
}
