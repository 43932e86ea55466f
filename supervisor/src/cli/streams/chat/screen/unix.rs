//! The terminal's mode, restored when the conversation ends while the editor reads.

use std::io;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// A mode; dropping it restores it.
pub(in crate::cli::streams::chat) struct Mode(Option<Termios>);

impl Mode {
    pub(super) fn now() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        if let Some(mode) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, mode); // The terminal may be gone.
        }
    }
}
