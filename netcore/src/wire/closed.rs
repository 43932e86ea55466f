//! Reasons why a connection is closed, as text and code.

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use quinn::{ConnectionError, VarInt};

/// The reason why a connection is closed, as QUIC reports it.
pub(crate) fn why_closed(connection: &quinn::Connection) -> Failure {
    let text = match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            let reason: String = String::from_utf8_lossy(&close.reason).chars().filter(|c| !c.is_control()).collect();
            let text = format!("the peer closed the connection: {reason}").trim_end_matches([':', ' ']).to_owned();
            match ErrorCode::from_number(code_of(close.error_code)) {
                Some(code) if CLOSE_CODES.contains(&code) => return Failure::new(code, text),
                _ => text,
            }
        }
        Some(ConnectionError::TimedOut) => "the peer fell silent".to_owned(),
        Some(ConnectionError::Reset) => "the peer was restarted".to_owned(),
        Some(ConnectionError::LocallyClosed) => "this node closed the connection".to_owned(),
        Some(other) => other.to_string(),
        None => "the connection is closing".to_owned(),
    };
    Failure::new(ErrorCode::ConnectionLost, text)
}

/// Close codes that are passed on to plugins; every other one becomes `connection lost`.
const CLOSE_CODES: &[ErrorCode] =
    &[ErrorCode::Blocked, ErrorCode::Refused, ErrorCode::PeerMisbehaved, ErrorCode::ShuttingDown];

/// A QUIC error code as one of ours, which have 24 bits; `internal` if it is larger.
pub(crate) fn code_of(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).ok().filter(|code| *code < 1 << 24).unwrap_or(ErrorCode::Internal.number())
}
