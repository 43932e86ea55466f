use super::*;
use crate::testing::{self, Signer};

const LOW: usize = 16;
const LIAR: &str = "203.0.114.66";
const HONEST: &str = "198.51.7.7";

struct World {
    check: CrossCheck,
    now: Now,
    template: AddressRecord,
    dialed: Vec<NodeId>,
}

impl World {
    fn new() -> Self {
        let now = testing::now();
        let template = AddressRecord::sign(&Signer::generate(), vec!["203.0.114.1:1".parse().expect("one")], 1, now);
        Self { check: CrossCheck::new(LOW), now, template, dialed: Vec::new() }
    }

    fn record(&self, node: NodeId) -> Arc<AddressRecord> {
        Arc::new(AddressRecord { node, ..self.template.clone() })
    }

    fn connect(&mut self, node: NodeId, at: &str, introduction: Introduction) {
        self.check.connected(self.now, node, at.parse().expect("an IP address"), introduction);
    }

    /// `by` names a node that can be reached: it is dialed if that is allowed, and then connected.
    fn introduce(&mut self, by: NodeId, node: NodeId, at: &str) -> bool {
        let record = self.record(node);
        let dial = self.check.introduced(self.now, &by, record);
        if dial {
            self.dialed.push(node);
            self.connect(node, at, Introduction::Peer);
        }
        dial
    }
}

fn node(number: u32) -> NodeId {
    let mut id = [5; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

const SEED: NodeId = NodeId([1; 32]);
const OTHER: NodeId = NodeId([2; 32]);

#[test]
fn lying_seed_that_names_only_its_own_fills_half_of_the_places() {
    let mut world = World::new();
    world.connect(SEED, LIAR, Introduction::Seed);
    assert!(world.check.is_unverified(&SEED));
    for number in 0..100 {
        // They are in any number of subnets.
        world.introduce(SEED, node(number), &format!("192.0.{number}.1"));
    }
    // Those name others in turn.
    let sybils = world.dialed.clone();
    for (index, sybil) in sybils.iter().enumerate() {
        for number in 0..10 {
            world.introduce(*sybil, node(1000 + 10 * index as u32 + number), &format!("100.{index}.{number}.1"));
        }
    }
    assert_eq!(world.dialed.len(), LOW / 2 - 1, "with the seed itself, half of the places");
    assert_eq!(world.check.count(), LOW / 2, "and the node goes on looking");
    assert!(world.check.is_unverified(&SEED), "its own do not vouch for it");
}

#[test]
fn second_source_in_another_subnet_verifies_what_both_name() {
    let mut world = World::new();
    world.connect(SEED, HONEST, Introduction::Seed);
    for number in 0..20 {
        world.introduce(SEED, node(number), &format!("192.0.{number}.1"));
    }
    assert_eq!(world.dialed.len(), LOW / 2 - 1);
    world.connect(OTHER, "198.51.8.8", Introduction::Itself);
    for number in 0..20 {
        world.introduce(OTHER, node(number), &format!("192.0.{number}.1"));
    }
    assert_eq!(world.dialed.len(), 20, "all are named twice");
    world.introduce(OTHER, SEED, HONEST);
    assert!(!world.check.is_unverified(&SEED));
}

#[test]
fn second_source_in_the_same_subnet_is_the_same_source() {
    let mut world = World::new();
    world.connect(SEED, LIAR, Introduction::Seed);
    world.connect(OTHER, "203.0.114.67", Introduction::Seed);
    for number in 0..50 {
        world.introduce(SEED, node(number), &format!("192.0.{number}.1"));
        world.introduce(OTHER, node(number), &format!("192.0.{number}.1"));
    }
    assert_eq!(world.dialed.len(), LOW / 2 - 2);
    assert!(world.check.is_unverified(&SEED) && world.check.is_unverified(&OTHER));
}

#[test]
fn verified_peer_vouches_alone() {
    let mut world = World::new();
    world.connect(OTHER, HONEST, Introduction::Trusted);
    for number in 0..50 {
        assert!(world.introduce(OTHER, node(number), &format!("192.0.{number}.1")));
    }
    assert_eq!(world.check.count(), 51);
    assert!(world.introduce(node(3), node(99), "100.64.0.1"), "and so do those it vouches for");
}

#[test]
fn node_that_waits_is_dialed_when_somebody_else_names_it_or_a_place_is_free() {
    let mut world = World::new();
    world.connect(SEED, LIAR, Introduction::Seed);
    for number in 0..20 {
        world.introduce(SEED, node(number), &format!("192.0.{number}.1"));
    }
    assert_eq!(world.check.poll(world.now), None);
    let first = world.dialed[0];
    world.check.disconnected(world.now, &first);
    let next = world.check.poll(world.now).expect("a place is free");
    assert!(!world.dialed.contains(&next.node));
    assert_eq!(world.check.poll(world.now), None, "the dial has taken it");
    world.now = world.now.after(DIAL);
    assert!(world.check.poll(world.now).is_some(), "and lost it, as nobody was there");
    world.connect(OTHER, HONEST, Introduction::Trusted);
    assert!(world.introduce(OTHER, node(19), "192.0.19.1"));
}

#[test]
fn lookups_among_the_nodes_of_one_origin_are_its_word() {
    let mut world = World::new();
    world.connect(SEED, LIAR, Introduction::Seed);
    let look_up = |world: &mut World, number| {
        let record = world.record(node(number));
        let dial = world.check.looked_up(world.now, record);
        if dial {
            world.connect(node(number), "192.0.1.1", Introduction::Peer);
        }
        dial
    };
    let dialed = (0..50).filter(|number| look_up(&mut world, *number)).count();
    assert_eq!(dialed, LOW / 2 - 1);
    world.connect(OTHER, HONEST, Introduction::Itself);
    let dialed = (50..100).filter(|number| look_up(&mut world, *number)).count();
    assert_eq!(dialed, LOW / 2, "with two origins, the DHT is one of its own");
}

#[test]
fn neighbours_on_a_private_network_are_different_sources() {
    let mut world = World::new();
    world.connect(SEED, "192.168.1.1", Introduction::Seed);
    world.connect(OTHER, "192.168.1.2", Introduction::Itself);
    for number in 0..20 {
        world.introduce(SEED, node(number), "192.168.1.9");
        world.introduce(OTHER, node(number), "192.168.1.9");
    }
    assert_eq!(world.dialed.len(), 20);
}

#[test]
fn stranger_who_is_not_connected_has_no_word() {
    let mut world = World::new();
    assert!(!world.introduce(SEED, node(1), "192.0.1.1"));
    assert_eq!(world.check.poll(world.now), None);
}

#[test]
fn what_is_remembered_is_bounded_and_peers_stay() {
    let mut world = World::new();
    world.connect(SEED, LIAR, Introduction::Seed);
    for number in 0..MAX_NODES as u32 + 100 {
        world.now = world.now.after(Duration::from_millis(1));
        world.introduce(SEED, node(number), "192.0.1.1");
    }
    assert_eq!((world.check.members.len(), world.check.waiting.len()), (MAX_NODES, MAX_WAITING));
    assert!(world.check.is_unverified(&SEED));
}

#[test]
fn full_seed_may_name_others_and_what_the_table_then_finds_is_its_word_too() {
    let mut world = World::new();
    assert!(!world.introduce(SEED, node(0), HONEST), "nobody knows it");
    world.check.asked(world.now, SEED, LIAR.parse().expect("an IP address"), Introduction::Seed);
    assert_eq!(world.check.count(), 0, "it is no peer");
    assert!(world.check.is_unverified(&SEED));
    for number in 0..100 {
        world.introduce(SEED, node(number), &format!("192.0.{number}.1"));
    }
    assert_eq!(world.dialed.len(), LOW / 2, "half of the places, and none for itself");
    let found = world.record(node(0));
    world.check.looked_up(world.now, found);
    assert!(!world.check.introduced(world.now, &node(0), world.record(node(200))), "the table knew only its own");
    world.connect(OTHER, HONEST, Introduction::Trusted);
    assert!(world.introduce(OTHER, node(201), "198.51.8.8"));
}

#[test]
fn those_that_went_unnoticed_are_found_out() {
    let mut world = World::new();
    for number in 0..4 {
        world.connect(node(number), &format!("192.0.{number}.1"), Introduction::Itself);
    }
    world.check.disconnected(world.now, &node(0));
    let connected = BTreeSet::from([node(1), node(9)]);
    assert_eq!(world.check.not_among(&connected), [node(2), node(3)]);
    assert_eq!(world.check.count(), 3);
}
