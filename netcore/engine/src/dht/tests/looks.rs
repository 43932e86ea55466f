//! Refreshes and neighbours: which nodes this one learns of to serve its peers, and which of them it then calls.

use std::sync::Arc;
use std::time::Duration;

use super::one::{address, agree, befriend, keys, now, server, somewhere};
use crate::address::{RECORD_LIFETIME, Zone};
use crate::dht::{Ask, DhtConfig, Job, Key, Outcome, Output, Response};

#[test]
fn a_look_tells_whom_it_found_near_the_place_and_no_forgeries() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 3);
    let place = Key::of_node(keys(50).0);
    let told = address(keys(50), &somewhere(50), now);
    let mut forged = (*address(keys(51), &somewhere(51), now)).clone();
    forged.sequence += 1;
    let contacts = vec![Arc::clone(&told), Arc::new(forged)];
    dht.start(now, Job::Look(place)).expect("room");
    let near = loop {
        match dht.poll(now).expect("the look ends") {
            Output::Call { call, to, request } => {
                let answer = match request.ask {
                    // It does not answer now and is returned all the same: it may be there.
                    _ if to.node == told.node => Err(crate::dht::CallFailed::Busy),
                    Ask::FindNode { .. } => Ok(Response::Nodes { contacts: contacts.clone() }),
                    _ => Ok(Response::Done),
                };
                dht.handle_answer(now, call, Some(to.addresses[0].ip()), answer);
            }
            Output::Done { outcome: Outcome::Looked(near), .. } => break near,
            Output::Done { .. } | Output::Misbehaved { .. } => {}
        }
    };
    let mut nodes: Vec<_> = near.iter().map(|record| record.node).collect();
    nodes.sort_unstable();
    let mut friends: Vec<_> = (0..3).map(|number| keys(number).0).collect();
    friends.sort_unstable();
    assert!(nodes.iter().all(|node| friends.contains(node) || *node == told.node), "{nodes:?}");
    assert!(friends.iter().all(|friend| nodes.contains(friend)), "those that answered: {nodes:?}");
    assert!(!nodes.contains(&keys(51).0), "a forged record");
}

#[test]
fn neighbours_are_the_closest_that_answered() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 200);
    agree(&mut dht, now);
    let own = Key::of_node(keys(1_000_000).0);
    let distance = |node| Key::of_node(node).distance(&own);
    let neighbours = dht.neighbours(Zone::Public);
    let last = neighbours.iter().map(|record| distance(record.node)).max().expect("some");
    let closer = dht.contacts().filter(|node| distance(*node) < last).count();
    assert_eq!((neighbours.len(), closer), (crate::dht::limits::K, crate::dht::limits::K - 1));
    assert_eq!(dht.neighbours(Zone::Loopback).len(), 0, "public addresses are not told there");
}

#[test]
fn of_those_that_a_look_ends_with_only_the_closest_to_the_place_are_called() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let friends: Vec<_> = (0..3).map(|number| keys(number).0).collect();
    befriend(&mut dht, now, 3);
    let place = Key::of_node(keys(50).0);
    let distance = |node| Key::of_node(node).distance(&place);
    // Each friend returns twenty nodes; the first returns the closest of all sixty.
    let mut told: Vec<_> = (100..160).map(|number| address(keys(number), &somewhere(number), now)).collect();
    told.sort_by_key(|record| distance(record.node));
    dht.start(now, Job::Look(place)).expect("room");
    let mut called = Vec::new();
    while let Some(output) = dht.poll(now) {
        let Output::Call { call, to, request } = output else { continue };
        let friend = friends.iter().position(|friend| *friend == to.node);
        let answer = match (friend, request.ask) {
            (Some(friend), Ask::FindNode { .. }) => {
                Ok(Response::Nodes { contacts: told[20 * friend..20 * (friend + 1)].to_vec() })
            }
            (Some(_), _) => Ok(Response::Done),
            (None, Ask::FindNode { .. }) => Ok(Response::Nodes { contacts: Vec::new() }),
            (None, _) => {
                called.push(to.node);
                Ok(Response::Done)
            }
        };
        dht.handle_answer(now, call, Some(to.addresses[0].ip()), answer);
    }
    let closest: Vec<_> = told.iter().take(crate::dht::limits::K).map(|record| record.node).collect();
    assert!(!called.is_empty() && called.iter().all(|node| closest.contains(node)), "{} called", called.len());
}

#[test]
fn a_contact_whose_record_has_expired_since_the_last_tick_is_not_told_of() {
    let start = now();
    let mut dht = server(start, DhtConfig::default());
    befriend(&mut dht, start, 3);
    let mut look = |later: u64| {
        let later = start.after(Duration::from_secs(later));
        dht.start(later, Job::Look(Key::of_node(keys(50).0))).expect("room");
        let ended = agree(&mut dht, later).into_iter().find_map(|output| match output {
            Output::Done { outcome: Outcome::Looked(near), .. } => Some(near.len()),
            _ => None,
        });
        ended.expect("the look ends")
    };
    assert_eq!([look(RECORD_LIFETIME), look(RECORD_LIFETIME + 1)], [3, 0]);
}
