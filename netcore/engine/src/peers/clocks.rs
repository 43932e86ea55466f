//! The clocks of connected peers, as they tell them, compared with this node's: a node whose clock is wrong is refused
//! by others without knowing why. Nothing is ever adjusted; the result is a warning. Pure.
//!
//! **Whom to believe.** A peer may lie, and run many nodes. So each network has one vote (a public /24 or /48; outside
//! of the public zone, where a LAN is one subnet, each peer). With three votes or more their median decides; with fewer
//! all must agree.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use super::table::MAX_SLOTS;
use crate::address::{Subnet, Zone};
use crate::now::Now;

/// Difference from which on a clock is said to be off, seconds: half of what nodes tolerate ahead of them in records
/// and messages, so that it is said before anything is refused.
pub const CLOCK_TOLERANCE: u64 = 300;
/// Shortest time between two clocks of one peer; nodes tell theirs every ten minutes. Earlier ones are ignored: each
/// that is taken costs a look at all of them.
const TAKEN_EVERY: Duration = Duration::from_secs(60);
/// Shortest time between two warnings in the log, so that peers whose clocks come and go cannot fill it.
const TOLD_EVERY: Duration = Duration::from_secs(3600);
/// Votes from which on their median decides.
const MEDIAN_FROM: usize = 3;

/// What a peer said of its clock.
#[derive(Debug, Clone, Copy)]
struct Said {
    ip: IpAddr,
    unix: i64,
    at: Instant,
}

/// One vote's voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Voter {
    Network(Subnet),
    Peer(NodeId),
}

/// The clocks of connected peers.
#[derive(Debug, Default)]
pub struct Clocks {
    said: BTreeMap<NodeId, Said>,
    /// Whether the present difference was told.
    is_told: bool,
    /// When a difference was last told.
    told_at: Option<Instant>,
}

/// This node's clock against those of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOff {
    /// Seconds that this node's clock is ahead; negative: behind.
    pub ahead: i64,
    /// Connected peers whose clock differs from it by more than [`CLOCK_TOLERANCE`].
    pub differing: usize,
    /// Connected peers that told their clock.
    pub peers: usize,
    /// Whether there are too few votes to tell which side is wrong.
    pub few: bool,
}

impl Clocks {
    /// The clock of `node`, whose packets come from `ip`, was `unix` (Unix seconds) just now. Returns whether that is
    /// taken; it is ignored less than a minute after the last one of that peer.
    pub fn handle_said(&mut self, now: Now, node: NodeId, ip: IpAddr, unix: u64) -> bool {
        let is_taken = match self.said.get(&node) {
            Some(said) => now.at.saturating_duration_since(said.at) >= TAKEN_EVERY,
            None => self.said.len() < MAX_SLOTS,
        };
        if is_taken {
            self.said.insert(node, Said { ip, unix: i64::try_from(unix).unwrap_or(i64::MAX), at: now.at });
        }
        is_taken
    }

    /// The connection with `node` ended.
    pub fn handle_gone(&mut self, node: &NodeId) {
        self.said.remove(node);
    }

    /// The difference, if the votes agree that there is one.
    pub fn off(&self, now: Now) -> Option<ClockOff> {
        let mut votes: BTreeMap<Voter, Vec<i64>> = BTreeMap::new();
        let mut differing = 0;
        for (node, said) in &self.said {
            let ahead = said.behind(now);
            differing += usize::from(is_off(ahead));
            let voter = match Zone::of(said.ip) {
                Zone::Public => Voter::Network(Subnet::of(said.ip)),
                Zone::Private | Zone::Loopback => Voter::Peer(*node),
            };
            votes.entry(voter).or_default().push(ahead);
        }
        let mut votes: Vec<i64> = votes.into_values().filter_map(median).collect();
        let few = votes.len() < MEDIAN_FROM;
        let agree = !few || votes.iter().all(|vote| is_off(*vote) && vote.signum() == votes[0].signum());
        let ahead = median(std::mem::take(&mut votes)).filter(|ahead| agree && is_off(*ahead))?;
        Some(ClockOff { ahead, differing, peers: self.said.len(), few })
    }

    /// [`Self::off`] if it is not told yet, for the log: once while it lasts, and at most once an hour.
    pub fn news(&mut self, now: Now) -> Option<ClockOff> {
        let Some(off) = self.off(now) else {
            self.is_told = false;
            return None;
        };
        let is_soon = self.told_at.is_some_and(|at| now.at.saturating_duration_since(at) < TOLD_EVERY);
        if self.is_told || is_soon {
            return None;
        }
        self.is_told = true;
        self.told_at = Some(now.at);
        Some(off)
    }
}

impl Said {
    /// Seconds that the peer's clock is behind this node's.
    fn behind(&self, now: Now) -> i64 {
        let passed = now.at.saturating_duration_since(self.at).as_secs();
        let theirs = self.unix.saturating_add_unsigned(passed);
        i64::try_from(now.unix).unwrap_or(i64::MAX).saturating_sub(theirs)
    }
}

fn is_off(ahead: i64) -> bool {
    ahead.unsigned_abs() > CLOCK_TOLERANCE
}

/// The middle of `values`, of two the smaller in size; `None` without any.
fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let low = *values.get(values.len().checked_sub(1)? / 2)?;
    let high = *values.get(values.len() / 2)?;
    Some(if high.unsigned_abs() < low.unsigned_abs() { high } else { low })
}

impl std::fmt::Display for ClockOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ahead, differing, peers, few } = self;
        let side = if *ahead > 0 { "ahead" } else { "behind" };
        let about = about(ahead.unsigned_abs());
        write!(f, "this machine's clock differs by about {about} from {differing} of {peers} peers: it is {side}")?;
        f.write_str(if *few { ", or theirs are wrong" } else { "" })
    }
}

fn about(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{} min", (seconds + 30) / 60),
        7200..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    const NOW: u64 = 2_000_000_000;

    fn now() -> Now {
        Now { at: testing::start(), unix: NOW }
    }

    /// Peers by number, each with its IP and by how much this node is ahead of it.
    fn clocks(peers: &[(&str, i64)]) -> Clocks {
        let mut clocks = Clocks::default();
        for (number, (ip, ahead)) in peers.iter().enumerate() {
            let unix = NOW.checked_add_signed(-ahead).expect("in range");
            clocks.handle_said(now(), NodeId([number as u8; 32]), ip.parse().expect("IP"), unix);
        }
        clocks
    }

    fn ahead(peers: &[(&str, i64)]) -> Option<i64> {
        clocks(peers).off(now()).map(|off| off.ahead)
    }

    #[test]
    fn few_must_agree_and_of_many_the_median_decides() {
        assert_eq!(ahead(&[]), None);
        assert_eq!(ahead(&[("192.0.2.1", 300)]), None, "tolerated");
        assert_eq!(ahead(&[("192.0.2.1", 1200)]), Some(1200));
        assert_eq!(ahead(&[("192.0.2.1", 1200), ("198.51.100.1", 0)]), None);
        assert_eq!(ahead(&[("192.0.2.1", 1200), ("198.51.100.1", -1200)]), None);
        assert_eq!(ahead(&[("192.0.2.1", -1200), ("198.51.100.1", -1300)]), Some(-1200));
        assert_eq!(ahead(&[("192.0.2.1", 1200), ("198.51.100.1", 0), ("203.0.113.1", 1190)]), Some(1190));
        assert_eq!(ahead(&[("192.0.2.1", 9000), ("198.51.100.1", 0), ("203.0.113.1", 1)]), None, "one liar");
    }

    #[test]
    fn many_nodes_of_one_network_have_one_vote_and_neighbours_on_a_lan_one_each() {
        let mut peers = vec![("198.51.100.1", 0), ("203.0.113.1", 0)];
        peers.extend((0..20).map(|_| ("192.0.2.1", 5000)));
        assert_eq!(ahead(&peers), None);
        assert_eq!(ahead(&[("10.0.0.1", 900), ("10.0.0.2", 900), ("10.0.0.3", 0)]), Some(900));
    }

    #[test]
    fn setting_the_clock_right_ends_it_at_once_and_so_does_a_peer_that_goes() {
        let mut clocks = clocks(&[("192.0.2.1", 1200)]);
        let later = Now { at: now().at + Duration::from_secs(60), unix: NOW + 60 };
        assert_eq!(clocks.off(later).map(|off| off.ahead), Some(1200), "both clocks go on");
        assert!(clocks.news(later).is_some() && clocks.news(later).is_none(), "told once");
        assert_eq!(clocks.off(Now { unix: NOW + 60 - 1200, ..later }), None);
        clocks.handle_gone(&NodeId([0; 32]));
        assert_eq!(clocks.off(later), None);
    }

    #[test]
    fn peer_that_floods_alternating_clocks_has_one_taken_each_minute_and_causes_one_warning_an_hour() {
        let (start, peer, ip) = (now(), NodeId([1; 32]), IpAddr::from([192, 0, 2, 1]));
        let mut clocks = Clocks::default();
        let (mut taken, mut told) = (0, 0);
        for second in 0..7200 {
            let now = start.after(Duration::from_secs(second));
            // Right and wrong minute by minute, so that those that are taken alternate.
            let unix = if second / 60 % 2 == 0 { now.unix + 5000 } else { now.unix };
            taken += u32::from(clocks.handle_said(now, peer, ip, unix));
            told += u32::from(clocks.news(now).is_some());
        }
        assert_eq!((taken, told), (120, 2));
        clocks.handle_gone(&peer);
        assert!(clocks.handle_said(start.after(Duration::from_secs(7200)), peer, ip, NOW), "the first of a new link");
    }

    #[test]
    fn difference_that_comes_back_within_the_hour_is_told_after_it_if_it_lasts() {
        let (start, peer, ip) = (now(), NodeId([1; 32]), IpAddr::from([192, 0, 2, 1]));
        let mut clocks = Clocks::default();
        let mut say = |minute: u64, ahead: u64| {
            let now = start.after(Duration::from_secs(60 * minute));
            assert!(clocks.handle_said(now, peer, ip, now.unix - ahead));
            clocks.news(now).is_some()
        };
        assert!(say(0, 1200) && !say(10, 0));
        assert!(!say(20, 1200) && !say(59, 1200), "too soon");
        assert!(say(60, 1200) && !say(130, 1200), "once while it lasts");
        assert!(!say(140, 0) && say(150, 1200), "anew");
    }

    #[test]
    fn extreme_times_are_no_trouble_and_the_text_is_for_people() {
        let mut clocks = clocks(&[("192.0.2.1", 1200)]);
        let text = clocks.off(now()).map(|off| off.to_string());
        let expected =
            "this machine's clock differs by about 20 min from 1 of 1 peers: it is ahead, or theirs are wrong";
        assert_eq!(text.as_deref(), Some(expected));
        let later = now().after(TAKEN_EVERY);
        assert!(clocks.handle_said(later, NodeId([0; 32]), IpAddr::from([192, 0, 2, 1]), u64::MAX));
        assert!(clocks.off(later).is_some_and(|off| off.ahead < 0));
        assert_eq!([about(0), about(7200), about(864_000)], ["0 min", "2 h", "10 days"]);
    }
}
