//! Which nodes that ask to be dialed back are served: a probe costs a handshake and sends packets to an address, so probes
//! are limited for each asker, host and subnet, and in all.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::address::{Subnet, Zone};
use crate::peers::caps::Host;
use crate::rate::{Bucket, Rate};

/// Askers served at once; each has up to four sockets' worth of handshakes.
const MAX_PROBING: usize = 16;
/// Askers served in all: a seed that fifty nodes join at once serves them within seconds, and sends at most 120 packets
/// a second for it.
const ALL: Rate = Rate { burst: 32, per_second: 8 };
/// Probes of one asker within [`WINDOW`]: a new node, with both families, a change of address and some bad luck.
const EACH: u32 = 8;
/// Probes of one IPv4 address or IPv6 /64 within [`WINDOW`], whatever ids it takes: a household's nodes. This machine's and
/// those of local networks are not counted.
const EACH_HOST: u32 = 4 * EACH;
/// Of [`MAX_PROBING`], for one public /24 or /48: what does not answer takes its place for three seconds.
const PROBING_SUBNET: usize = 4;
/// Over which they are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// Askers remembered.
const MAX_ASKERS: usize = 4096;

/// Why somebody is not dialed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`MAX_PROBING`] are under way, or there is no room to count another asker.
    #[error("too many probes are under way; ask another, or again in a second")]
    Full,
    /// [`PROBING_SUBNET`] of its subnet are under way.
    #[error("too many probes of your network are under way; ask another, or again in a few seconds")]
    FullSubnet,
    /// [`EACH`] of it were.
    #[error("more than {EACH} probes within {} s; ask another", WINDOW.as_secs())]
    TooOften,
    /// [`EACH_HOST`] of its host were.
    #[error("more than {EACH_HOST} probes of your address within {} s; ask another", WINDOW.as_secs())]
    TooOftenHost,
}

/// The probes under way, and those of each asker and host of late.
#[derive(Debug)]
pub struct ProbeLimits {
    probing: usize,
    /// Of these, by network; only of public addresses.
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

/// How often each asked within its [`WINDOW`]; of at most [`MAX_ASKERS`].
#[derive(Debug)]
struct Asked<T>(HashMap<T, (Instant, u32)>);

impl<T: Eq + Hash> Asked<T> {
    /// How often this one did; `None`: there is no room to remember it.
    fn count(&mut self, now: Instant, who: &T) -> Option<u32> {
        let in_window = |since: Instant| now.saturating_duration_since(since) < WINDOW;
        if self.0.len() >= MAX_ASKERS && !self.0.contains_key(who) {
            self.0.retain(|_, (since, _)| in_window(*since));
        }
        let known = self.0.get(who).filter(|(since, _)| in_window(*since)).map(|(_, count)| *count);
        known.or_else(|| (self.0.len() < MAX_ASKERS || self.0.contains_key(who)).then_some(0))
    }

    /// Once more, where `count` is what [`Self::count`] said.
    fn add(&mut self, now: Instant, who: T, count: u32) {
        let since = if count == 0 { now } else { self.0.get(&who).map_or(now, |(since, _)| *since) };
        self.0.insert(who, (since, count + 1));
    }
}

impl ProbeLimits {
    /// A node whose packets come from `ip` asks to be dialed back; once it has been, call [`Self::leave`].
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

    /// One that entered with this address has been served.
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

    /// An address that is not counted.
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
