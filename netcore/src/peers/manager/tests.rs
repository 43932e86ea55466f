//! Each decision of the manager, in virtual time; then all of them at random, with what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;
use proptest::prelude::*;

use super::super::book::{Book, MAX_NODES, Source};
use super::super::marks::Marks;
use super::super::score::ScoreEvent;
use super::{Action, Ending, HOPELESS, LONGEST, MAX_FOUND_DIALS, Manager, Parting, Refusal};
use crate::now::Now;

const MINUTE: Duration = Duration::from_secs(60);

fn node(number: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

/// A host of its own in a subnet of its own, on the internet.
fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([20 + a, b, c, 1], 7470))
}

/// A node's manager and its clock. Dials succeed or fail as the test says.
struct World {
    manager: Manager,
    now: Now,
    dialed: Vec<NodeId>,
    closed: Vec<(NodeId, Parting)>,
}

impl World {
    fn new(low: usize, high: usize) -> Self {
        Self::with(Marks::new(low, high), Book::default())
    }

    fn with(marks: Marks, book: Book) -> Self {
        let now = Now { unix: 1_800_000_000, ..Now::real() };
        let manager = Manager::new(node(u32::MAX), marks, book, [7; 32], now);
        Self { manager, now, dialed: Vec::new(), closed: Vec::new() }
    }

    /// Does everything there is to do now; a connection that is closed ends at once.
    fn settle(&mut self) -> &mut Self {
        while let Some(action) = self.manager.poll(self.now) {
            match action {
                Action::Dial { node, .. } => self.dialed.push(node),
                Action::Close { node, why } => {
                    self.closed.push((node, why));
                    self.manager.down(self.now, &node, Ending::LetGo);
                }
            }
        }
        self
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now.after(time);
        // Wakes when asked to, as a driver does.
        while let Some(at) = self.manager.next_timeout().filter(|at| *at <= end.at) {
            let later = at.saturating_duration_since(self.now.at);
            self.now = self.now.after(later);
            self.settle();
        }
        self.now = end;
        self.settle()
    }

    fn found(&mut self, numbers: std::ops::Range<u32>, source: Source) -> &mut Self {
        for number in numbers {
            self.manager.found(self.now, node(number), &[address(number)], source);
        }
        self
    }

    fn connected(&mut self, number: u32, outgoing: bool) -> &mut Self {
        self.manager.dial_ended(self.now, &node(number), true);
        let (at, source) = (address(number), if outgoing { Source::Exchange } else { Source::Incoming });
        self.manager.up(self.now, node(number), at.ip(), Some(at), source, outgoing);
        self
    }

    /// Somebody dials in; it stays if it may.
    fn incoming(&mut self, number: u32, ip: IpAddr) -> Result<(), Refusal> {
        let admission = self.manager.admit(self.now, node(number), ip)?;
        self.manager.up(self.now, node(number), ip, None, Source::Incoming, false);
        self.manager.settled(admission);
        self.settle();
        Ok(())
    }

    /// Dials under way succeed.
    fn answer_all(&mut self) -> &mut Self {
        for dialed in std::mem::take(&mut self.dialed) {
            let number = u32::from_be_bytes(dialed.0[..4].try_into().expect("4 bytes"));
            self.connected(number, true);
        }
        self.settle()
    }
}

#[test]
fn below_low_it_dials_a_few_at_once_until_low_is_reached_and_no_more() {
    let mut world = World::new(16, 128);
    world.found(0..100, Source::Exchange).settle();
    assert_eq!(world.dialed.len(), world.manager.marks().dials);
    for _ in 0..20 {
        world.answer_all();
    }
    assert_eq!((world.manager.connected(), world.dialed.len()), (16, 0));
    world.pass(10 * MINUTE);
    assert_eq!((world.manager.connected(), world.dialed.len()), (16, 0));
}

#[test]
fn surrounded_by_strangers_it_still_dials_half_of_low_itself() {
    let mut world = World::new(16, 128);
    for number in 1000..1080 {
        world.connected(number, false);
    }
    world.found(0..100, Source::Dht).settle();
    for _ in 0..20 {
        world.answer_all();
    }
    assert_eq!((world.manager.connected(), world.manager.chosen()), (88, 8));
}

#[test]
fn failed_dials_wait_longer_each_time_with_jitter_and_hopeless_strangers_are_forgotten() {
    let mut world = World::new(4, 8);
    world.found(1..2, Source::Exchange).settle();
    let mut waits = Vec::new();
    for _ in 0..HOPELESS - 1 {
        assert_eq!(world.dialed.pop(), Some(node(1)));
        world.manager.dial_ended(world.now, &node(1), false);
        let failed = world.now;
        while world.settle().dialed.is_empty() {
            let next = world.manager.next_timeout().expect("it tries again");
            world.now = world.now.after(next.saturating_duration_since(world.now.at));
        }
        waits.push(world.now.at.saturating_duration_since(failed.at).as_secs_f64());
    }
    for (failures, wait) in waits.iter().enumerate() {
        let middle = f64::from(1 << failures);
        assert!((0.5 * middle..=1.5 * middle).contains(wait), "{waits:?}");
    }
    assert!(waits.windows(2).any(|pair| (pair[1] / pair[0] - 2.0).abs() > 0.01), "no jitter: {waits:?}");
    world.manager.dial_ended(world.now, &node(1), false);
    assert!(world.manager.book().get(&node(1)).is_none());
}

#[test]
fn node_that_is_full_is_left_alone_for_minutes() {
    let mut world = World::new(4, 8);
    world.found(1..2, Source::Exchange).settle();
    assert_eq!(world.dialed.pop(), Some(node(1)));
    world.manager.was_full(world.now, &node(1));
    world.manager.dial_ended(world.now, &node(1), false);
    world.pass(2 * MINUTE);
    assert_eq!(world.dialed, []);
    world.pass(6 * MINUTE);
    assert_eq!(world.dialed, [node(1)]);
}

#[test]
fn remembered_peers_are_tried_for_ever_but_rarely() {
    let mut world = World::new(4, 8);
    world.connected(1, true);
    world.manager.down(world.now, &node(1), Ending::Lost);
    let mut tries = 0;
    let mut latest = world.now;
    for _ in 0..40 {
        world.pass(20 * MINUTE);
        for dialed in std::mem::take(&mut world.dialed) {
            tries += 1;
            latest = world.now;
            world.manager.dial_ended(world.now, &dialed, false);
        }
    }
    assert!(tries >= 30, "{tries}");
    assert!(world.now.at.saturating_duration_since(latest.at) <= 2 * LONGEST);
}

#[test]
fn lost_peer_is_dialed_again_at_once_and_one_that_was_let_go_is_left_alone() {
    let mut world = World::new(4, 8);
    world.connected(1, true).connected(2, true).settle();
    world.manager.down(world.now, &node(1), Ending::Lost);
    world.manager.down(world.now, &node(2), Ending::LetGo);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.dialed, [node(1)]);
    world.pass(15 * MINUTE);
    assert!(world.dialed.contains(&node(2)));
}

#[test]
fn choices_are_spread_over_subnets() {
    let mut world = World::new(16, 128);
    // An attacker knows hundreds of nodes in one subnet, all with the best scores.
    for number in 0..200u32 {
        let at = SocketAddr::from(([66, 6, 6, number as u8], 7470));
        world.manager.found(world.now, node(number), &[at], Source::Exchange);
        for _ in 0..100 {
            world.manager.score(world.now, node(number), ScoreEvent::Useful);
        }
    }
    world.found(1000..1005, Source::Exchange).settle();
    let evil = world.dialed.iter().filter(|dialed| **dialed < node(1000)).count();
    assert_eq!((evil, world.dialed.len()), (world.manager.marks().chosen_per_subnet, 7));
}

#[test]
fn choices_are_spread_over_sources() {
    let mut world = World::new(16, 128);
    world.found(0..200, Source::Exchange).found(1000..1200, Source::Dht).found(2000..2001, Source::Dns).settle();
    let from = |low: u32, high: u32| world.dialed.iter().filter(|id| (node(low)..node(high)).contains(*id)).count();
    assert_eq!(from(2000, 2001), 1);
    assert!(from(0, 200) >= 3 && from(1000, 1200) >= 3, "{:?}", world.dialed);
}

#[test]
fn of_one_source_the_best_score_comes_first_then_who_worked_last() {
    let mut world = World::new(2, 8);
    for number in 1..20 {
        world.connected(number, true);
        world.now = world.now.after(MINUTE);
    }
    for number in 1..20 {
        world.manager.down(world.now, &node(number), Ending::Lost);
    }
    for _ in 0..40 {
        world.manager.score(world.now, node(7), ScoreEvent::Useful);
    }
    world.manager.score(world.now, node(19), ScoreEvent::Timeout);
    world.manager.score(world.now, node(19), ScoreEvent::Timeout);
    world.now = world.now.after(Duration::from_secs(5));
    world.settle();
    assert_eq!(world.dialed[0], node(7));
    assert!(!world.dialed.contains(&node(19)), "{:?}", world.dialed);
}

#[test]
fn what_a_caller_told_alone_is_not_dialed_by_itself() {
    let mut world = World::new(16, 128);
    world.found(1..2, Source::Ticket).pass(10 * MINUTE);
    assert!(world.dialed.is_empty());
}

#[test]
fn announcements_on_the_local_network_are_verified_up_to_high_and_only_so_many_at_once() {
    let mut world = World::new(2, 64);
    world.found(0..2000, Source::Lan).settle();
    assert_eq!(world.dialed.len(), MAX_FOUND_DIALS);
    for number in 0..64 {
        world.connected(number, true);
    }
    world.dialed.clear();
    world.found(3000..3100, Source::Lan).settle();
    assert!(world.dialed.is_empty(), "full");
}

#[test]
fn above_high_the_least_useful_go_and_neither_protected_nor_used_nor_young_ones() {
    let mut world = World::new(2, 10);
    for number in 0..14 {
        world.connected(number, true);
    }
    world.manager.protect(world.now, node(0), true);
    world.manager.keep(node(1));
    for number in 0..2 {
        // The two worst of all, but protected and in use.
        for _ in 0..3 {
            world.manager.score(world.now, node(number), ScoreEvent::InvalidGossip);
        }
    }
    for number in 2..4 {
        world.manager.score(world.now, node(number), ScoreEvent::Timeout);
    }
    for number in 6..14 {
        world.manager.score(world.now, node(number), ScoreEvent::Useful);
    }
    world.settle();
    assert_eq!(world.closed, [], "all are young");
    world.pass(MINUTE);
    let gone: BTreeSet<NodeId> = world.closed.iter().map(|(node, _)| *node).collect();
    assert_eq!(gone, [2, 3, 4, 5].map(node).into());
    assert!(world.closed.iter().all(|(_, why)| *why == Parting::Crowded));
    assert_eq!(world.manager.tallies().let_go_crowded, 4);
}

#[test]
fn a_full_node_lets_in_only_who_is_better_than_the_worst_that_dialed_it() {
    let mut world = World::new(4, 10);
    for number in 0..10 {
        world.connected(number, number < 4);
    }
    world.pass(MINUTE);
    let stranger = address(100).ip();
    assert_eq!(world.incoming(100, stranger), Err(Refusal::Full), "all are worth a little, as they are there");
    assert_eq!(world.manager.tallies().refused_high_water, 1);
    world.manager.score(world.now, node(2), ScoreEvent::InvalidGossip);
    assert_eq!(
        world.incoming(100, stranger),
        Err(Refusal::Full),
        "whom this node chose is not for strangers to replace"
    );
    world.manager.score(world.now, node(7), ScoreEvent::Timeout);
    assert_eq!(world.incoming(100, stranger), Ok(()));
    assert_eq!(world.closed, [(node(7), Parting::Crowded)]);
    assert_eq!(world.incoming(101, address(101).ip()), Err(Refusal::Full));
    world.manager.protect(world.now, node(101), true);
    assert_eq!(world.incoming(101, address(101).ip()), Ok(()), "the operator wants it");
}

#[test]
fn strangers_leave_places_for_those_the_node_chooses() {
    let mut world = World::new(8, 20);
    let let_in = (0..100).filter(|number| world.incoming(*number, address(*number).ip()).is_ok()).count();
    assert_eq!(let_in, 16);
}

#[test]
fn places_have_limits_for_incoming_connections_and_for_choices() {
    let mut world = World::new(16, 512);
    let one = IpAddr::from([66, 6, 6, 6]);
    let per_host = world.manager.marks().public.per_host.expect("limited");
    let let_in = (0..100).filter(|number| world.incoming(*number, one).is_ok()).count();
    assert_eq!((let_in, world.manager.tallies().refused_per_ip), (per_host, 100 - per_host as u64));
    let subnet = |number: u32| IpAddr::from([66, 6, 6, 100 + number as u8]);
    let more = (100..200).filter(|number| world.incoming(*number, subnet(number % 100)).is_ok()).count();
    let per_subnet = world.manager.marks().public.per_subnet.expect("limited");
    assert_eq!((let_in + more, world.manager.tallies().refused_per_subnet), (per_subnet, 100 - more as u64));
    let elsewhere = SocketAddr::from(([66, 6, 6, 250], 1));
    world.manager.found(world.now, node(500), &[elsewhere], Source::Dht);
    world.settle();
    assert!(world.dialed.is_empty(), "that subnet is full");
    // A peer that lost its connection keeps its place, and one that goes gives it back.
    assert_eq!(world.incoming(0, one), Ok(()));
    world.manager.down(world.now, &node(0), Ending::Lost);
    assert_eq!(world.incoming(600, one), Ok(()));
    for number in 1000..1400 {
        assert_eq!(world.incoming(number, IpAddr::from([127, 0, 0, 1])), Ok(()), "no limit on this machine");
    }
}

#[test]
fn unused_connections_go_above_low_the_least_useful_first_and_used_ones_stay() {
    let mut world = World::new(4, 64);
    for number in 0..20 {
        world.connected(number, number % 2 == 0);
    }
    world.manager.keep(node(3));
    world.manager.protect(world.now, node(5), true);
    world.manager.score(world.now, node(1), ScoreEvent::Useful);
    let idle = world.manager.marks().idle;
    world.pass(idle - MINUTE);
    assert_eq!(world.closed, []);
    world.manager.used(world.now, &node(7));
    world.pass(2 * MINUTE);
    assert_eq!(world.manager.connected(), 5, "those three, and two that this node chose");
    let gone: BTreeSet<NodeId> = world.closed.iter().map(|(node, _)| *node).collect();
    assert!([3, 5, 7].iter().all(|number| !gone.contains(&node(*number))), "{gone:?}");
    assert!(world.closed.iter().all(|(_, why)| *why == Parting::Unused));
    world.manager.release(world.now, &node(3));
    world.pass(2 * idle);
    assert_eq!(world.manager.connected(), 4, "never below low");
}

#[test]
fn whoever_does_too_much_harm_is_cut_off_and_refused_until_the_ban_ends() {
    let mut world = World::new(4, 8);
    world.connected(1, true).settle();
    assert!(!world.manager.score(world.now, node(1), ScoreEvent::Lie));
    assert!(!world.manager.score(world.now, node(1), ScoreEvent::Timeout));
    assert!(world.manager.score(world.now, node(1), ScoreEvent::Lie));
    world.settle();
    assert_eq!(world.closed, [(node(1), Parting::Banned)]);
    assert!(matches!(world.incoming(1, address(1).ip()), Err(Refusal::Banned { .. })));
    world.pass(9 * MINUTE);
    assert!(world.dialed.is_empty() && world.manager.check(&node(1), world.now).is_err());
    world.pass(10 * MINUTE);
    assert_eq!(world.dialed, [node(1)], "on probation");
    let written = world.manager.take_changed();
    assert!(written.iter().any(|(id, entry)| *id == node(1) && entry.is_some()));
}

#[test]
fn protected_peers_are_dialed_first_whatever_the_marks_say_and_never_banned() {
    let mut world = World::new(2, 4);
    for number in 100..104 {
        world.connected(number, true);
    }
    world.found(1..2, Source::Ticket).settle();
    world.manager.protect(world.now, node(1), true);
    world.settle();
    assert_eq!(world.dialed, [node(1)]);
    world.answer_all();
    for _ in 0..10 {
        assert!(!world.manager.score(world.now, node(1), ScoreEvent::Misbehaved));
    }
    world.pass(60 * MINUTE);
    assert!(world.closed.iter().all(|(closed, _)| *closed != node(1)));
    assert_eq!(world.manager.check(&node(1), world.now), Ok(()));
}

#[test]
fn blocked_peers_are_neither_dialed_nor_let_in_and_a_pardon_lifts_a_ban_too() {
    let mut world = World::new(4, 8);
    world.found(1..3, Source::Dht);
    world.manager.book_mut().set_blocked(node(1), true);
    while !world.manager.score(world.now, node(2), ScoreEvent::Misbehaved) {}
    world.settle();
    assert!(world.dialed.is_empty());
    assert_eq!(world.incoming(1, address(1).ip()), Err(Refusal::Blocked));
    world.manager.pardon(world.now, node(1));
    world.manager.pardon(world.now, node(2));
    world.settle();
    assert_eq!(world.dialed.len(), 2);
}

#[test]
fn the_same_seed_decides_the_same() {
    let run = || {
        let mut world = World::new(16, 32);
        world.now.at = std::time::Instant::now();
        world.found(0..300, Source::Exchange).settle();
        for _ in 0..5 {
            world.answer_all().pass(MINUTE);
        }
        let links: Vec<NodeId> = world.manager.links.keys().copied().collect();
        (world.dialed.clone(), links)
    };
    assert_eq!(run(), run());
}

/// Anything that can happen.
#[derive(Debug, Clone)]
enum Op {
    Found(u32, u8, bool),
    Incoming(u32, u8),
    Wanted(u32),
    DialEnds(bool),
    Lost(u32),
    Keep(u32),
    Release(u32),
    Score(u32, u8),
    Protect(u32, bool),
    Block(u32, bool),
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    let id = 0..60u32;
    prop_oneof![
        3 => (id.clone(), any::<u8>(), any::<bool>()).prop_map(|(n, place, lan)| Op::Found(n, place, lan)),
        4 => (id.clone(), any::<u8>()).prop_map(|(n, place)| Op::Incoming(n, place)),
        1 => id.clone().prop_map(Op::Wanted),
        4 => any::<bool>().prop_map(Op::DialEnds),
        2 => id.clone().prop_map(Op::Lost),
        1 => id.clone().prop_map(Op::Keep),
        1 => id.clone().prop_map(Op::Release),
        2 => (id.clone(), 0..7u8).prop_map(|(n, event)| Op::Score(n, event)),
        1 => (id.clone(), any::<bool>()).prop_map(|(n, on)| Op::Protect(n, on)),
        1 => (id, any::<bool>()).prop_map(|(n, on)| Op::Block(n, on)),
        3 => (0..2000u16).prop_map(Op::Pass),
    ]
}

/// A host in one of four subnets.
fn place(number: u8) -> IpAddr {
    IpAddr::from([50, 0, number % 4, number / 16])
}

/// What the outside knows beside the manager.
#[derive(Default)]
struct Outside {
    up: BTreeMap<NodeId, (IpAddr, bool)>,
    dialing: BTreeSet<NodeId>,
    kept: BTreeMap<NodeId, usize>,
    protected: BTreeSet<NodeId>,
    since: BTreeMap<NodeId, Now>,
}

const EVENTS: [ScoreEvent; 7] = [
    ScoreEvent::Useful,
    ScoreEvent::ValidGossip,
    ScoreEvent::Timeout,
    ScoreEvent::InvalidGossip,
    ScoreEvent::Flood,
    ScoreEvent::Lie,
    ScoreEvent::Misbehaved,
];

fn apply(manager: &mut Manager, outside: &mut Outside, now: &mut Now, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Found(n, at, lan) => {
            let source = if lan { Source::Lan } else { Source::Exchange };
            manager.found(*now, node(n), &[SocketAddr::new(place(at), 7470)], source);
        }
        Op::Incoming(n, at) => {
            let (id, marks) = (node(n), manager.marks().clone());
            let has_place = outside.up.contains_key(&id) || outside.dialing.contains(&id);
            let (host, subnet) = (manager.counts.host(place(at)), manager.counts.subnet(place(at)));
            let (all, strangers) = (outside.up.len(), outside.up.values().filter(|(_, out)| !out).count());
            if let Ok(admission) = manager.admit(*now, node(n), place(at)) {
                if !has_place && !outside.protected.contains(&id) {
                    prop_assert!(Some(host) < marks.public.per_host && Some(subnet) < marks.public.per_subnet);
                    let room = all < marks.high && strangers < marks.incoming();
                    prop_assert!(room || manager.links.values().any(|held| held.closing), "nobody goes for it");
                }
                manager.up(*now, node(n), place(at), None, Source::Incoming, false);
                manager.settled(admission);
                outside.up.insert(node(n), (place(at), false));
                outside.since.insert(node(n), *now);
            }
        }
        Op::Wanted(n) => {
            if !outside.up.contains_key(&node(n)) && outside.dialing.insert(node(n)) {
                manager.dialing(node(n));
            }
        }
        Op::DialEnds(well) => {
            let Some(dialed) = outside.dialing.pop_first() else { return Ok(()) };
            let at = manager.book().candidates(&dialed).first().copied();
            let works = well && at.is_some() && manager.check(&dialed, *now).is_ok();
            if let (true, Some(at)) = (works, at) {
                manager.up(*now, dialed, at.ip(), Some(at), Source::Exchange, true);
                outside.up.insert(dialed, (at.ip(), true));
                outside.since.insert(dialed, *now);
            }
            manager.dial_ended(*now, &dialed, outside.up.contains_key(&dialed));
        }
        Op::Lost(n) => {
            if outside.up.remove(&node(n)).is_some() {
                manager.down(*now, &node(n), Ending::Lost);
            }
        }
        Op::Keep(n) => {
            manager.keep(node(n));
            *outside.kept.entry(node(n)).or_default() += 1;
        }
        Op::Release(n) => {
            if let Some(users) = outside.kept.get_mut(&node(n)).filter(|users| **users > 0) {
                *users -= 1;
                manager.release(*now, &node(n));
            }
        }
        Op::Score(n, event) => drop(manager.score(*now, node(n), EVENTS[usize::from(event)])),
        Op::Protect(n, on) => {
            if manager.protect(*now, node(n), on) && on {
                outside.protected.insert(node(n));
            } else {
                outside.protected.remove(&node(n));
            }
        }
        Op::Block(n, true) => drop(manager.book_mut().set_blocked(node(n), true)),
        Op::Block(n, false) => manager.pardon(*now, node(n)),
        Op::Pass(seconds) => *now = now.after(Duration::from_secs(seconds.into())),
    }
    Ok(())
}

fn perform(manager: &mut Manager, outside: &mut Outside, now: Now) -> Result<(), TestCaseError> {
    while let Some(action) = manager.poll(now) {
        match action {
            Action::Dial { node, addresses, .. } => {
                prop_assert!(!addresses.is_empty() && !outside.up.contains_key(&node));
                prop_assert!(outside.dialing.insert(node), "dialed twice");
                prop_assert!(manager.check(&node, now).is_ok(), "dialed though refused");
            }
            Action::Close { node, why } => {
                prop_assert!(outside.up.remove(&node).is_some(), "closed what is not there");
                prop_assert!(!outside.protected.contains(&node), "closed a protected one");
                if why != Parting::Banned {
                    prop_assert!(outside.kept.get(&node).copied().unwrap_or_default() == 0, "closed one in use");
                    let age = now.at.saturating_duration_since(outside.since[&node].at);
                    prop_assert!(age >= manager.marks().grace, "closed one younger than the grace");
                }
                manager.down(now, &node, Ending::LetGo);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_limits_hold(ops in prop::collection::vec(op(), 1..200)) {
        let marks = Marks::new(6, 12);
        let mut now = Now { unix: 1_800_000_000, ..Now::real() };
        let mut manager = Manager::new(node(u32::MAX), marks.clone(), Book::default(), [1; 32], now);
        let mut outside = Outside::default();
        for op in ops {
            apply(&mut manager, &mut outside, &mut now, op)?;
            perform(&mut manager, &mut outside, now)?;

            prop_assert_eq!(manager.links.keys().collect::<Vec<_>>(), outside.up.keys().collect::<Vec<_>>());
            prop_assert!(manager.entering.is_empty() && manager.book().iter().count() <= MAX_NODES);
            let own = manager.dials.values().filter(|dial| dial.own).count();
            prop_assert!(own <= marks.dials.max(MAX_FOUND_DIALS), "{} dials", own);
            prop_assert_eq!(manager.dials.keys().collect::<Vec<_>>(), outside.dialing.iter().collect::<Vec<_>>());
            for (ip, _) in outside.up.values() {
                prop_assert_eq!(manager.counts.host(*ip), outside.up.values().filter(|(other, _)| other == ip).count());
            }
            prop_assert!(manager.next_timeout().is_none_or(|at| at > now.at), "there is nothing left to do now");
        }
        for node in outside.up.keys().copied().collect::<Vec<_>>() {
            manager.down(now, &node, Ending::Lost);
        }
        prop_assert!(manager.counts.is_empty() && manager.links.is_empty());
    }
}
