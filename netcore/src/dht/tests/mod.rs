//! Many machines together: what is looked for is found, also when nodes leave, lie and flood.

mod world;

use std::time::Duration;

use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::Name;
use rand::RngExt;

use super::{DhtConfig, Job, Key, Outcome, Record};
use world::World;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn immutable(number: usize) -> Record {
    Record::Immutable { name: name("test/values"), value: Payload(format!("value {number}").into_bytes().into()) }
}

/// A network of which a third only asks.
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
fn every_node_and_record_is_found() {
    let mut world = network(1, 300);
    let (mut found, mut copies, tries) = (0, 0, 200);
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
    println!("calls for each get: {}", calls as f64 / tries as f64);
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
fn what_is_not_there_is_not_found() {
    let mut world = network(2, 60);
    let got = world.job(5, Job::Get { key: Key([7; 32]) });
    assert_eq!(got, Outcome::Got(None));
}
