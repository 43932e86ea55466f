//! Hostile nodes, and what they cost the others.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;
use rand::{Rng, RngExt};

use super::immutable;
use super::world::{Cheap, World};
use crate::address::AddressRecord;
use crate::dht::contact::Contact;
use crate::dht::{Ask, Asker, DhtConfig, Job, Key, Outcome, Request, Response};

/// A liar that returns no record, and as contacts only the other liars closest to the target.
fn colluding(world: &mut World, at: usize, _: &Asker, request: &Request) -> Option<Response> {
    let (target, found) = match &request.ask {
        Ask::FindNode { target } => (*target, false),
        Ask::Get { key } => (*key, true),
        Ask::Put { .. } | Ask::Pass { .. } => return Some(Response::Done),
        _ => return None,
    };
    let liars = world.members.iter().filter(|member| member.liar.is_some() && member.alive);
    let mut others: Vec<Arc<AddressRecord>> = liars.filter_map(|liar| liar.record.clone()).collect();
    others.sort_by_key(|other| Key::of_node(other.node).distance(&target));
    others.retain(|other| other.node != world.members[at].keys.0);
    others.truncate(20);
    Some(if found { Response::Found { record: None, contacts: others } } else { Response::Nodes { contacts: others } })
}

/// A liar that returns absent nodes close to the target.
fn phantoms(world: &mut World, _: usize, _: &Asker, request: &Request) -> Option<Response> {
    let (Ask::FindNode { .. } | Ask::Get { .. }) = request.ask else { return None };
    let now = world.now;
    let mut phantom = || {
        let mut id = [0; 32];
        world.random.fill_bytes(&mut id);
        let [a, b, c, d] = world.random.next_u32().to_be_bytes();
        let address = (IpAddr::from([101 + a % 50, b, c, d]), 1).into();
        Arc::new(AddressRecord::sign(&Cheap(NodeId(id)), vec![address], 1, now))
    };
    let contacts = (0..20).map(|_| phantom()).collect();
    Some(match request.ask {
        Ask::Get { .. } => Response::Found { record: None, contacts },
        _ => Response::Nodes { contacts },
    })
}

/// A network in which every fifth server turns liar once it has joined. Returns how many lookups of records and of
/// nodes succeed, and of how many each.
fn success(seed: u8, defences: bool, liar: super::world::Liar) -> (usize, usize, usize) {
    let mut world = World::new(seed, DhtConfig { defences, ..DhtConfig::default() });
    for at in 0..250 {
        world.join(at % 4 != 3);
        world.run(Duration::from_millis(100));
    }
    world.run(Duration::from_secs(200));
    for at in world.servers().into_iter().step_by(5) {
        world.members[at].liar = Some(liar);
    }
    let honest: Vec<usize> = (0..world.members.len()).filter(|at| world.members[*at].liar.is_none()).collect();
    let (mut records, mut nodes, tries) = (0, 0, 60);
    for number in 0..tries {
        let mut one = || honest[world.random.random_range(0..honest.len())];
        let (writer, reader, target) = (one(), one(), one());
        world.job(writer, Job::Put(immutable(number)));
        let got = world.job(reader, Job::Get { key: immutable(number).key() });
        records += usize::from(got == Outcome::Got(Some(immutable(number))));
        let record = world.members[target].record.clone();
        let located = world.job(reader, Job::Locate(world.members[target].keys.0));
        nodes += usize::from(located == Outcome::Located(record));
    }
    (records, nodes, tries)
}

#[test]
fn a_fifth_of_liars_who_stand_together_does_not_hide_records_or_nodes() {
    let (records, nodes, tries) = success(11, true, colluding);
    assert!(records >= tries - 1 && nodes >= tries - 1, "{records} records, {nodes} nodes of {tries}");
}

#[test]
fn a_fifth_of_liars_who_tell_of_phantoms_does_not_hide_records_or_nodes() {
    let (records, nodes, tries) = success(12, true, phantoms);
    assert!(records >= tries - 1 && nodes >= tries - 1, "{records} records, {nodes} nodes of {tries}");
}

#[test]
fn a_flood_of_ids_from_one_network_around_a_key_does_not_hide_it() {
    let mut world = super::network(13, 150);
    let key = immutable(5).key();
    world.job(0, Job::Put(immutable(5)));
    // Each has an id close to the key: the attacker has tried sixteen thousand.
    for host in 0..100_u8 {
        let close = |keys: &NodeId| Key::of_node(*keys).distance(&key).shared_bits() >= 7;
        let id = loop {
            let mut id = [0; 32];
            world.random.fill_bytes(&mut id);
            if close(&NodeId(id)) {
                break NodeId(id);
            }
        };
        let at = world.join_with(Cheap(id), IpAddr::from([66, 6, 6, host]), true);
        world.members[at].liar = Some(colluding);
        world.run(Duration::from_secs(1));
    }
    world.run(Duration::from_secs(120));
    let honest: Vec<usize> = (0..150).collect();
    for _ in 0..30 {
        let reader = honest[world.random.random_range(1..honest.len())];
        assert_eq!(world.job(reader, Job::Get { key }), Outcome::Got(Some(immutable(5))));
    }
    assert!(matches!(world.job(7, Job::Put(immutable(5))), Outcome::Stored { copies } if copies >= 16));
}

/// Of 20 nodes whose first contacts are liars that return each other, and that then meet `peers` honest peers each, how
/// many other nodes find.
fn found_after_liars(seed: u8, peers: usize) -> usize {
    let mut world = super::network(seed, 150);
    for host in 0..40 {
        let at = world.join(true);
        world.members[at].liar = Some(colluding);
        world.run(Duration::from_millis(100 * host));
    }
    let (honest, liars) = (0..150, 150..190);
    let newcomers: Vec<usize> = (0..20_u8)
        .map(|number| {
            let at = world.start(Cheap(NodeId([number; 32])), IpAddr::from([120, 1, number, 1]), true);
            let now = world.now;
            for liar in liars.clone().step_by(10) {
                let record = world.members[liar].record.clone().expect("it serves");
                world.members[at].dht.consider(now, Contact::new(record), None);
                world.members[at].dht.keep_up(now);
            }
            world.settle(at);
            at
        })
        .collect();
    world.run(Duration::from_secs(20));
    for (number, at) in newcomers.iter().enumerate() {
        for peer in world.servers().into_iter().filter(|peer| honest.contains(peer)).skip(number).take(peers) {
            let (now, record) = (world.now, world.members[peer].record.clone().expect("it serves"));
            let ip = world.members[peer].ip;
            world.members[*at].dht.meet(now, record, ip);
            world.settle(*at);
        }
    }
    world.run(Duration::from_secs(60));
    let found = |at: &&usize| {
        let record = world.members[**at].record.clone();
        world.job(3, Job::Locate(world.members[**at].keys.0)) == Outcome::Located(record)
    };
    newcomers.iter().filter(found).count()
}

#[test]
fn whose_first_contacts_are_liars_is_found_once_it_has_honest_peers() {
    let (without, with) = (found_after_liars(15, 0), found_after_liars(15, 3));
    assert!(without <= 5 && with >= 19, "{without} of 20 without a peer, {with} with three");
}

#[test]
fn lost_packets_cost_time_only() {
    let mut world = super::network(14, 120);
    world.loss = 100;
    for number in 0..40 {
        let [from, to] = [(); 2].map(|()| world.random.random_range(0..world.members.len()));
        world.job(from, Job::Put(immutable(number)));
        assert_eq!(world.job(to, Job::Get { key: immutable(number).key() }), Outcome::Got(Some(immutable(number))));
    }
}
