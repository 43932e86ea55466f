//! What a conversation shows: lines of data, or on a terminal lines above the one that is being typed.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::editor::Above;
use crate::cli_error::CliError;
use crate::output::Printer;

/// Where messages are shown.
pub(super) enum Screen {
    Lines(Printer),
    Terminal {
        above: Above,
        /// The editor may be reading when the conversation ends.
        _mode: system::Mode,
    },
}

impl Screen {
    pub(super) fn terminal(above: Above, mode: system::Mode) -> Self {
        Self::Terminal { above, _mode: mode }
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Shows a line; when this returns, it is out.
    pub(super) fn show(&mut self, text: &str) -> Result<(), CliError> {
        match self {
            Self::Lines(printer) => printer.data(text),
            Self::Terminal { above, .. } => {
                let printed = tokio::task::block_in_place(|| above.print(text));
                printed.map_err(|error| CliError::failed(format!("failed to write the terminal: {error}"), "try again"))
            }
        }
    }
}

/// The mode of the terminal before the editor changes it.
pub(super) fn mode() -> system::Mode {
    system::Mode::now()
}
