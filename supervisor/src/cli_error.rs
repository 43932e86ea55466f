//! Errors as the person at the keyboard sees them: a message, a hint and an exit code. Every error of this crate
//! becomes a [`CliError`] before it reaches a terminal or the control socket.

use std::fmt;

use polypeer_ipc_protocol::client::{ClientError, StreamError};
use polypeer_ipc_protocol::error::{ErrorCode, FIRST_CODE, Failure};
use serde::{Deserialize, Serialize};

use crate::home::HomeError;
use crate::install::InstallError;
use crate::store::StoreError;
use crate::toml_file::FileError;

/// Exit code of a command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// 1: the command failed.
    Failed,
    /// 2: wrong usage or bad input.
    Usage,
    /// 3: the daemon is not running.
    NotRunning,
    /// 4: refused by a grant, a limit, a block or the operator.
    Refused,
    /// 5: the peer cannot be reached.
    Unreachable,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
        }
    }
}

/// A failure, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CliError {
    pub exit: Exit,
    pub message: String,
    /// What to try next.
    pub hint: String,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: hint.into() }
    }

    /// An error with exit code 1.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message, hint)
    }

    /// An error with exit code 2: wrong usage or bad input.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    /// The object `error` of `--json`.
    pub fn document(&self) -> serde_json::Value {
        serde_json::json!({ "exit_code": self.exit.code(), "message": self.message, "hint": self.hint })
    }

    /// A failure of a stream or request to a plugin of this node. Nobody else is to be asked why.
    pub fn from_own_plugin(error: &ClientError) -> Self {
        let failure = error.failure();
        let told = Self::from_failure(&failure);
        match ErrorCode::from_number(failure.code).and_then(|code| Some((code, hint_for_own(code)?))) {
            Some((ErrorCode::NotServed, hint)) => {
                Self::new(told.exit, "no plugin of this node serves the protocol", hint)
            }
            Some((_, hint)) => Self { hint: hint.into(), ..told },
            None => told,
        }
    }

    /// A failure reported by another process, with the hint for its code.
    pub fn from_failure(failure: &Failure) -> Self {
        let known = ErrorCode::from_number(failure.code);
        let (message, remedy) = split_remedy(&failure.message);
        let whole = match known {
            Some(ErrorCode::HandlerFailed) if message.is_empty() => HANDLER_FAILED.to_owned(),
            Some(ErrorCode::HandlerFailed) => format!("{HANDLER_FAILED}: {message}"),
            // A full disk, or a bug: the text says which.
            Some(ErrorCode::Internal) if !message.is_empty() => message.to_owned(),
            _ => Failure { code: failure.code, message: message.to_owned() }.to_string(),
        };
        Self::new(exit_of(known), whole, remedy.unwrap_or_else(|| hint_for(known)))
    }
}

/// The words for `handler failed`.
const HANDLER_FAILED: &str = "the plugin's handler failed";

/// Takes the remedy off a failure's text, if its last part names a command: it is the better hint, and said once.
pub fn split_remedy(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once("; ") {
        Some((message, remedy)) if remedy.contains("polypeer ") => (message, Some(remedy)),
        _ => (text, None),
    }
}

fn exit_of(code: Option<ErrorCode>) -> Exit {
    match code {
        Some(
            ErrorCode::NotGranted
            | ErrorCode::PeerNotAllowed
            | ErrorCode::Blocked
            | ErrorCode::TooManyStreams
            | ErrorCode::Busy
            | ErrorCode::TooLarge
            | ErrorCode::Refused,
        ) => Exit::Refused,
        Some(ErrorCode::UnknownPeer | ErrorCode::Unreachable | ErrorCode::TimedOut) => Exit::Unreachable,
        Some(ErrorCode::BadArgument) => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn hint_for(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::NotGranted | ErrorCode::PeerNotAllowed) => {
            "see what is granted with `polypeer plugin grants ID`, here and on the other node"
        }
        Some(ErrorCode::Blocked) => "remove a block with `polypeer peers unblock PEER`, or ask the other operator to",
        Some(ErrorCode::UnknownPeer) => "ask the other operator for a ticket (polypeer ticket) and use that",
        Some(ErrorCode::Unreachable | ErrorCode::TimedOut) => {
            "check that the other node is running; `polypeer doctor PEER` shows what was tried"
        }
        Some(ErrorCode::NotServed) => "ask its operator which plugins run there (polypeer plugin list)",
        Some(ErrorCode::AlreadyServed) => "choose another protocol, or end what serves it",
        Some(ErrorCode::TooManyStreams | ErrorCode::Busy) => "try again in a moment",
        Some(ErrorCode::ConnectionLost) => "try again; `polypeer status` shows whether the network core is running",
        Some(ErrorCode::ShuttingDown) => "try again once the node that is stopping runs again",
        Some(ErrorCode::HandlerFailed) => "its operator sees why in the plugin's log (polypeer plugin logs ID)",
        Some(ErrorCode::TooLarge) => "use a stream for more: `polypeer pipe`",
        Some(ErrorCode::Internal) => "see `polypeer doctor` and `polypeer logs`",
        Some(ErrorCode::Refused) => "the other node refused it; ask its operator",
        Some(ErrorCode::BadArgument) => "check the arguments",
        _ => "run `polypeer doctor`",
    }
}

/// The hint for a code that came from a plugin of this node, if it is another one than for a peer's.
fn hint_for_own(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::NotServed => {
            "`polypeer plugin list` shows the plugins of this node, `polypeer plugin info ID` what one serves"
        }
        ErrorCode::Refused => {
            "see `polypeer plugin logs ID`; what takes no streams (`polypeer pipe`) may take requests (`polypeer request`)"
        }
        ErrorCode::Unreachable | ErrorCode::TimedOut | ErrorCode::HandlerFailed => {
            "see why in the plugin's log: `polypeer plugin logs ID`"
        }
        _ => return None,
    })
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<HomeError> for CliError {
    fn from(error: HomeError) -> Self {
        let exit = match error {
            HomeError::Nowhere | HomeError::Foreign { .. } | HomeError::NotText { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string(), error.hint())
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        Self::usage(error.to_string(), error.hint())
    }
}

impl From<InstallError> for CliError {
    fn from(error: InstallError) -> Self {
        let exit = match error {
            InstallError::Io { .. } => Exit::Failed,
            InstallError::Changed { .. } => Exit::Refused,
            _ => Exit::Usage,
        };
        Self::new(exit, error.to_string(), error.hint())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string(), error.hint())
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::from_failure(&failure)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::from_failure(&error.failure())
    }
}

/// The error for a stream that failed while it was read or written.
pub fn of_stream(error: &std::io::Error) -> CliError {
    let code = match StreamError::of(error) {
        Some(StreamError::Reset { code } | StreamError::Stopped { code }) => ErrorCode::from_number(*code),
        Some(StreamError::Lost) => Some(ErrorCode::ConnectionLost),
        _ => None,
    };
    if code == Some(ErrorCode::HandlerFailed) {
        return CliError::from_failure(&ErrorCode::HandlerFailed.into());
    }
    let hint = match StreamError::of(error) {
        Some(StreamError::Reset { code } | StreamError::Stopped { code }) if *code < FIRST_CODE => {
            "the program at the other end ended the stream for a reason of its own; see its log"
        }
        _ => hint_for(code),
    };
    CliError::new(exit_of(code), error.to_string(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_the_documented_exit_codes() {
        for (code, exit) in [
            (ErrorCode::NotGranted, 4),
            (ErrorCode::Blocked, 4),
            (ErrorCode::Unreachable, 5),
            (ErrorCode::UnknownPeer, 5),
            (ErrorCode::BadArgument, 2),
            (ErrorCode::NotServed, 1),
            (ErrorCode::ConnectionLost, 1),
            (ErrorCode::HandlerFailed, 1),
        ] {
            let error = CliError::from_failure(&code.into());
            assert_eq!(error.exit.code(), exit, "{code}");
            assert!(!error.hint.is_empty());
        }
    }

    #[test]
    fn remedy_of_a_failure_is_its_hint_and_said_once() {
        let failure = Failure::new(ErrorCode::Blocked, "x is blocked on this node; run: polypeer peers unblock x");
        let error = CliError::from_failure(&failure);
        assert_eq!(error.message, "blocked: x is blocked on this node");
        assert_eq!(error.hint, "run: polypeer peers unblock x");
        let error = CliError::from_failure(&Failure::new(ErrorCode::Refused, "not today; come back"));
        assert_eq!(error.message, "refused: not today; come back");
    }

    #[test]
    fn failure_at_the_own_node_sends_nobody_to_another_operator() {
        for code in [ErrorCode::NotServed, ErrorCode::Refused, ErrorCode::TimedOut, ErrorCode::HandlerFailed] {
            let error = CliError::from_own_plugin(&ClientError::Refused(code.into()));
            assert!(error.hint.contains("`polypeer plugin ") && !error.hint.contains("operator"), "{error:?}");
            assert!(!error.hint.contains("other node") && !error.message.contains("other side"), "{error:?}");
            assert_eq!(error.exit, CliError::from_failure(&code.into()).exit);
        }
        let error = CliError::from_own_plugin(&ClientError::Refused(ErrorCode::Busy.into()));
        assert_eq!(error, CliError::from_failure(&ErrorCode::Busy.into()));
    }

    #[test]
    fn every_code_has_a_hint() {
        for code in ErrorCode::ALL {
            assert!(!hint_for(Some(*code)).is_empty(), "{code}");
        }
    }
}
