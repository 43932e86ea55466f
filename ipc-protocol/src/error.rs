//! The table of error codes, and failures as they cross a process. A code is a stable number from [`FIRST_CODE`] up;
//! lower codes belong to applications, which reset and stop streams with them. Text is for people and may change.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_MESSAGE;

/// The lowest of Polypeer's codes; lower ones belong to applications.
pub const FIRST_CODE: u32 = 0x1_0000;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A code of Polypeer's. Its number never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ErrorCode { $($(#[doc = $doc])* $name = FIRST_CODE + $number,)* }

        impl ErrorCode {
            /// Every code, in order of number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code's name in `SPEC.md`, the SDKs and error texts.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code with this number, if this version knows it.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number.checked_sub(FIRST_CODE) { $(Some($number) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Not a failure: netcore stops a writer with it when the other node has acknowledged all of its bytes and its end.
    Complete = 0, "complete";
    /// A frame or message that breaks the specification. The session ends.
    Malformed = 1, "malformed";
    /// Wrong token or session secret.
    Unauthorised = 2, "unauthorised";
    /// No common version of the gateway protocol.
    UnsupportedVersion = 3, "unsupported version";
    /// A request this netcore does not know.
    Unsupported = 4, "unsupported";
    /// The plugin has no grant for it.
    NotGranted = 5, "not granted";
    /// The plugin's grants, or the other side's, do not include this peer.
    PeerNotAllowed = 6, "peer not allowed";
    /// The operator has blocked the peer, or the peer has blocked this node.
    Blocked = 7, "blocked";
    /// No address is known for the peer.
    UnknownPeer = 8, "unknown peer";
    /// Addresses are known, but none answered as that peer.
    Unreachable = 9, "unreachable";
    /// No plugin at the other end serves this protocol.
    NotServed = 10, "protocol not served";
    /// Another plugin of this node already serves this protocol.
    AlreadyServed = 11, "protocol already served";
    /// The plugin has too many streams open, to this peer or in total.
    TooManyStreams = 12, "too many streams";
    /// Too many in flight, or over a rate limit. Try again later.
    Busy = 13, "busy";
    /// A payload over its limit.
    TooLarge = 14, "too large";
    /// No answer within the time allowed.
    TimedOut = 15, "timed out";
    /// The caller cancelled.
    Cancelled = 16, "cancelled";
    /// The connection was lost: the stream was cut before its end.
    ConnectionLost = 17, "connection lost";
    /// A newer session of the same launch took over.
    Superseded = 18, "superseded";
    /// No such stream is unclaimed, or no such call pending.
    NoSuchStream = 19, "no such stream";
    /// The node or the plugin is stopping.
    ShuttingDown = 20, "shutting down";
    /// The other plugin declined.
    Refused = 21, "refused";
    /// A bug or an exhausted resource in Polypeer itself.
    Internal = 22, "internal error";
    /// A well-formed value that is not valid here.
    BadArgument = 23, "bad argument";
    /// The peer broke the protocol between netcores.
    PeerMisbehaved = 24, "peer misbehaved";
    /// The other plugin failed while it handled the stream or call; its log says why. A plugin may send it.
    HandlerFailed = 25, "handler failed";
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

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code: code.number(), message: String::new() }
    }
}
