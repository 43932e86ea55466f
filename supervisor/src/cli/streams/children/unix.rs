//! Process groups, and the signals that end a command.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::daemon::signals::ignores_hangup;

/// Gives the process a group of its own and, on Linux, an end when this process is killed.
pub(super) fn prepare(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    die_with_us(command);
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the kernel takes the signal of a parent's death from the child itself only")]
fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
}

/// A process group.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    /// The group that a process of [`prepare`] leads.
    pub(super) fn of(process: &Child) -> Self {
        Self(process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = killpg(group, signal); // It may have ended a moment ago.
        }
    }
}

/// Whether a file can be run.
pub(super) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Waits until somebody ends this command: Ctrl-C, SIGTERM, or a closed terminal.
pub(in crate::cli::streams) async fn interrupted() {
    // `nohup` makes SIGHUP ignored, and it stays so.
    let hangup = (!ignores_hangup().unwrap_or(true)).then(SignalKind::hangup);
    let mut waits = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup) {
        // Without a handler the signal ends the process as ever, and with it its children on Linux.
        waits.extend(signal(kind).ok());
    }
    std::future::poll_fn(|cx| match waits.iter_mut().any(|wait| wait.poll_recv(cx).is_ready()) {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    })
    .await;
}
