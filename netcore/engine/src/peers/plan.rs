//! The dial plan: order and pace of the attempts of one dial ("happy eyeballs", RFC 8305). It tries address families in
//! turn and starts the next attempt when the previous one fails or takes longer than [`STAGGER`]. Pure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Head start of each attempt over the next (RFC 8305, section 5).
pub const STAGGER: Duration = Duration::from_millis(250);
/// Timeout of one attempt: it survives two lost packets in a row (QUIC sends again after 1 and 3 s).
pub const ATTEMPT: Duration = Duration::from_secs(5);
/// Most attempts in progress at once.
const MAX_RUNNING: usize = 4;
/// Most attempts in one dial.
const MAX_ATTEMPTS: usize = 32;

/// The next step of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start an attempt at this address.
    Start(SocketAddr),
    /// Wait until this moment, or until an attempt ends.
    Wait(Instant),
    /// Wait until an attempt ends or an address is added.
    Idle,
    /// All attempts have ended, and no address is left to try.
    Exhausted,
}

/// The addresses of one dial that are tried and still to be tried.
#[derive(Debug)]
pub struct Plan {
    queue: VecDeque<SocketAddr>,
    tried: Vec<SocketAddr>,
    running: usize,
    next: Instant,
}

impl Plan {
    /// Creates a plan for `candidates`, best first.
    pub fn new(now: Instant, candidates: &[SocketAddr]) -> Self {
        let mut plan = Self { queue: VecDeque::new(), tried: Vec::new(), running: 0, next: now };
        plan.add(candidates);
        plan
    }

    /// Adds addresses learned during the dial; one that is known already is not tried twice.
    pub fn add(&mut self, candidates: &[SocketAddr]) {
        for candidate in candidates {
            if self.tried.len() + self.queue.len() < MAX_ATTEMPTS
                && !self.tried.contains(candidate)
                && !self.queue.contains(candidate)
            {
                self.queue.push_back(*candidate);
            }
        }
    }

    /// The next step at `now`.
    pub fn poll(&mut self, now: Instant) -> Step {
        if self.queue.is_empty() {
            return if self.running == 0 { Step::Exhausted } else { Step::Idle };
        }
        if self.running >= MAX_RUNNING {
            return Step::Idle;
        }
        if self.running > 0 && now < self.next {
            return Step::Wait(self.next);
        }
        let address = self.take();
        self.tried.push(address);
        self.running += 1;
        self.next = now + STAGGER;
        Step::Start(address)
    }

    /// Notes that an attempt ended without a connection.
    pub fn ended(&mut self, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.next = now;
    }

    /// Takes the best address of the other family than the last one tried, or else the best address.
    fn take(&mut self) -> SocketAddr {
        let last = self.tried.last().map(SocketAddr::is_ipv4);
        let index = self.queue.iter().position(|address| Some(address.is_ipv4()) != last).unwrap_or(0);
        self.queue.remove(index).expect("only asked when not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn v4(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn v6(port: u16) -> SocketAddr {
        format!("[2001:db8::1]:{port}").parse().expect("address")
    }

    #[test]
    fn attempts_are_staggered_and_families_take_turns() {
        let start = testing::start();
        let mut plan = Plan::new(start, &[v4(1), v4(2), v6(3), v6(4)]);
        assert_eq!(plan.poll(start), Step::Start(v4(1)));
        assert_eq!(plan.poll(start), Step::Wait(start + STAGGER));
        assert_eq!(plan.poll(start + STAGGER), Step::Start(v6(3)));
        assert_eq!(plan.poll(start + 2 * STAGGER), Step::Start(v4(2)));
        assert_eq!(plan.poll(start + 3 * STAGGER), Step::Start(v6(4)));
        assert_eq!(plan.poll(start + 4 * STAGGER), Step::Idle);
    }

    #[test]
    fn failed_attempt_starts_the_next_at_once_and_the_last_one_ends_the_dial() {
        let start = testing::start();
        let mut plan = Plan::new(start, &[v4(1), v4(2)]);
        assert_eq!(plan.poll(start), Step::Start(v4(1)));
        plan.ended(start);
        assert_eq!(plan.poll(start), Step::Start(v4(2)));
        assert_eq!(plan.poll(start), Step::Idle);
        plan.ended(start);
        assert_eq!(plan.poll(start), Step::Exhausted);
    }

    #[test]
    fn attempts_have_a_limit_at_once_and_in_all() {
        let start = testing::start();
        let many: Vec<_> = (1..100).map(v4).collect();
        let mut plan = Plan::new(start, &many);
        let mut now = start;
        let mut started = 0;
        let mut most = 0;
        loop {
            now += STAGGER;
            match plan.poll(now) {
                Step::Start(_) => started += 1,
                Step::Exhausted => break,
                _ => {
                    most = most.max(plan.running);
                    plan.ended(now);
                }
            }
        }
        assert_eq!((started, most), (MAX_ATTEMPTS, MAX_RUNNING));
    }

    #[test]
    fn address_added_while_dialing_is_tried_once() {
        let start = testing::start();
        let mut plan = Plan::new(start, &[v4(1)]);
        assert_eq!(plan.poll(start), Step::Start(v4(1)));
        plan.add(&[v4(1), v4(2), v4(2)]);
        assert_eq!(plan.poll(start + STAGGER), Step::Start(v4(2)));
        plan.ended(start);
        plan.ended(start);
        assert_eq!(plan.poll(start), Step::Exhausted);
    }
}
