//! The second stage: sets up the confinement, starts the child, and serves until the child or the supervisor ends.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::{mounts, privileges, tree};
use crate::kernel::{default_signals, raise_loopback};
use crate::limits::Measure;
use crate::process::Outcome;
use crate::process::channel::{receive, send, send_about};
use crate::process::launch::Setup;
use crate::process::message::{Order, Report};

/// Names of the namespaces, as measures and as told by the first stage.
pub(super) const USER: &str = "user_namespace";
pub(super) const MOUNT: &str = "mount_namespace";
pub(super) const PID: &str = "pid_namespace";
pub(super) const NETWORK: &str = "network_namespace";

/// Interval between two attempts to connect to the readiness port.
const PROBE: Duration = Duration::from_millis(100);

pub(super) fn run(socket: BorrowedFd<'_>, standing: &[&str]) -> Result<(), String> {
    let stands = |name: &str| standing.contains(&name);

    // 1. The setup and the child's descriptors. First, while nothing else is open, so that they get the numbers 3, 4, …
    //    that the child expects. The socket itself must not reach the child.
    let order = receive::<Setup>(socket).map_err(|error| format!("no order arrived: {error}"))?;
    let Some(order) = order else { return Ok(()) };
    let setup = order.message;
    close_on_exec(socket, true)?;
    for (place, descriptor) in (3..).zip(&order.descriptors) {
        if descriptor.as_raw_fd() != place {
            return Err(format!("descriptor {} is not where {place} should be", descriptor.as_raw_fd()));
        }
        close_on_exec(descriptor.as_fd(), false)?;
    }

    // 2. Signals as readable events, before anything is started, so that none is missed.
    let mut awaited = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        awaited.add(signal);
    }
    awaited.thread_block().map_err(|error| error.to_string())?;
    let signals = SignalFd::with_flags(&awaited, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| error.to_string())?;

    // 3. A session of its own: the terminal's signals are for the supervisor.
    setsid().map_err(|error| format!("cannot start a session: {error}"))?;
    if !stands(PID) {
        prctl::set_child_subreaper(true).map_err(|error| format!("cannot become subreaper: {error}"))?;
    }

    // 4. The view of the file system, while the init still has the rights.
    let mut measures = Vec::new();
    if stands(MOUNT) {
        measures.extend(mounts::arrange(&setup, stands(PID)));
    } else {
        measures.extend(mounts::missing(&setup, "it takes a mount namespace"));
    }
    if stands(NETWORK) {
        measures.push(Measure::from_result("own_loopback", raise_loopback()));
    }

    // 5. Limits and dropped rights, just before the child inherits them.
    measures.extend(privileges::give_up(&setup, stands(USER)));
    for measure in measures {
        send(socket, &Report::Measure(measure), &[]).map_err(|error| error.to_string())?;
    }

    // 6. The child. It inherits the signal mask, so no signal is blocked at this moment; serving starts with a reap, in
    //    case a SIGCHLD was missed.
    default_signals();
    SigSet::empty().thread_set_mask().map_err(|error| error.to_string())?;
    let started = start(&setup);
    awaited.thread_block().map_err(|error| error.to_string())?;
    let mut child = started?;
    drop(order.descriptors);
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    let told = match stands(PID) {
        true => send_about(socket, &Report::Running { pid: None }, pid),
        false => send(socket, &Report::Running { pid: Some(pid) }, &[]),
    };
    told.map_err(|error| format!("cannot report the pid: {error}"))?;

    // 7. The init's own rights, which it no longer needs.
    privileges::give_up_own();
    serve(socket, &signals, &mut child, setup.ready_port);
    tree::take_down();
    Ok(())
}

fn close_on_exec(descriptor: BorrowedFd<'_>, close: bool) -> Result<(), String> {
    let flags = if close { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(descriptor, FcntlArg::F_SETFD(flags)).map(drop).map_err(|error| error.to_string())
}

/// Starts the child with the init's descriptors 1 and 2, and `/dev/null` as 0.
fn start(setup: &Setup) -> Result<Child, String> {
    std::env::set_current_dir(&setup.folder)
        .map_err(|error| format!("cannot enter {}: {error}", setup.folder.display()))?;
    let (program, arguments) = setup.command.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(setup.environment.iter().map(|(name, value)| (name, value)));
    // A process group of its own: signals to it reach shells and their children, but not the init.
    command.stdin(Stdio::null()).process_group(0);
    privileges::with_kill_order(|| command.spawn()).map_err(|error| format!("cannot run {program}: {error}"))
}

/// Serves until the child or the supervisor has ended.
fn serve(socket: BorrowedFd<'_>, signals: &SignalFd, child: &mut Child, mut ready_port: Option<u16>) {
    loop {
        if let Some(outcome) = reap(child) {
            let _ = send(socket, &Report::Ended(outcome), &[]);
            return;
        }
        let mut events = [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let timeout = match ready_port {
            Some(_) => PollTimeout::from(u16::try_from(PROBE.as_millis()).unwrap_or(u16::MAX)),
            None => PollTimeout::NONE,
        };
        match poll(&mut events, timeout) {
            Err(Errno::EINTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let [told, signalled] = events.map(|event| event.any().unwrap_or(true));
        if told {
            match receive::<Order>(socket) {
                Ok(Some(order)) => match order.message {
                    Order::Terminate => terminate(child),
                },
                // The supervisor has ended.
                Ok(None) | Err(_) => return,
            }
        }
        if signalled {
            while let Ok(Some(signal)) = signals.read_signal() {
                if signal.ssi_signo != Signal::SIGCHLD as u32 {
                    terminate(child);
                }
            }
        }
        if ready_port.is_some_and(answers) {
            ready_port = None;
            let _ = send(socket, &Report::Ready, &[]);
        }
    }
}

fn terminate(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Reaps all ended processes; returns the outcome of the child if it is one of them.
fn reap(child: &mut Child) -> Option<Outcome> {
    // The child first: the standard library reports every signal, the other call only those with a name.
    let status = match child.try_wait() {
        Ok(Some(status)) => {
            Some(status.code().map_or_else(|| Outcome::Signalled(status.signal().unwrap_or_default()), Outcome::Exited))
        }
        _ => None,
    };
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return status,
            // The child ended between the two calls.
            Ok(ended) if ended.pid().is_some_and(|pid| u32::try_from(pid.as_raw()) == Ok(child.id())) => {
                return status.or(Some(match ended {
                    WaitStatus::Exited(_, status) => Outcome::Exited(status),
                    WaitStatus::Signaled(_, signal, _) => Outcome::Signalled(signal as i32),
                    _ => Outcome::InitLost,
                }));
            }
            // A helper ended, perhaps by a signal without a name.
            Ok(_) | Err(_) => {}
        }
    }
}

fn answers(port: u16) -> bool {
    [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        .iter()
        .any(|address| TcpStream::connect_timeout(address, PROBE).is_ok())
}
