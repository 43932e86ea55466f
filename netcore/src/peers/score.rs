//! What a peer is worth: good and bad deeds, forgotten with time. Pure.

/// A deed of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreEvent {
    /// It answered a question with something of use.
    Useful,
    /// It passed on a message that was new and right.
    ValidGossip,
    /// It did not answer in time.
    Timeout,
    /// It passed on a message that the subscriber found wrong.
    InvalidGossip,
    /// It asked, sent or opened more than it may.
    Flood,
    /// What it said is provably untrue: a record with a wrong signature, an answer against the rules.
    Lie,
    /// It broke the protocol.
    Misbehaved,
}
