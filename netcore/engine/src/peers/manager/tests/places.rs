//! Which peers it admits and which it disconnects.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use polypeer_ipc_protocol::ids::NodeId;

use super::super::{CloseReason, Ending, Refusal};
use super::{MINUTE, World, address, node};
use crate::peers::score::ScoreEvent;
use crate::source::Source;

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
    assert!(world.closed.iter().all(|(_, why)| *why == CloseReason::Crowded));
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
    assert_eq!(world.closed, [(node(7), CloseReason::Crowded)]);
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
    assert!(world.closed.iter().all(|(_, why)| *why == CloseReason::Unused));
    world.manager.release(world.now, &node(3));
    world.pass(2 * idle);
    assert_eq!(world.manager.connected(), 4, "never below low");
}
