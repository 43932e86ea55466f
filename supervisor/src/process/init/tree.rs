//! Kills all descendants where there is no pid namespace to do it. The init is the subreaper, so everything that the
//! child started is among them, even what detached itself.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::limits::pauses;
use crate::limits::sampled::descendants;

/// Time limit for killing.
const TIME: Duration = Duration::from_secs(2);

/// Kills and reaps all descendants.
pub(super) fn take_down() {
    let deadline = Instant::now() + TIME;
    let mut pauses = pauses();
    while Instant::now() < deadline {
        let left = descendants(getpid().as_raw());
        for process in left.iter().filter(|process| !process.dead) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                // No children left.
                Err(_) => return,
            }
        }
        thread::sleep(pauses.next().unwrap_or_default());
    }
}
