//! The rate limits on incoming handshakes: a packet that asks for a connection costs its sender nothing, but a
//! handshake costs this node a signature. Pure; netcore's `peers::inbound` asks it before each handshake.
//!
//! A first packet proves no address. Each host gets a few handshakes without proof. After that it must prove its
//! address (by a *Retry*, RFC 9000, section 8.1.2, which costs this node one packet and no memory). While many
//! handshakes are in progress, every host must. Proven addresses have a rate limit per host and one per subnet. So
//! nobody can use up the tokens of an address that is not theirs, and an owner of many addresses gets the tokens of one
//! subnet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::caps::Host;
use super::watermarks::{Marks, ZoneLimits};

use crate::address::Subnet;
use crate::rate::{Buckets, Rate};

/// Most hosts, and most subnets, with a token bucket of their own; the others share one. About 400 KiB in all.
pub const MAX_WATCHED: usize = 4096;
/// Rate limit of handshakes that a host gets without proof of its address.
const UNPROVEN: Rate = Rate { burst: 4, per_second: 1 };

/// What to do with a packet that asks for a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Begin the handshake; call [`HandshakeGate::ended`] when it is over.
    Begin,
    /// Ask for proof of the address, with a Retry.
    Prove,
    /// Refuse: this limit is reached.
    Refuse(HandshakeLimit),
}

/// The limit because of which a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeLimit {
    /// The rate limit of its host or subnet.
    Rate,
    /// Handshakes in progress of its host.
    HostHalfOpen,
    /// Handshakes in progress in all.
    HalfOpen,
}

/// The handshakes in progress, and the token buckets for new ones.
#[derive(Debug)]
pub struct HandshakeGate {
    in_progress: BTreeMap<Host, usize>,
    total: usize,
    unproven: Buckets<Host>,
    hosts: Buckets<Host>,
    subnets: Buckets<Subnet>,
}

impl Default for HandshakeGate {
    fn default() -> Self {
        Self {
            in_progress: BTreeMap::new(),
            total: 0,
            unproven: Buckets::new(MAX_WATCHED),
            hosts: Buckets::new(MAX_WATCHED),
            subnets: Buckets::new(MAX_WATCHED),
        }
    }
}

impl HandshakeGate {
    /// Decides about a handshake with `ip`. `proven` tells whether the address is proven: the other end has returned a
    /// token that was sent there.
    pub fn admit(&mut self, now: Instant, ip: IpAddr, proven: bool, marks: &Marks) -> Answer {
        let (host, limits) = (Host::of(ip), marks.zone_limits(ip));
        if !proven {
            let busy = self.total >= marks.half_open / 2;
            let free = limits.host_rate.is_none() || self.unproven.take(host, UNPROVEN, 1, now);
            if busy || !free || self.count(host) >= limits.half_open.div_ceil(2) {
                return Answer::Prove;
            }
        } else if !self.take(now, ip, limits) {
            return Answer::Refuse(HandshakeLimit::Rate);
        }
        if self.total >= marks.half_open {
            return Answer::Refuse(HandshakeLimit::HalfOpen);
        }
        if self.count(host) >= limits.half_open {
            return Answer::Refuse(HandshakeLimit::HostHalfOpen);
        }
        self.total += 1;
        *self.in_progress.entry(host).or_default() += 1;
        Answer::Begin
    }

    fn take(&mut self, now: Instant, ip: IpAddr, limits: &ZoneLimits) -> bool {
        limits.host_rate.is_none_or(|rate| self.hosts.take(Host::of(ip), rate, 1, now))
            && limits.subnet_rate.is_none_or(|rate| self.subnets.take(Subnet::of(ip), rate, 1, now))
    }

    fn count(&self, host: Host) -> usize {
        self.in_progress.get(&host).copied().unwrap_or_default()
    }

    /// Notes that a handshake which was begun with `ip` is over, whether it succeeded or not.
    pub fn ended(&mut self, ip: IpAddr) {
        let host = Host::of(ip);
        if let Some(count) = self.in_progress.get_mut(&host) {
            self.total -= 1;
            *count -= 1;
            if *count == 0 {
                self.in_progress.remove(&host);
            }
        }
    }

    /// Takes all tokens of the host of `ip`, after an offence: its next handshakes wait for the refill.
    pub fn slow_down(&mut self, now: Instant, ip: IpAddr, marks: &Marks) {
        if let Some(rate) = marks.zone_limits(ip).host_rate {
            self.hosts.drain(Host::of(ip), rate, now);
            self.unproven.drain(Host::of(ip), UNPROVEN, now);
        }
    }

    /// The number of handshakes in progress.
    pub fn in_progress(&self) -> usize {
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

    /// Asks for `count` handshakes from `ips` in turn; returns how many are begun, and the answer to the last one.
    fn admit_many(
        gate: &mut HandshakeGate,
        now: Instant,
        ips: &[IpAddr],
        proven: bool,
        count: usize,
    ) -> (usize, Answer) {
        let marks = Marks::default();
        let answers: Vec<_> =
            (0..count).map(|number| gate.admit(now, ips[number % ips.len()], proven, &marks)).collect();
        (answers.iter().filter(|answer| **answer == Answer::Begin).count(), *answers.last().expect("some"))
    }

    #[test]
    fn spoofed_handshakes_use_up_nothing_of_the_real_owner() {
        let (mut gate, now) = (HandshakeGate::default(), testing::start());
        let victim = [ip("198.51.100.7")];
        let (begun, last) = admit_many(&mut gate, now, &victim, false, 1000);
        assert_eq!((begun, last), (UNPROVEN.burst as usize, Answer::Prove));
        assert_eq!(admit_many(&mut gate, now, &victim, true, 5).0, 5);
    }

    #[test]
    fn handshakes_of_a_host_and_of_a_subnet_have_a_rate() {
        let (mut gate, now) = (HandshakeGate::default(), testing::start());
        let marks = Marks::default();
        let host = marks.public.host_rate.expect("limited");
        let mut begun = 0;
        for _ in 0..1000 {
            if gate.admit(now, ip("198.51.100.7"), true, &marks) == Answer::Begin {
                begun += 1;
                gate.ended(ip("198.51.100.7"));
            }
        }
        assert_eq!(begun, host.burst);
        for last in 0..250u8 {
            let other = IpAddr::from([198, 51, 100, last]);
            if gate.admit(now, other, true, &marks) == Answer::Begin {
                begun += 1;
                gate.ended(other);
            }
        }
        assert_eq!(begun, marks.public.subnet_rate.expect("limited").burst);
        assert_eq!(gate.admit(now, ip("203.0.113.5"), true, &marks), Answer::Begin);
        let later = now + Duration::from_secs(60);
        assert_eq!(gate.admit(later, ip("198.51.100.7"), true, &marks), Answer::Begin);
    }

    #[test]
    fn one_host_takes_a_part_of_the_handshakes_and_all_together_no_more_than_there_are() {
        let (mut gate, now) = (HandshakeGate::default(), testing::start());
        let marks = Marks::default();
        let (begun, last) = admit_many(&mut gate, now, &[ip("127.0.0.1")], false, 10_000);
        assert_eq!((begun, last), (marks.loopback.half_open / 2, Answer::Prove));
        let (begun, last) = admit_many(&mut gate, now, &[ip("127.0.0.1")], true, 10_000);
        assert_eq!((begun, last), (marks.loopback.half_open / 2, Answer::Refuse(HandshakeLimit::HostHalfOpen)));
        let many: Vec<IpAddr> = (0..200u8).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let (begun, last) = admit_many(&mut gate, now, &many, true, 10_000);
        assert_eq!(
            (begun, last),
            (marks.half_open - marks.loopback.half_open, Answer::Refuse(HandshakeLimit::HalfOpen))
        );
        gate.ended(ip("127.0.0.1"));
        assert_eq!(gate.admit(now, many[0], true, &marks), Answer::Begin);
    }

    #[test]
    fn whoever_did_harm_waits() {
        let (mut gate, now) = (HandshakeGate::default(), testing::start());
        let marks = Marks::default();
        gate.slow_down(now, ip("198.51.100.7"), &marks);
        assert_eq!(gate.admit(now, ip("198.51.100.7"), false, &marks), Answer::Prove);
        assert_eq!(gate.admit(now, ip("198.51.100.7"), true, &marks), Answer::Refuse(HandshakeLimit::Rate));
        assert_eq!(gate.admit(now, ip("198.51.100.8"), false, &marks), Answer::Begin);
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_hosts() {
        let (mut gate, now) = (HandshakeGate::default(), testing::start());
        let marks = Marks::default();
        for number in 0..100_000u32 {
            let [_, a, b, c] = number.to_be_bytes();
            let from = IpAddr::from([9 + a, b, c, 1]);
            for proven in [false, true] {
                if gate.admit(now, from, proven, &marks) == Answer::Begin {
                    gate.ended(from);
                }
            }
        }
        assert!(gate.in_progress.is_empty() && gate.in_progress() == 0);
        let held = [gate.unproven.len(), gate.hosts.len(), gate.subnets.len()];
        assert!(held.iter().all(|held| *held <= MAX_WATCHED), "{held:?}");
    }
}
