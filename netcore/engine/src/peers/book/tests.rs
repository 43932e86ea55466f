//! Which nodes a full book keeps, and which address is tried first.

use super::*;
use crate::peers::score::ScoreEvent;
use crate::testing::node;

fn address(last: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], last))
}

#[test]
fn address_that_worked_last_is_tried_first_then_by_source() {
    let mut book = Book::default();
    book.learn(node(1), address(1), Source::Peer);
    book.learn(node(1), address(2), Source::Ticket);
    book.learn(node(1), address(3), Source::Lan);
    assert_eq!(book.candidates(&node(1)), [address(2), address(3), address(1)]);
    book.connected(node(1), Some(address(1)), Source::Peer, 100);
    book.connected(node(1), Some(address(3)), Source::Lan, 200);
    assert_eq!(book.candidates(&node(1)), [address(3), address(1), address(2)]);
    book.is_elsewhere(&node(1), address(3));
    assert_eq!(book.candidates(&node(1)), [address(1), address(2)]);
}

#[test]
fn addresses_of_one_node_are_bounded_and_the_working_one_stays() {
    let mut book = Book::default();
    book.connected(node(1), Some(address(9)), Source::Remembered, 1);
    for port in 1000..1100 {
        book.learn(node(1), address(port), Source::Ticket);
    }
    assert_eq!(book.candidates(&node(1)).len(), MAX_ADDRESSES);
    assert_eq!(book.candidates(&node(1))[0], address(9));
}

#[test]
fn nodes_are_bounded_and_strangers_make_room_first() {
    let mut book = Book::default();
    book.connected(node(0), Some(address(1)), Source::Ticket, 1);
    book.seen(&node(0), false, 1);
    book.set_blocked(node(1), true);
    for number in 2..MAX_NODES as u32 + 100 {
        book.learn(node(number), address(1), Source::Lan);
    }
    assert_eq!(book.iter().count(), MAX_NODES);
    assert!(book.get(&node(0)).is_some() && book.is_blocked(&node(1)));
    assert!(book.get(&node(2)).is_none() && book.get(&node(MAX_NODES as u32 + 99)).is_some());
}

#[test]
fn full_of_blocked_nodes_it_takes_nobody_else() {
    let mut book = Book::default();
    let blocked = (0..MAX_NODES as u32 + 10).filter(|number| book.set_blocked(node(*number), true)).count();
    assert_eq!(blocked, MAX_NODES);
    assert!(!book.learn(node(u32::MAX), address(1), Source::Ticket));
}

#[test]
fn protected_nodes_are_few_and_make_no_room_for_others() {
    let mut book = Book::default();
    let protected = (0..MAX_NODES as u32).filter(|number| book.set_protected(node(*number), true)).count();
    assert_eq!(protected, MAX_PROTECTED);
    for number in 0..2 * MAX_NODES as u32 {
        book.learn(node(100_000 + number), address(1), Source::Exchange);
    }
    assert!(
        (0..MAX_PROTECTED as u32).all(|number| book.is_protected(&node(number)) && book.get(&node(number)).is_some())
    );
    assert!(book.set_protected(node(0), false) && !book.is_protected(&node(0)));
    assert!(book.set_protected(node(7_000_000), true), "its place is free again");
    book.forget(&node(7_000_000));
    assert!(!book.is_protected(&node(7_000_000)));
}

#[test]
fn guests_however_many_take_no_place_of_peers_bans_and_half_of_those_who_were_named() {
    let mut book = Book::default();
    for number in 0..100 {
        book.connected(node(number), Some(address(1)), Source::Exchange, 1);
        book.known(&node(number)).expect("known").dialed = true;
        book.seen(&node(number), false, 2);
    }
    book.connected(node(100), Some(address(1)), Source::Incoming, 1);
    while !book.standing(node(101)).expect("room").count(100, ScoreEvent::Misbehaved) {}
    for number in 1000..1000 + MAX_NODES as u32 {
        book.learn(node(number), address(1), Source::Exchange);
    }
    for number in 0..3 * MAX_NODES as u32 {
        let guest = node(100_000 + number);
        book.connected(guest, Some(address(1)), Source::Incoming, 1);
        book.seen(&guest, false, 2);
    }
    assert_eq!(book.iter().count(), MAX_NODES);
    assert!((0..100).all(|number| book.get(&node(number)).is_some()), "those dialed once");
    assert!(book.get(&node(100)).is_some(), "one that is connected");
    assert!(book.get(&node(101)).expect("known").standing.banned_for(100).is_some());
    let named = book.iter().filter(|(_, entry)| entry.weight() == Weight::Named).count();
    assert!(named >= MAX_NODES - MAX_NODES / GUEST_PART - 102, "{named}");
}

#[test]
fn a_ban_outlasts_a_flood_of_strangers() {
    let mut book = Book::default();
    while !book.standing(node(1)).expect("room").count(100, ScoreEvent::Misbehaved) {}
    for number in 0..2 * MAX_NODES as u32 {
        book.learn(node(100_000 + number), address(1), Source::Exchange);
    }
    assert!(book.get(&node(1)).expect("known").standing.banned_for(100).is_some());
    book.drop_stranger(&node(1));
    assert!(book.get(&node(1)).is_some());
}

#[test]
fn forgotten_node_stays_blocked() {
    let mut book = Book::default();
    book.connected(node(1), Some(address(1)), Source::Ticket, 1);
    book.set_blocked(node(1), true);
    book.forget(&node(1));
    assert!(book.is_blocked(&node(1)) && book.candidates(&node(1)).is_empty());
    book.set_blocked(node(1), false);
    book.forget(&node(1));
    assert!(book.get(&node(1)).is_none());
}

#[test]
fn an_address_in_two_forms_is_one() {
    let mut book = Book::default();
    assert!(book.learn(node(1), "[::ffff:192.0.2.1]:1".parse().expect("address"), Source::Peer));
    assert!(!book.learn(node(1), address(1), Source::Peer));
    assert_eq!(book.candidates(&node(1)), [address(1)]);
}

#[test]
fn address_nobody_can_be_at_is_not_kept() {
    let mut book = Book::default();
    for text in [
        "0.0.0.0:1",
        "192.0.2.1:0",
        "224.0.0.1:5",
        "[::]:1",
        "[ff02::1]:1",
        "[fd70:6f6c:7970::5]:1",
        "[::ffff:0.0.0.0]:1",
    ] {
        assert!(!book.learn(node(1), text.parse().expect("address"), Source::Ticket), "{text}");
    }
    assert!(book.get(&node(1)).is_none());
}
