//! The effect of offences, and of the operator's decisions about a peer.

use super::super::{CloseReason, Refusal};
use super::{MINUTE, World, address, node};
use crate::peers::score::ScoreEvent;
use crate::source::Source;

#[test]
fn whoever_does_too_much_harm_is_cut_off_and_refused_until_the_ban_ends() {
    let mut world = World::new(4, 8);
    world.connected(1, true).settle();
    assert!(!world.manager.score(world.now, node(1), ScoreEvent::Lie));
    assert!(!world.manager.score(world.now, node(1), ScoreEvent::Timeout));
    assert!(world.manager.score(world.now, node(1), ScoreEvent::Lie));
    world.settle();
    assert_eq!(world.closed, [(node(1), CloseReason::Banned)]);
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
