//! Many nodes together: lookups succeed, also while nodes leave, lie and flood.

mod charges;
mod deceit;
mod examples;
mod hostile;
mod keeping;
mod looks;
mod one;
mod places;
mod providers;
mod rules;
mod sequences;
mod turns;
mod world;

use std::time::Duration;

use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::Name;
use polypeer_ipc_protocol::record::SignedRecord;
use rand::RngExt;

use super::{DhtConfig, Job, Key, Outcome, Record};
use crate::keys::Keys;
use world::{Cheap, World};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn immutable(number: usize) -> Record {
    Record::Immutable { name: name("test/values"), value: Payload(format!("value {number}").into_bytes().into()) }
}

fn signed(keys: Cheap, sequence: u64, expires: u64, value: &str) -> SignedRecord {
    let value = Payload(value.as_bytes().to_vec().into());
    let signature = Cheap::signature(&keys.0, b"");
    let mut record = SignedRecord { key: keys.0, name: name("test/news"), sequence, expires, value, signature };
    record.signature = keys.sign(&record.signed_bytes());
    record
}

/// A network in which a third of the nodes are clients.
fn network(seed: u8, count: usize) -> World {
    let mut world = World::new(seed, DhtConfig::default());
    for at in 0..count {
        world.join(at % 3 != 2);
        world.run(Duration::from_millis(100));
    }
    world.run(Duration::from_secs(300));
    world
}

#[test]
fn every_node_and_record_is_found_with_few_calls() {
    let mut world = network(1, 300);
    let (mut found, mut copies, tries) = (0, 0, 100);
    let mut calls = 0;
    for number in 0..tries {
        let from = world.random.random_range(0..world.members.len());
        match world.job(from, Job::Put(immutable(number))) {
            Outcome::Stored { copies: more } => copies += more as usize,
            other => panic!("not stored: {other:?}"),
        }
        let (reader, servers) = (world.random.random_range(0..world.members.len()), world.servers());
        let before = world.members[reader].calls;
        let got = world.job(reader, Job::Get { key: immutable(number).key() });
        calls += world.members[reader].calls - before;
        assert_eq!(got, Outcome::Got(Some(immutable(number))), "record {number}");
        let target = servers[world.random.random_range(0..servers.len())];
        let node = world.members[target].keys.0;
        let located = world.job(reader, Job::Locate(node));
        found += usize::from(located == Outcome::Located(world.members[target].record.clone()));
    }
    assert_eq!(found, tries, "nodes located");
    assert!(copies >= tries * 19, "{copies} copies");
    assert!(calls < 16 * tries as u64, "{calls} calls for {tries} gets");
}

#[test]
fn what_only_this_node_lists_is_found() {
    let mut world = network(8, 2);
    let key = Key::of_provided(&name("test/files"));
    assert!(matches!(world.job(0, Job::Provide(key)), Outcome::Stored { copies: 1.. }));
    let provider = world.members[0].record.clone().expect("both serve");
    assert_eq!(world.job(1, Job::Providers { key, limit: 16 }), Outcome::Providers(vec![provider]));
}

#[test]
fn what_is_not_there_is_not_found_and_that_has_an_end() {
    let mut world = network(2, 60);
    let before = world.members[5].calls;
    assert_eq!(world.job(5, Job::Get { key: Key([7; 32]) }), Outcome::Got(None));
    assert!(world.members[5].calls - before <= 60, "no node is asked twice");
    let nobody = polypeer_ipc_protocol::ids::NodeId([8; 32]);
    assert_eq!(world.job(6, Job::Locate(nobody)), Outcome::Located(None));
}

#[test]
fn the_newest_of_a_signed_record_is_found_and_an_older_one_is_not_taken() {
    let mut world = network(3, 90);
    let (keys, expires) = (world.members[0].keys, world.now.unix + 3600);
    let key = Key::of_signed(&keys.0, &name("test/news"));
    for (sequence, value) in [(1, "first"), (2, "second"), (3, "third")] {
        let record = Record::Signed(signed(keys, sequence, expires, value));
        assert!(matches!(world.job(0, Job::Put(record.clone())), Outcome::Stored { copies } if copies >= 18));
        assert_eq!(world.job(40, Job::Get { key }), Outcome::Got(Some(record)));
    }
    let old = Record::Signed(signed(keys, 2, expires, "other second"));
    assert_eq!(world.job(7, Job::Put(old)), Outcome::Failed(super::Failed::Superseded));
}

#[test]
fn providers_are_found_while_they_provide_and_a_client_provides_once_it_can_be_dialed() {
    let mut world = network(4, 90);
    let key = Key::of_provided(&name("test/file"));
    for provider in [0, 1, 3] {
        assert!(matches!(world.job(provider, Job::Provide(key)), Outcome::Stored { copies } if copies >= 18));
    }
    assert_eq!(world.job(2, Job::Provide(key)), Outcome::Failed(super::Failed::NoAddress), "a client");
    let listed = |world: &mut World| match world.job(50, Job::Providers { key, limit: 16 }) {
        Outcome::Providers(list) => list.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(&mut world), 3);
    world.serve(2);
    world.run(Duration::from_secs(120));
    assert_eq!(listed(&mut world), 4, "it can be dialed now");
    world.job(0, Job::Unprovide(key));
    world.run(Duration::from_secs(2 * 3600));
    assert_eq!(listed(&mut world), 3, "who stopped is not listed again, the others are");
}

#[test]
fn records_outlive_the_nodes_that_kept_them() {
    let mut world = network(5, 100);
    let count = 20;
    for number in 0..count {
        world.job(number, Job::Put(immutable(number)));
    }
    // Within two hours most nodes leave and others join; the owners of the records leave, too.
    for _ in 0..2 * 60 {
        let there = world.servers();
        let leaving = there[world.random.random_range(0..there.len())];
        world.leave(leaving);
        world.join(true);
        world.run(Duration::from_secs(60));
    }
    (0..count).for_each(|owner| world.leave(owner));
    let mut found = 0;
    for number in 0..count {
        let there = world.servers();
        let reader = there[world.random.random_range(0..there.len())];
        let key = immutable(number).key();
        found += usize::from(world.job(reader, Job::Get { key }) == Outcome::Got(Some(immutable(number))));
    }
    assert_eq!(found, count);
}

#[test]
fn records_end_a_day_after_their_owner_left_although_holders_put_them_again() {
    let mut world = network(9, 30);
    for number in 0..20 {
        world.job(0, Job::Put(immutable(number)));
    }
    world.leave(0);
    let kept = |world: &World| {
        let at = world.servers();
        let records = |at: &usize| world.members[*at].dht.store.items().map(|(_, item)| item.record.clone()).collect();
        let all: Vec<Vec<Record>> = at.iter().map(records).collect();
        all.iter().flatten().filter(|record| matches!(record, Record::Immutable { .. })).count()
    };
    world.run(Duration::from_secs(20 * 3600));
    assert!(kept(&world) >= 19 * 15, "{} copies after 20 hours", kept(&world));
    world.run(Duration::from_secs(5 * 3600));
    assert_eq!(kept(&world), 0);
}

#[test]
fn nodes_are_found_while_half_of_them_leave_each_hour() {
    let mut world = network(6, 200);
    let (mut found, mut tries) = (0, 0);
    for minute in 0..90 {
        for _ in 0..2 {
            let at = world.random.random_range(0..world.members.len());
            if world.members[at].alive {
                let serves = world.members[at].record.is_some();
                world.leave(at);
                world.join(serves);
            }
        }
        world.run(Duration::from_secs(60));
        if minute >= 30 {
            let there = world.servers();
            let (reader, target) =
                (there[world.random.random_range(0..there.len())], there[world.random.random_range(0..there.len())]);
            let expected = world.members[target].record.clone();
            tries += 1;
            found +=
                usize::from(world.job(reader, Job::Locate(world.members[target].keys.0)) == Outcome::Located(expected));
        }
    }
    assert_eq!(found, tries);
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    let calls = |seed| network(seed, 40).members.iter().map(|member| member.calls).collect::<Vec<_>>();
    assert_eq!(calls(7), calls(7));
    assert_ne!(calls(7), calls(8));
}
