//! Random sequences of events, and the invariants that must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;
use proptest::prelude::*;

use super::super::{Action, CloseReason, Ending, MAX_FOUND_DIALS, Manager};
use super::node;
use crate::now::Now;
use crate::peers::book::{Book, MAX_NODES};
use crate::peers::score::ScoreEvent;
use crate::peers::watermarks::Marks;
use crate::source::Source;
use crate::testing;

/// An event or command.
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

/// The test's own account of dials, links and users, beside the manager's.
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
                    prop_assert!(
                        room || manager.links.values().any(|held| held.closing),
                        "no peer is disconnected for it"
                    );
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
                if why != CloseReason::Banned {
                    prop_assert!(outside.kept.get(&node).copied().unwrap_or_default() == 0, "closed one in use");
                    let age = now.at.saturating_duration_since(outside.since[&node].at);
                    prop_assert!(age >= manager.marks().grace, "closed one younger than the grace");
                }
                manager.down(now, &node, Ending::Deliberate);
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
        let mut now = testing::now();
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
