//! Places in the table, and first calls: claims of others take no place from anybody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::one::{address, agree, asker, at, befriend, keys, now, server, somewhere};
use crate::address::AddressRecord;
use crate::dht::contact::Contact;
use crate::dht::limits::{CANDIDATES_PER_SUBNET, MAX_CHECKS, WASTED_BURST, WASTED_EVERY};
use crate::dht::table::Seen;
use crate::dht::{Ask, CallFailed, Dht, DhtConfig, Job, Key, Output, Request, Response};
use crate::now::Now;

/// A record with several addresses.
fn claiming(number: u32, texts: &[&str], now: Now) -> Arc<AddressRecord> {
    let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
    Arc::new(AddressRecord::sign(&keys(number), addresses, 1, now))
}

#[test]
fn whoever_claims_a_network_keeps_nobody_out_of_the_table_who_is_in_it() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    // Each answers from a subnet of its own, and all claim the victim's.
    for number in 0..12 {
        dht.add(now, claiming(number, &[&somewhere(number), "9.9.9.9:1"], now));
        agree(&mut dht, now);
    }
    assert_eq!(dht.stats().contacts, 12);
    dht.add(now, address(keys(100), "9.9.9.9:1", now));
    agree(&mut dht, now);
    assert_eq!(dht.stats().contacts, 13);
}

#[test]
fn whoever_is_in_one_network_gets_few_places_whatever_it_claims() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    for number in 0..100 {
        let here: SocketAddr = format!("66.0.0.{number}:7470").parse().unwrap();
        dht.add(now, claiming(number, &[&somewhere(number), &here.to_string()], now));
        while let Some(output) = dht.poll(now) {
            let Output::Call { call, .. } = output else { continue };
            let answer = Response::Nodes { contacts: Vec::new() };
            dht.handle_answer(now, call, Some(here.ip()), Ok(answer));
        }
    }
    assert!((1..=8).contains(&dht.stats().contacts), "{}", dht.stats().contacts);
    assert!(dht.stats().counts.crowded > 50);
}

#[test]
fn a_contact_counts_where_it_answered_last_and_leaves_where_there_are_too_many() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 30);
    let before = dht.stats().contacts;
    let mut move_to = |number: u32, text: &str| {
        let contact = Contact::new(address(keys(number), &somewhere(number), now));
        let moment = dht.moment(now);
        let ip: IpAddr = text.parse().unwrap();
        let seen = dht.table.answered(&contact, Some(ip), moment);
        (seen, dht.table.len())
    };
    let mut left = 0;
    for number in 0..30 {
        let (seen, there) = move_to(number, &format!("66.0.0.{number}"));
        left += usize::from(seen == Seen::Crowded);
        assert_eq!(there, before - left, "{seen:?}");
    }
    assert!(left >= before - 8, "{left} of {before}");
    let back = (30..40).filter(|number| move_to(*number, &format!("8.0.{number}.1")).0 == Seen::Entered);
    assert!(back.count() > 0, "their places are free again");
}

#[test]
fn who_answers_through_others_only_does_not_enter_the_table() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    dht.add(now, address(keys(1), "9.0.0.1:1", now));
    let Some(Output::Call { call, .. }) = dht.poll(now) else { panic!("it is not called") };
    dht.handle_answer(now, call, None, Ok(Response::Done));
    assert_eq!(dht.stats().contacts, 0);
}

/// Lets all calls fail except those for which `there` holds; returns the records called.
fn silence(dht: &mut Dht, now: Now, there: impl Fn(&AddressRecord) -> bool) -> Vec<Arc<AddressRecord>> {
    let mut called = Vec::new();
    while let Some(output) = dht.poll(now) {
        let Output::Call { call, to, request } = output else { continue };
        if matches!(request.ask, Ask::Ping) {
            called.push(Arc::clone(&to));
        }
        let empty = Response::Nodes { contacts: Vec::new() };
        let answer = there(&to).then_some(empty).ok_or(CallFailed::Unreachable);
        dht.handle_answer(now, call, at(&to), answer);
    }
    called
}

/// A node at `from` asks a question, and claims that address and others.
fn introduce(dht: &mut Dht, now: Now, number: u32, from: &str, elsewhere: &[&str]) {
    let here = format!("{from}:{}", number % 60_000 + 1);
    let record = claiming(number, &[&[here.as_str()], elsewhere].concat(), now);
    dht.handle_request(now, &asker(number, from), Request { ask: Ask::Ping, from: Some(record) });
}

/// Whether this is one of the five nodes that [`misled`] befriends.
fn friend(record: &AddressRecord) -> bool {
    (0..5).any(|number| record.node == keys(number).0)
}

/// A node to which 66.0.0.1 has introduced a hundred absent nodes; and how many of them it called.
fn misled(now: Now) -> (Dht, usize) {
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 5);
    let mut called = 0;
    for number in 1000..1100 {
        introduce(&mut dht, now, number, "66.0.0.1", &["9.9.9.9:1"]);
        // Somebody answers in between: otherwise it would take itself to be offline.
        dht.start(now, Job::Get { key: Key([3; 32]) }).expect("room");
        called += silence(&mut dht, now, friend).len();
    }
    (dht, called)
}

#[test]
fn a_network_that_brings_nodes_that_are_not_there_has_few_called() {
    let start = now();
    let (mut dht, called) = misled(start);
    assert_eq!((called, dht.stats().counts.candidates_doubted), (WASTED_BURST as usize, 100 - u64::from(WASTED_BURST)));
    // Nodes that other subnets introduce are called as before; later those of this subnet are, too.
    introduce(&mut dht, start, 7, "67.0.0.1", &[]);
    assert_eq!(silence(&mut dht, start, friend).len(), 1);
    let later = start.after(Duration::from_secs(u64::from(WASTED_EVERY)));
    introduce(&mut dht, later, 3000, "66.0.0.1", &[]);
    assert!(silence(&mut dht, later, friend).iter().any(|record| record.node == keys(3000).0));
}

#[test]
fn those_that_one_network_brings_do_not_take_all_places_of_those_to_be_called() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    (0..200).for_each(|number| introduce(&mut dht, now, number, "66.0.0.1", &[]));
    // Nobody has answered yet: four calls are in flight, the other nodes wait.
    assert_eq!(dht.stats().counts.candidates_dropped, 200 - CANDIDATES_PER_SUBNET as u64 - MAX_CHECKS as u64);
    (200..210).for_each(|number| introduce(&mut dht, now, number, &format!("67.0.{number}.1"), &[]));
    let called = silence(&mut dht, now, |_| false);
    assert!((200..210).all(|number| called.iter().any(|record| record.node == keys(number).0)));
}

#[test]
fn whom_others_tell_of_too_is_called_though_its_first_teller_has_used_up_its_calls() {
    let start = now();
    let (mut dht, _) = misled(start);
    // While first calls are at their limit, that subnet introduces two nodes; another subnet introduces one of them,
    // too.
    (0..MAX_CHECKS as u32)
        .for_each(|number| introduce(&mut dht, start, 2000 + number, &format!("67.0.{number}.1"), &[]));
    introduce(&mut dht, start, 3000, "66.0.0.1", &[]);
    introduce(&mut dht, start, 3001, "66.0.0.1", &["69.0.0.1:1"]);
    introduce(&mut dht, start, 3001, "69.0.0.1", &["66.0.0.1:1"]);
    let called = silence(&mut dht, start, friend);
    let is_called = |number| called.iter().any(|record| record.node == keys(number).0);
    assert!(is_called(3001) && !is_called(3000));
}
