//! Signs that another node runs with this node's identity: a home that was copied, or restored beside the original. The
//! two take each other's connections. The result is a warning and slower dials, never more: the signs can be forged. So
//! the warning is firm only if they come from two sources: two peers, or a peer and the local network. Pure.
//!
//! - A peer closes an established connection as superseded, although this node has made no other: it has one with
//!   another node of the same identity.
//! - Somebody on the local network announces this node's id, but is another process.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::now::Now;

/// How long a sign counts.
const LATELY: Duration = Duration::from_secs(3600);
/// Connections that a single peer must take before there is a warning. One may be an accident of the moment.
const TAKEN: usize = 2;
/// Most signs remembered; older ones make room.
const MAX_SIGNS: usize = 64;
/// What to do. It names no file to delete: a forged warning must cost nobody the node's identity.
const FIND_THE_COPY: &str = "if this home was copied or restored, look for the other one, in another folder of this \
                             machine or on another machine (`polypeer id` prints the same id there), and stop the node \
                             that should not run; a copy that is to be a node of its own needs a new home (--home)";

/// The signs of the last hour.
#[derive(Debug, Default)]
pub struct Twins {
    /// The peers that took a connection away, oldest first.
    taken: VecDeque<(Instant, NodeId)>,
    announced: Option<(Instant, SocketAddr)>,
    /// How sure the present warning was when it was told.
    told: Option<Sureness>,
}

/// How sure it is that another node runs with this node's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sureness {
    /// One source says so.
    Unsure,
    /// Two sources say so.
    Sure,
}

/// All signs of the last hour together.
#[derive(Debug)]
struct Signs {
    /// Connections taken, and the number of peers that took them.
    taken: usize,
    peers: usize,
    announced: Option<SocketAddr>,
}

impl Twins {
    /// `peer` closed this node's connection for another one of this node's identity. Returns how often it has done so
    /// in the last hour before.
    pub fn handle_taken(&mut self, now: Now, peer: NodeId) -> u32 {
        self.forget(now);
        let before = self.taken.iter().filter(|(_, taker)| *taker == peer).count();
        if self.taken.len() >= MAX_SIGNS {
            self.taken.pop_front();
        }
        self.taken.push_back((now.at, peer));
        before as u32
    }

    /// Another process on the local network announced this node's id at `address`.
    pub fn handle_announced(&mut self, now: Now, address: SocketAddr) {
        self.announced = Some((now.at, address));
    }

    /// The warning, while there are signs enough.
    pub fn warning(&self, now: Now) -> Option<String> {
        self.signs(now).warning()
    }

    /// [`Self::warning`] if it is new since the last call, or surer than before, for the log.
    pub fn news(&mut self, now: Now) -> Option<String> {
        let signs = self.signs(now);
        let sureness = signs.sureness();
        let is_new = sureness > self.told;
        self.told = sureness.and(self.told.max(sureness));
        signs.warning().filter(|_| is_new)
    }

    fn signs(&self, now: Now) -> Signs {
        let is_recent = |at: &Instant| now.at.saturating_duration_since(*at) < LATELY;
        let takers: Vec<NodeId> = self.taken.iter().filter(|(at, _)| is_recent(at)).map(|(_, peer)| *peer).collect();
        Signs {
            taken: takers.len(),
            peers: takers.into_iter().collect::<BTreeSet<_>>().len(),
            announced: self.announced.filter(|(at, _)| is_recent(at)).map(|(_, address)| address),
        }
    }

    fn forget(&mut self, now: Now) {
        while self.taken.front().is_some_and(|(at, _)| now.at.saturating_duration_since(*at) >= LATELY) {
            self.taken.pop_front();
        }
    }
}

impl Signs {
    fn sureness(&self) -> Option<Sureness> {
        match self.peers + usize::from(self.announced.is_some()) {
            0 => None,
            1 => (self.announced.is_some() || self.taken >= TAKEN).then_some(Sureness::Unsure),
            _ => Some(Sureness::Sure),
        }
    }

    fn warning(&self) -> Option<String> {
        let Self { taken, peers, .. } = self;
        let what = match (self.sureness()?, self.announced) {
            (Sureness::Unsure, None) => format!(
                "a peer says that another node may run with this node's identity (it dropped this node's connection \
                 for that node's {taken} times lately)"
            ),
            (Sureness::Unsure, Some(address)) => format!(
                "another node may run with this node's identity (it is announced on the local network at {address})"
            ),
            (Sureness::Sure, None) => format!(
                "another node runs with the identity of this one ({peers} peers lately dropped this node's connection \
                 for its); the two take each other's connections"
            ),
            (Sureness::Sure, Some(address)) => format!(
                "another node runs with the identity of this one (it is announced on the local network at {address}, \
                 and peers drop this node's connection for its); the two take each other's connections"
            ),
        };
        Some(format!("{what}: {FIND_THE_COPY}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn at(seconds: u64) -> Now {
        Now { at: testing::start() + Duration::from_secs(seconds), unix: 1_000_000 + seconds }
    }

    const SURE: &str = "another node runs with the identity of this one";
    const UNSURE: &str = "another node may run with this node's identity";

    fn is(text: Option<String>, beginning: &str) -> bool {
        text.is_some_and(|text| text.contains(beginning) && !text.contains("identity.key"))
    }

    #[test]
    fn one_connection_taken_is_an_accident_and_two_peers_are_told_once_for_an_hour() {
        let mut twins = Twins::default();
        let [one, two] = [1, 2].map(|number| NodeId([number; 32]));
        assert_eq!(twins.handle_taken(at(0), one), 0);
        assert_eq!(twins.news(at(0)), None);
        assert_eq!((twins.handle_taken(at(60), two), twins.handle_taken(at(90), one)), (0, 1));
        let text = twins.warning(at(90));
        assert!(text.is_some_and(|text| text.contains("2 peers lately")));
        assert!(is(twins.news(at(90)), SURE));
        assert_eq!(twins.news(at(91)), None, "told already");
        assert!(twins.warning(at(3000)).is_some());
        assert_eq!(twins.warning(at(3700)), None);
        assert_eq!(twins.news(at(3700)), None);
        assert_eq!(twins.handle_taken(at(3700), one), 0);
        twins.handle_taken(at(3701), two);
        assert!(is(twins.news(at(3702)), SURE), "anew");
    }

    #[test]
    fn single_peer_never_causes_more_than_the_weaker_warning() {
        let mut twins = Twins::default();
        let [one, two] = [1, 2].map(|number| NodeId([number; 32]));
        for second in 0..20 {
            twins.handle_taken(at(second), one);
            assert_eq!(is(twins.news(at(second)), UNSURE), second == 1, "told once");
        }
        assert!(is(twins.warning(at(20)), "a peer says that another node may run"));
        twins.handle_taken(at(3000), two);
        assert!(is(twins.news(at(3000)), SURE), "surer than before");
        twins.handle_taken(at(3010), two);
        assert!(is(twins.warning(at(4000)), UNSURE), "only the second is recent");
        assert_eq!(twins.news(at(4000)), None, "and less sure is no news");
    }

    #[test]
    fn announcement_of_this_nodes_id_is_told_at_once_and_is_sure_with_a_peer() {
        let mut twins = Twins::default();
        twins.handle_announced(at(0), "192.168.1.9:7470".parse().expect("address"));
        let text = twins.news(at(0));
        assert!(text.as_ref().is_some_and(|text| text.contains("192.168.1.9:7470")));
        assert!(is(text, UNSURE));
        twins.handle_taken(at(1), NodeId([1; 32]));
        assert!(is(twins.news(at(1)), SURE));
    }

    #[test]
    fn signs_are_limited() {
        let mut twins = Twins::default();
        for second in 0..1000 {
            twins.handle_taken(at(second), NodeId([1; 32]));
        }
        assert_eq!(twins.taken.len(), MAX_SIGNS);
    }
}
