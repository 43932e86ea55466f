//! SIGINT and SIGTERM stop the daemon. SIGHUP means: read the configuration again. A terminal that is closed sends it,
//! too, so the daemon outlives its terminal. `nohup` makes it ignored, and it stays so.

use std::io;

use nix::sys::signal::{SigHandler, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Order;

/// Listens from its creation on.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Absent when it is ignored.
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        let hangup = if ignores_hangup()? { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// Until somebody wants the daemon to stop.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Order::Stop {}
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Order {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.terminate.recv() => Order::Stop,
            _ = hangup => Order::Reload,
        }
    }
}

/// Whether this process was started with SIGHUP ignored. Leaves it ignored.
#[allow(unsafe_code, reason = "changing a signal's action is unsafe, as handlers may be")]
pub(crate) fn ignores_hangup() -> io::Result<bool> {
    // SAFETY: ignoring a signal runs no code of ours.
    let before = unsafe { nix::sys::signal::signal(Number::SIGHUP, SigHandler::SigIgn) }?;
    Ok(matches!(before, SigHandler::SigIgn))
}
