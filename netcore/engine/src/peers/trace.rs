//! The trace of the attempts to reach each peer, with likely causes of failures and their remedies, for `polypeer
//! doctor PEER` and for the error that a plugin gets. Pure.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use polypeer_ipc_protocol::admin::Cause;
use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::NodeId;

use super::dial_error::DialError;

/// Most attempts remembered of one peer.
const MAX_LINES: usize = 64;
/// Most peers with a trace; a further one replaces the one dialed least recently.
const MAX_NODES: usize = 1024;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer answered, and the connection was kept.
    Connected,
    /// The peer answered, but another connection with it is kept.
    Superseded,
    /// The attempt at the address failed.
    Failed(DialError),
    /// No address of the peer was known.
    NoAddress,
}

/// One attempt to reach a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Unix seconds at which it ended.
    pub at: u64,
    /// Its duration, milliseconds.
    pub took_ms: u64,
    /// The address that was dialed; absent if none was known.
    pub address: Option<SocketAddr>,
    pub outcome: Outcome,
}

impl Attempt {
    /// A line of text for people, as of Unix second `now`.
    fn line(&self, now: u64) -> String {
        let ago = now.saturating_sub(self.at);
        let outcome = match &self.outcome {
            Outcome::Connected => "connected".to_owned(),
            Outcome::Superseded => "answered; another connection is the one in use".to_owned(),
            Outcome::Failed(DialError::Refused { code }) => format!("refused: {}", code_text(*code)),
            Outcome::Failed(error) => error.to_string(),
            Outcome::NoAddress => "no address known".to_owned(),
        };
        match self.address {
            Some(address) => format!("{ago} s ago, {address}, after {} ms: {outcome}", self.took_ms),
            None => format!("{ago} s ago: {outcome}"),
        }
    }
}

fn code_text(code: u64) -> String {
    u32::try_from(code).map_or_else(|_| format!("unknown code {code}"), describe)
}

/// The latest attempts to reach each peer, bounded.
#[derive(Debug, Default)]
pub struct Traces {
    nodes: HashMap<NodeId, (u64, VecDeque<Attempt>)>,
    clock: u64,
}

impl Traces {
    /// Adds an attempt to reach `node`.
    pub fn add(&mut self, node: NodeId, attempt: Attempt) {
        self.clock += 1;
        if !self.nodes.contains_key(&node) && self.nodes.len() >= MAX_NODES {
            let oldest = self.nodes.iter().min_by_key(|(_, (touched, _))| *touched).map(|(node, _)| *node);
            oldest.map(|node| self.nodes.remove(&node));
        }
        let (touched, attempts) = self.nodes.entry(node).or_default();
        *touched = self.clock;
        if attempts.len() == MAX_LINES {
            attempts.pop_front();
        }
        attempts.push_back(attempt);
    }

    /// Removes the trace of `node`.
    pub fn forget(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// The trace of `node`, one line per attempt, the oldest first, as of Unix second `now`.
    pub fn lines(&self, node: &NodeId, now: u64) -> Vec<String> {
        self.attempts(node).map(|attempt| attempt.line(now)).collect()
    }

    fn attempts(&self, node: &NodeId) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.nodes.get(node).into_iter().flat_map(|(_, attempts)| attempts)
    }

    /// Likely causes from the latest attempt at each address, the most telling first.
    pub fn causes(&self, node: &NodeId) -> Vec<Cause> {
        let mut seen = Vec::new();
        let mut causes = Vec::new();
        for attempt in self.attempts(node).rev() {
            if !seen.contains(&attempt.address) {
                seen.push(attempt.address);
                causes.extend(cause(attempt));
            }
        }
        // Stable, so that of equally telling causes the latest comes first.
        causes.sort_by_key(|(rank, _)| *rank);
        causes.dedup();
        causes.into_iter().map(|(_, cause)| cause).collect()
    }
}

/// What an attempt tells, the most telling with the lowest number.
fn cause(attempt: &Attempt) -> Option<(u8, Cause)> {
    let at = attempt.address.map(|address| format!("at {address} ")).unwrap_or_default();
    let (rank, cause, remedy) = match &attempt.outcome {
        Outcome::Connected | Outcome::Superseded => return None,
        Outcome::Failed(DialError::Refused { code }) if *code == u64::from(ErrorCode::Blocked.number()) => (
            0,
            "the peer has blocked this node".into(),
            "ask its operator to run: polypeer peers unblock <this node's id>",
        ),
        Outcome::Failed(DialError::OtherNode(other)) => (
            1,
            format!("another node answers {at}now: {other}"),
            "ask the peer's operator for a fresh ticket: the peer has moved, or its identity has changed",
        ),
        Outcome::Failed(DialError::OtherProtocol { reason }) => (
            2,
            format!("what answers {at}is not a Polypeer node of this version: {reason}"),
            "check the address, and that both sides run a current version",
        ),
        Outcome::Failed(DialError::Refused { code }) if *code == u64::from(ErrorCode::PeerMisbehaved.number()) => (
            3,
            format!("the peer {at}has banned this node for a while: its score there fell too low"),
            "wait: a first ban lasts ten minutes, each further one twice as long; the peer's operator sees the \
             offence in: `polypeer status`",
        ),
        Outcome::Failed(DialError::Refused { code }) => {
            (3, format!("the peer {at}refused: {}", code_text(*code)), "try again in a minute")
        }
        Outcome::Failed(DialError::NoSocket) => (
            4,
            format!("this node has no socket that can reach the peer {at}").trim_end().to_owned(),
            "its own listen addresses, such as a loopback one, lead nowhere else: remove `listen` from config.toml, or run \
             it with --listen 0.0.0.0:7470 --listen [::]:7470",
        ),
        Outcome::Failed(DialError::NoAnswer) => (
            5,
            format!("nothing answers {at}").trim_end().to_owned(),
            "check that the peer runs, and that no firewall on either side blocks its UDP port",
        ),
        Outcome::NoAddress => {
            (6, "no address of the peer is known".into(), "add it with a ticket: `polypeer peers add TICKET`")
        }
        Outcome::Failed(DialError::Stopping) => (7, "this node was stopping".into(), "start it again"),
    };
    Some((rank, Cause { cause, remedy: remedy.into() }))
}

/// The error of a dial of `node` with these `attempts`: the code of the main cause, up to three causes, and a remedy.
pub fn failure(node: &NodeId, attempts: &[Attempt]) -> Failure {
    let mut causes: Vec<_> = attempts.iter().filter_map(cause).collect();
    causes.sort_by_key(|(rank, _)| *rank);
    let code = match causes.first() {
        Some((0, _)) => ErrorCode::Blocked,
        Some((6, _)) => ErrorCode::UnknownPeer,
        Some((7, _)) => ErrorCode::ShuttingDown,
        _ => ErrorCode::Unreachable,
    };
    if causes.is_empty() {
        return Failure::new(code, format!("{node}: it answered, but no connection was kept; try again"));
    }
    let told: Vec<_> = causes.iter().take(3).map(|(_, told)| told.cause.as_str()).collect();
    let remedy = causes.first().map(|(_, told)| told.remedy.as_str()).unwrap_or("try again");
    Failure::new(code, format!("{node}: {}; {remedy}", told.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(port: u16, outcome: Outcome) -> Attempt {
        Attempt { at: 1, took_ms: 2, address: Some(SocketAddr::from(([192, 0, 2, 1], port))), outcome }
    }

    const PEER: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    #[test]
    fn most_telling_cause_comes_first() {
        let mut traces = Traces::default();
        traces.add(PEER, attempt(1, Outcome::Failed(DialError::OtherNode(OTHER))));
        traces.add(PEER, attempt(2, Outcome::Failed(DialError::NoAnswer)));
        let causes = traces.causes(&PEER);
        assert!(causes[0].cause.contains(&OTHER.to_string()) && causes[0].remedy.contains("ticket"), "{causes:?}");
        assert!(causes[1].cause.contains("192.0.2.1:2"), "{causes:?}");
        assert_eq!(
            traces.lines(&PEER, 31),
            [
                format!("30 s ago, 192.0.2.1:1, after 2 ms: {}", DialError::OtherNode(OTHER)),
                format!("30 s ago, 192.0.2.1:2, after 2 ms: {}", DialError::NoAnswer)
            ]
        );
    }

    #[test]
    fn ban_is_told_as_one_and_not_as_a_firewall() {
        let mut traces = Traces::default();
        let code = ErrorCode::PeerMisbehaved.number().into();
        traces.add(PEER, attempt(1, Outcome::Failed(DialError::Refused { code })));
        let cause = traces.causes(&PEER).remove(0);
        assert!(cause.cause.contains("for a while") && cause.remedy.contains("ten minutes"), "{cause:?}");
    }

    #[test]
    fn cause_that_was_overcome_is_not_told() {
        let mut traces = Traces::default();
        traces.add(PEER, attempt(1, Outcome::Failed(DialError::NoAnswer)));
        traces.add(PEER, attempt(1, Outcome::Connected));
        assert_eq!(traces.causes(&PEER), []);
    }

    #[test]
    fn failure_has_the_code_of_its_main_cause() {
        let blocked = DialError::Refused { code: u64::from(ErrorCode::Blocked.number()) };
        let no_answer = attempt(1, Outcome::Failed(DialError::NoAnswer));
        let code = |attempts: &[Attempt]| failure(&PEER, attempts).code;
        assert_eq!(code(std::slice::from_ref(&no_answer)), ErrorCode::Unreachable.number());
        assert_eq!(code(&[no_answer, attempt(2, Outcome::Failed(blocked))]), ErrorCode::Blocked.number());
        let unknown = Attempt { address: None, ..attempt(1, Outcome::NoAddress) };
        assert_eq!(code(&[unknown]), ErrorCode::UnknownPeer.number());
        assert_eq!(code(&[attempt(1, Outcome::Superseded)]), ErrorCode::Unreachable.number());
    }

    #[test]
    fn traces_are_bounded() {
        let mut traces = Traces::default();
        for number in 0..MAX_NODES as u32 + 5 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            traces.add(NodeId(id), attempt(1, Outcome::Connected));
        }
        for port in 0..100 {
            traces.add(PEER, attempt(port, Outcome::Connected));
        }
        assert_eq!((traces.nodes.len(), traces.lines(&PEER, 1).len()), (MAX_NODES, MAX_LINES));
    }
}
