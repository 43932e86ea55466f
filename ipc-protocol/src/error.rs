//! The table of error codes, and failures as they cross a process. A code is a stable number from [`FIRST_CODE`] up;
//! lower codes belong to applications, which reset and stop streams with them. Text is for people and may change.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_MESSAGE;

/// The lowest of Polypeer's codes; lower ones belong to applications.
pub const FIRST_CODE: u32 = 0x1_0000;

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal, $meaning:literal;)*) => {
        /// A code of Polypeer's. Its number never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ErrorCode { $(#[doc = $meaning] $name = FIRST_CODE + $number,)* }

        impl ErrorCode {
            /// Every code, in order of number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code's name in `SPEC.md`, the SDKs and error texts.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the code means, in one sentence for people: the text of a failure that has no other.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// The code with this number, if this version knows it.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number.checked_sub(FIRST_CODE) { $(Some($number) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    Complete = 0, "complete", "everything written, and its end, has arrived at the other node";
    Malformed = 1, "malformed", "a frame or message breaks the specification";
    Unauthorised = 2, "unauthorised", "wrong token or session secret";
    UnsupportedVersion = 3, "unsupported version", "no common version of this protocol";
    Unsupported = 4, "unsupported", "a request this netcore does not know";
    NotGranted = 5, "not granted", "the plugin has no grant for it";
    PeerNotAllowed = 6, "peer not allowed", "the plugin's grants, or the other side's, do not include this peer";
    Blocked = 7, "blocked", "the operator has blocked the peer, or the peer has blocked this node";
    UnknownPeer = 8, "unknown peer", "no address is known for the peer";
    Unreachable = 9, "unreachable", "addresses are known, but none answered as that peer";
    NotServed = 10, "protocol not served", "nothing on the other side serves this protocol";
    AlreadyServed = 11, "protocol already served", "another plugin of this node serves this protocol";
    TooManyStreams = 12, "too many streams", "the plugin has too many streams open to this peer, or in all";
    Busy = 13, "busy", "a limit or a rate limit is reached; try again later";
    TooLarge = 14, "too large", "a payload over its limit";
    TimedOut = 15, "timed out", "no answer within the time allowed";
    Cancelled = 16, "cancelled", "the caller cancelled";
    ConnectionLost = 17, "connection lost", "the other end or the path is gone: the stream was cut, not ended";
    Superseded = 18, "superseded", "a newer session of the same launch took over";
    NoSuchStream = 19, "no such stream", "no such stream is waiting to be claimed";
    ShuttingDown = 20, "shutting down", "the node or the plugin is stopping";
    Refused = 21, "refused", "the other plugin declined";
    Internal = 22, "internal error", "a bug or an exhausted resource in Polypeer itself";
    BadArgument = 23, "bad argument", "a value that is well formed but invalid here";
    PeerMisbehaved = 24, "peer misbehaved", "the peer broke the protocol between nodes";
    HandlerFailed = 25, "handler failed", "the other plugin failed while it handled the stream or call; its log says why";
}

impl ErrorCode {
    /// The stable number.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The name of one of Polypeer's codes, or the number of an application's.
pub fn describe(code: u32) -> String {
    match ErrorCode::from_number(code) {
        Some(known) => known.text().to_owned(),
        None if code < FIRST_CODE => format!("application code {code}"),
        None => format!("unknown code {code}"),
    }
}

/// A plugin's code as the other side sees it. Of Polypeer's codes a plugin may send `handler failed`, which is about
/// itself; the others become `refused`, so that it cannot pretend to be Polypeer.
pub const fn from_plugin(code: u32) -> u32 {
    if code < FIRST_CODE || code == ErrorCode::HandlerFailed.number() { code } else { ErrorCode::Refused.number() }
}

/// A failure as it crosses a process: a stable code and a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}{}{message}", describe(*code), if message.is_empty() { "" } else { ": " })]
pub struct Failure {
    /// One of [`ErrorCode`], of a later version, or an application's.
    pub code: u32,
    /// What failed, where, and what to do. At most 1,024 bytes.
    pub message: String,
}

impl Failure {
    /// A failure whose text is cut to the limit at a character boundary.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.number(), message: message.into() }.cut()
    }

    /// Cuts the text to the limit at a character boundary.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.message.truncate(self.message.floor_char_boundary(MAX_MESSAGE));
        self
    }

    /// A plugin's failure as the other side sees it: see [`from_plugin`].
    #[must_use]
    pub fn from_plugin(self) -> Self {
        Self { code: from_plugin(self.code), ..self }.cut()
    }

    /// Whether it has this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.number()
    }
}

/// A failure that says no more than its code means.
impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code: code.number(), message: code.meaning().to_owned() }
    }
}
