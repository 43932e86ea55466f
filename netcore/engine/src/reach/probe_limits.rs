//! The limits on probes that this node makes for others. A probe costs a handshake and sends packets to an address, so
//! probes are limited per asker, host and subnet, and in all. Pure; netcore's `reach::prober` asks it before each
//! probe.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::address::{Subnet, Zone};
use crate::peers::caps::Host;
use crate::rate::{Bucket, Rate};

/// Most askers served at once, each with up to four handshakes.
const MAX_PROBING: usize = 16;
/// Rate limit of askers served in all. A seed that fifty nodes join at once serves them within seconds, and sends at
/// most 120 packets a second for them.
const ALL: Rate = Rate { burst: 32, per_second: 8 };
/// Most probes for one asker within [`WINDOW`]: enough for a new node with both families, a change of address and some
/// failures.
const EACH: u32 = 8;
/// Most probes for one host (IPv4 address or IPv6 /64) within [`WINDOW`], under any number of node ids: enough for the
/// nodes of a household. Hosts of this machine and of private networks are not counted.
const EACH_HOST: u32 = 4 * EACH;
/// Most askers of one public subnet (/24 or /48) among [`MAX_PROBING`]: one that does not answer takes a place for
/// three seconds.
const PROBING_SUBNET: usize = 4;
/// The time over which probes are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// Most askers, and most hosts, that are remembered.
const MAX_ASKERS: usize = 4096;

/// Why a probe is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`MAX_PROBING`] askers are being served, the rate limit in all is reached, or there is no room to count another
    /// asker.
    #[error("too many probes are in progress; ask another node, or ask again in a second")]
    Full,
    /// [`PROBING_SUBNET`] askers of its subnet are being served.
    #[error("too many probes for your subnet are in progress; ask another node, or ask again in a few seconds")]
    FullSubnet,
    /// The asker got [`EACH`] probes within [`WINDOW`].
    #[error("more than {EACH} probes within {} s; ask another node", WINDOW.as_secs())]
    TooOften,
    /// Its host got [`EACH_HOST`] probes within [`WINDOW`].
    #[error("more than {EACH_HOST} probes for your host within {} s; ask another node", WINDOW.as_secs())]
    TooOftenHost,
}

/// The probes in progress, and the recent probes for each asker and host.
#[derive(Debug)]
pub struct ProbeLimits {
    /// Askers being served.
    probing: usize,
    /// Askers being served, by subnet; only those with a public address.
    subnets: HashMap<Subnet, usize>,
    all: Bucket,
    askers: Asked<NodeId>,
    hosts: Asked<Host>,
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self {
            probing: 0,
            subnets: HashMap::new(),
            all: Bucket::new(ALL),
            askers: Asked(HashMap::new()),
            hosts: Asked(HashMap::new()),
        }
    }
}

/// The number of probes within [`WINDOW`] for each of at most [`MAX_ASKERS`] askers or hosts, with the start of the
/// window.
#[derive(Debug)]
struct Asked<T>(HashMap<T, (Instant, u32)>);

impl<T: Eq + Hash> Asked<T> {
    /// The number of probes for `who`; `None` if there is no room to remember it.
    fn count(&mut self, now: Instant, who: &T) -> Option<u32> {
        let in_window = |since: Instant| now.saturating_duration_since(since) < WINDOW;
        if self.0.len() >= MAX_ASKERS && !self.0.contains_key(who) {
            self.0.retain(|_, (since, _)| in_window(*since));
        }
        let known = self.0.get(who).filter(|(since, _)| in_window(*since)).map(|(_, count)| *count);
        known.or_else(|| (self.0.len() < MAX_ASKERS || self.0.contains_key(who)).then_some(0))
    }

    /// Adds a probe for `who`; `count` is the number that [`Self::count`] returned.
    fn add(&mut self, now: Instant, who: T, count: u32) {
        let since = if count == 0 { now } else { self.0.get(&who).map_or(now, |(since, _)| *since) };
        self.0.insert(who, (since, count + 1));
    }
}

impl ProbeLimits {
    /// Admits a probe for `asker`, whose packets come from `ip`; call [`Self::leave`] when it is over.
    pub fn enter(&mut self, now: Instant, asker: NodeId, ip: IpAddr) -> Result<(), Refused> {
        let public = (Zone::of(ip) == Zone::Public).then(|| (Host::of(ip), Subnet::of(ip)));
        let count = self.askers.count(now, &asker).ok_or(Refused::Full)?;
        if count >= EACH {
            return Err(Refused::TooOften);
        }
        let mut of_host = 0;
        if let Some((host, subnet)) = &public {
            of_host = self.hosts.count(now, host).ok_or(Refused::Full)?;
            if of_host >= EACH_HOST {
                return Err(Refused::TooOftenHost);
            }
            if self.subnets.get(subnet).is_some_and(|probing| *probing >= PROBING_SUBNET) {
                return Err(Refused::FullSubnet);
            }
        }
        if self.probing >= MAX_PROBING || !self.all.take(1, now) {
            return Err(Refused::Full);
        }
        self.askers.add(now, asker, count);
        if let Some((host, subnet)) = public {
            self.hosts.add(now, host, of_host);
            *self.subnets.entry(subnet).or_default() += 1;
        }
        self.probing += 1;
        Ok(())
    }

    /// Notes that a probe which was admitted with `ip` is over.
    pub fn leave(&mut self, ip: IpAddr) {
        self.probing -= 1;
        let subnet = Subnet::of(ip);
        if let Some(probing) = self.subnets.get_mut(&subnet) {
            *probing -= 1;
            if *probing == 0 {
                self.subnets.remove(&subnet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, node as asker};

    /// An address whose host is not counted.
    fn lan() -> IpAddr {
        IpAddr::from([192, 168, 0, 1])
    }

    #[test]
    fn an_asker_gets_so_many_probes_in_a_while_and_others_theirs() {
        let (mut limits, start) = (ProbeLimits::default(), testing::start());
        let probe = |limits: &mut ProbeLimits, at, number| {
            let entered = limits.enter(at, asker(number), lan());
            entered.inspect(|()| limits.leave(lan()))
        };
        for second in 0..EACH {
            assert_eq!(probe(&mut limits, start + Duration::from_secs(second.into()), 1), Ok(()));
        }
        let then = start + Duration::from_secs(30);
        assert_eq!(probe(&mut limits, then, 1), Err(Refused::TooOften));
        assert_eq!(probe(&mut limits, then, 2), Ok(()));
        assert_eq!(probe(&mut limits, start + WINDOW, 1), Ok(()));
    }

    #[test]
    fn there_are_so_many_at_once_and_a_second() {
        let (mut limits, now) = (ProbeLimits::default(), testing::start());
        for number in 0..MAX_PROBING as u32 {
            assert_eq!(limits.enter(now, asker(number), lan()), Ok(()));
        }
        assert_eq!(limits.enter(now, asker(99), lan()), Err(Refused::Full));
        (0..MAX_PROBING).for_each(|_| limits.leave(lan()));
        let mut served = MAX_PROBING as u32;
        while limits.enter(now, asker(1000 + served), lan()).is_ok() {
            limits.leave(lan());
            served += 1;
        }
        assert_eq!(served, ALL.burst);
    }

    #[test]
    fn askers_remembered_are_bounded() {
        let mut limits = ProbeLimits::default();
        let mut now = testing::start();
        for number in 0..2 * MAX_ASKERS as u32 {
            now += Duration::from_millis(125);
            let [_, b, c, d] = number.to_be_bytes();
            let ip = IpAddr::from([9, b, c, d]);
            if limits.enter(now, asker(number), ip).is_ok() {
                limits.leave(ip);
            }
            assert!(limits.askers.0.len() <= MAX_ASKERS && limits.hosts.0.len() <= MAX_ASKERS);
        }
        assert!(limits.subnets.is_empty() && limits.probing == 0);
        assert_eq!(limits.enter(now + WINDOW, asker(0), lan()), Ok(()), "the old ones make room");
    }

    #[test]
    fn one_host_of_many_ids_leaves_probes_for_others() {
        let (mut limits, start) = (ProbeLimits::default(), testing::start());
        let (host, other) = (IpAddr::from([9, 0, 0, 1]), IpAddr::from([9, 0, 1, 1]));
        for number in 0..PROBING_SUBNET as u32 {
            assert_eq!(limits.enter(start, asker(number), host), Ok(()));
        }
        let neighbour = IpAddr::from([9, 0, 0, 2]);
        assert_eq!(limits.enter(start, asker(100), neighbour), Err(Refused::FullSubnet));
        assert_eq!(limits.enter(start, asker(101), other), Ok(()), "another network");
        (0..PROBING_SUBNET).for_each(|_| limits.leave(host));
        let (mut served, mut now) = (PROBING_SUBNET as u32, start);
        for number in 200..400 {
            now += Duration::from_secs(1);
            if limits.enter(now, asker(number), host).is_ok() {
                limits.leave(host);
                served += 1;
            }
        }
        assert_eq!(served, EACH_HOST);
        assert_eq!(limits.enter(now, asker(500), host), Err(Refused::TooOftenHost));
        assert_eq!(limits.enter(now, asker(500), other), Ok(()));
        assert_eq!(limits.enter(start + WINDOW, asker(500), host), Ok(()), "for a while");
    }
}
