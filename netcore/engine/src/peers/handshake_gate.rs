//! Whose handshake is begun: packets that ask for a connection cost their sender nothing, and a handshake costs this node
//! a signature. Pure.
//!
//! A first packet proves no address. Each host gets a few handshakes without proof; after that it is asked for one
//! (a *Retry*, RFC 9000, section 8.1.2: a packet back, and no state here), as everybody is while many handshakes are under
//! way. Those who proved their address have a rate for their host and one for their subnet, so nobody can use up the
//! rate of an address that is not theirs, and an owner of many addresses gets one subnet's rate.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::caps::Host;
use super::watermarks::{Marks, Place};

use crate::address::Subnet;
use crate::rate::{Buckets, Rate};

/// Hosts and subnets watched at once, each; those beyond share one allowance. Some 400 KiB in all.
pub const MAX_WATCHED: usize = 4096;
/// Handshakes a host gets without proof of its address.
const UNPROVEN: Rate = Rate { burst: 4, per_second: 1 };

/// What to do with somebody who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Begin the handshake; [`Doors::ended`] when it is over.
    Begin,
    /// Ask for proof of the address.
    Prove,
    /// Say no.
    Refuse(Turned),
}

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Too many handshakes of one host or subnet in a short time.
    Rate,
    /// Too many of one host under way.
    HostHalfOpen,
    /// Too many under way in all.
    HalfOpen,
}

/// See the module.
#[derive(Debug)]
pub struct Doors {
    under_way: BTreeMap<Host, usize>,
    total: usize,
    unproven: Buckets<Host>,
    hosts: Buckets<Host>,
    subnets: Buckets<Subnet>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            under_way: BTreeMap::new(),
            total: 0,
            unproven: Buckets::new(MAX_WATCHED),
            hosts: Buckets::new(MAX_WATCHED),
            subnets: Buckets::new(MAX_WATCHED),
        }
    }
}

impl Doors {
    /// Somebody at `ip` wants a connection; `proven`: it has shown that it receives what is sent there.
    pub fn knock(&mut self, now: Instant, ip: IpAddr, proven: bool, marks: &Marks) -> Answer {
        let (host, place) = (Host::of(ip), marks.place(ip));
        if !proven {
            let busy = self.total >= marks.half_open / 2;
            let free = place.host_rate.is_none() || self.unproven.take(host, UNPROVEN, 1, now);
            if busy || !free || self.count(host) >= place.half_open.div_ceil(2) {
                return Answer::Prove;
            }
        } else if !self.take(now, ip, place) {
            return Answer::Refuse(Turned::Rate);
        }
        if self.total >= marks.half_open {
            return Answer::Refuse(Turned::HalfOpen);
        }
        if self.count(host) >= place.half_open {
            return Answer::Refuse(Turned::HostHalfOpen);
        }
        self.total += 1;
        *self.under_way.entry(host).or_default() += 1;
        Answer::Begin
    }

    fn take(&mut self, now: Instant, ip: IpAddr, place: &Place) -> bool {
        place.host_rate.is_none_or(|rate| self.hosts.take(Host::of(ip), rate, 1, now))
            && place.subnet_rate.is_none_or(|rate| self.subnets.take(Subnet::of(ip), rate, 1, now))
    }

    fn count(&self, host: Host) -> usize {
        self.under_way.get(&host).copied().unwrap_or_default()
    }

    /// A handshake that was begun is over, either way.
    pub fn ended(&mut self, ip: IpAddr) {
        let host = Host::of(ip);
        if let Some(count) = self.under_way.get_mut(&host) {
            self.total -= 1;
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&host);
            }
        }
    }

    /// Somebody at `ip` did harm: its host's next handshakes wait until its rate has recovered.
    pub fn slow_down(&mut self, now: Instant, ip: IpAddr, marks: &Marks) {
        if let Some(rate) = marks.place(ip).host_rate {
            self.hosts.drain(Host::of(ip), rate, now);
            self.unproven.drain(Host::of(ip), UNPROVEN, now);
        }
    }

    /// Handshakes under way.
    pub fn under_way(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of `count` that come from `ips` in turn are let in, and what the last one hears.
    fn knock(doors: &mut Doors, now: Instant, ips: &[IpAddr], proven: bool, count: usize) -> (usize, Answer) {
        let marks = Marks::default();
        let answers: Vec<_> =
            (0..count).map(|number| doors.knock(now, ips[number % ips.len()], proven, &marks)).collect();
        (answers.iter().filter(|answer| **answer == Answer::Begin).count(), *answers.last().expect("some"))
    }

    #[test]
    fn spoofed_knocks_use_up_nothing_of_the_real_owner() {
        let (mut doors, now) = (Doors::default(), testing::start());
        let victim = [ip("198.51.100.7")];
        let (begun, last) = knock(&mut doors, now, &victim, false, 1000);
        assert_eq!((begun, last), (UNPROVEN.burst as usize, Answer::Prove));
        assert_eq!(knock(&mut doors, now, &victim, true, 5).0, 5);
    }

    #[test]
    fn handshakes_of_a_host_and_of_a_subnet_have_a_rate() {
        let (mut doors, now) = (Doors::default(), testing::start());
        let marks = Marks::default();
        let host = marks.public.host_rate.expect("limited");
        let mut begun = 0;
        for _ in 0..1000 {
            if doors.knock(now, ip("198.51.100.7"), true, &marks) == Answer::Begin {
                begun += 1;
                doors.ended(ip("198.51.100.7"));
            }
        }
        assert_eq!(begun, host.burst);
        for last in 0..250u8 {
            let other = IpAddr::from([198, 51, 100, last]);
            if doors.knock(now, other, true, &marks) == Answer::Begin {
                begun += 1;
                doors.ended(other);
            }
        }
        assert_eq!(begun, marks.public.subnet_rate.expect("limited").burst);
        assert_eq!(doors.knock(now, ip("203.0.113.5"), true, &marks), Answer::Begin);
        let later = now + Duration::from_secs(60);
        assert_eq!(doors.knock(later, ip("198.51.100.7"), true, &marks), Answer::Begin);
    }

    #[test]
    fn one_host_takes_a_part_of_the_handshakes_and_all_together_no_more_than_there_are() {
        let (mut doors, now) = (Doors::default(), testing::start());
        let marks = Marks::default();
        let (begun, last) = knock(&mut doors, now, &[ip("127.0.0.1")], false, 10_000);
        assert_eq!((begun, last), (marks.loopback.half_open / 2, Answer::Prove));
        let (begun, last) = knock(&mut doors, now, &[ip("127.0.0.1")], true, 10_000);
        assert_eq!((begun, last), (marks.loopback.half_open / 2, Answer::Refuse(Turned::HostHalfOpen)));
        let many: Vec<IpAddr> = (0..200u8).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let (begun, last) = knock(&mut doors, now, &many, true, 10_000);
        assert_eq!((begun, last), (marks.half_open - marks.loopback.half_open, Answer::Refuse(Turned::HalfOpen)));
        doors.ended(ip("127.0.0.1"));
        assert_eq!(doors.knock(now, many[0], true, &marks), Answer::Begin);
    }

    #[test]
    fn whoever_did_harm_waits() {
        let (mut doors, now) = (Doors::default(), testing::start());
        let marks = Marks::default();
        doors.slow_down(now, ip("198.51.100.7"), &marks);
        assert_eq!(doors.knock(now, ip("198.51.100.7"), false, &marks), Answer::Prove);
        assert_eq!(doors.knock(now, ip("198.51.100.7"), true, &marks), Answer::Refuse(Turned::Rate));
        assert_eq!(doors.knock(now, ip("198.51.100.8"), false, &marks), Answer::Begin);
    }

    #[test]
    fn memory_is_bounded_whoever_knocks() {
        let (mut doors, now) = (Doors::default(), testing::start());
        let marks = Marks::default();
        for number in 0..100_000u32 {
            let [_, a, b, c] = number.to_be_bytes();
            let from = IpAddr::from([9 + a, b, c, 1]);
            for proven in [false, true] {
                if doors.knock(now, from, proven, &marks) == Answer::Begin {
                    doors.ended(from);
                }
            }
        }
        assert!(doors.under_way.is_empty() && doors.under_way() == 0);
        let held = [doors.unproven.len(), doors.hosts.len(), doors.subnets.len()];
        assert!(held.iter().all(|held| *held <= MAX_WATCHED), "{held:?}");
    }
}
