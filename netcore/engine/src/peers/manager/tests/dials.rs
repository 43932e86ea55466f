//! Which nodes it dials, when, and how often.

use std::net::SocketAddr;
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;

use super::super::{Ending, HOPELESS, LONGEST, LONGEST_TAKEN, MAX_FOUND_DIALS, TAKEN};
use super::{MINUTE, World, node};
use crate::peers::score::ScoreEvent;
use crate::source::Source;
use crate::testing;

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
    world.manager.down(world.now, &node(2), Ending::Deliberate);
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
fn the_same_seed_decides_the_same() {
    let run = || {
        let mut world = World::new(16, 32);
        world.now.at = testing::start();
        world.found(0..300, Source::Exchange).settle();
        for _ in 0..5 {
            world.answer_all().pass(MINUTE);
        }
        let links: Vec<NodeId> = world.manager.links.keys().copied().collect();
        (world.dialed.clone(), links)
    };
    assert_eq!(run(), run());
}

#[test]
fn peer_that_keeps_another_node_of_this_identity_is_dialed_less_and_less_often() {
    let mut world = World::new(4, 8);
    world.connected(1, true);
    for before in [0, 1, 5, 40] {
        world.manager.down(world.now, &node(1), Ending::Taken { before });
        let down = world.now;
        while world.settle().dialed.is_empty() {
            let next = world.manager.next_timeout().expect("it tries again");
            world.now = world.now.after(next.saturating_duration_since(world.now.at));
        }
        let (waited, middle) = (world.now.at - down.at, TAKEN.saturating_mul(1 << before.min(16)).min(LONGEST_TAKEN));
        assert!(waited >= middle.mul_f64(0.5) && waited <= middle.mul_f64(1.5), "{before}: {waited:?}");
        world.dialed.clear();
        world.manager.dial_ended(world.now, &node(1), true);
        world.connected(1, true);
    }
}
