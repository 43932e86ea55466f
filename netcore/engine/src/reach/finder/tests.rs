//! A node whose peers see it at some address, and reach it there or not.

use super::*;
use crate::testing;

const PORT: u16 = 7470;

struct World {
    finder: Finder,
    now: Instant,
}

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl World {
    fn new(local: &[&str]) -> Self {
        let mut world = Self { finder: Finder::new([1; 32]), now: testing::start() };
        let local = local.iter().map(|text| text.parse().unwrap()).collect();
        world.finder.set_local(world.now, &[address("0.0.0.0:7470")], local);
        world
    }

    fn up(&mut self, number: u8, ip: &str) {
        self.finder.peer_up(self.now, node(number), ip.parse().unwrap());
    }

    /// The peers that it asks now; changes of the addresses are counted apart.
    fn asked(&mut self) -> Vec<u8> {
        let mut asked = Vec::new();
        while let Some(output) = self.finder.poll(self.now) {
            if let Output::Ask { peer, ports } = output {
                assert_eq!(ports, [PORT]);
                asked.push(peer.0[0]);
            }
        }
        asked
    }

    fn answer(&mut self, from: u8, observed: &str, reached: &[u16]) {
        let probed = Probed { observed: address(observed), reached: reached.to_vec() };
        self.finder.handle_answer(self.now, node(from), Ok(probed));
    }

    /// Advances the time to the next timeout, which must be within `limit`.
    fn wait(&mut self, limit: Duration) {
        let due = self.finder.next_timeout().expect("something to wait for");
        assert!(due <= self.now + limit, "{:?} is too long", due - self.now);
        self.now = self.now.max(due);
        self.finder.handle_timeout(self.now);
    }

    fn confirmed(&self) -> Vec<SocketAddr> {
        self.finder.confirmed().into_values().flatten().collect()
    }
}

#[test]
fn one_peer_is_enough_for_an_address_of_this_machine_and_is_asked_again_in_time() {
    let mut world = World::new(&["203.0.114.7"]);
    world.up(1, "198.51.100.1");
    assert_eq!(world.asked(), [1]);
    assert_eq!(world.asked(), [], "one question at a time");
    world.answer(1, "203.0.114.7:7470", &[PORT]);
    assert_eq!(world.finder.poll(world.now), Some(Output::Changed));
    assert_eq!((world.confirmed(), world.finder.reach()), (vec![address("203.0.114.7:7470")], Reach::Public));
    world.wait(CONFIRMED);
    assert_eq!(world.asked(), [1], "before the hour is over");
    assert_eq!(world.confirmed().len(), 1);
    world.answer(1, "203.0.114.7:7470", &[PORT]);
    assert_eq!(world.asked(), [], "nothing changed, nothing to ask");
}

#[test]
fn an_address_that_is_not_of_this_machine_takes_peers_of_two_subnets() {
    let mut world = World::new(&["192.168.1.5"]);
    for (number, ip) in [(1, "198.51.100.1"), (2, "198.51.100.2"), (3, "192.0.2.3")] {
        world.up(number, ip);
    }
    assert_eq!(world.asked(), [1]);
    world.answer(1, "203.0.114.7:7470", &[PORT]);
    assert_eq!((world.confirmed(), world.finder.reach()), (vec![], Reach::Unknown));
    assert_eq!(world.asked(), [3], "the second is a neighbour of the first");
    world.answer(3, "203.0.114.7:7470", &[PORT]);
    assert_eq!(world.confirmed(), [address("203.0.114.7:7470")]);
}

#[test]
fn with_peers_of_one_subnet_only_nothing_is_asked_over_and_over() {
    let mut world = World::new(&["192.168.1.5"]);
    world.up(1, "198.51.100.1");
    world.up(2, "198.51.100.2");
    assert_eq!(world.asked(), [1]);
    world.answer(1, "203.0.114.7:7470", &[PORT]);
    assert_eq!(world.asked(), []);
    let due = world.finder.next_timeout().unwrap();
    assert!(due >= world.now + CONFIRMED, "no sooner than the one word is forgotten");
}

#[test]
fn three_peers_that_cannot_get_through_make_the_node_private_and_it_asks_less_often() {
    let mut world = World::new(&["192.168.1.5"]);
    for (number, ip) in [(1, "198.51.100.1"), (2, "192.0.2.2"), (3, "203.0.115.3"), (4, "203.0.116.4")] {
        world.up(number, ip);
    }
    let mut rounds = Vec::new();
    for round in 0..6 {
        let mut failed = Vec::new();
        while failed.len() < FAILURES {
            match world.asked().first() {
                Some(peer) => {
                    failed.push(*peer);
                    world.answer(*peer, "203.0.114.7:7470", &[]);
                }
                None => world.wait(LONGEST),
            }
        }
        assert_eq!(world.finder.reach(), Reach::Private, "after round {round}");
        let before = world.now;
        world.wait(LONGEST);
        rounds.push(world.now - before);
    }
    assert!(rounds[0] >= PRIVATE && rounds.windows(2).all(|pair| pair[0] <= pair[1]), "{rounds:?}");
    assert_eq!(rounds.last(), Some(&LONGEST));
}

#[test]
fn a_confirmed_address_survives_two_failures_and_not_three() {
    let mut world = World::new(&["203.0.114.7"]);
    for (number, ip) in [(1, "198.51.100.1"), (2, "192.0.2.2"), (3, "203.0.115.3"), (4, "203.0.116.4")] {
        world.up(number, ip);
    }
    let first = world.asked()[0];
    world.answer(first, "203.0.114.7:7470", &[PORT]);
    assert_eq!(world.asked(), []);
    world.wait(CONFIRMED);
    for failure in 1..=3 {
        assert_eq!(world.confirmed().len(), 1, "before failure {failure}");
        let asked = world.asked();
        world.answer(asked[0], "203.0.114.7:7470", &[]);
    }
    assert_eq!(world.confirmed(), []);
    assert_eq!(world.finder.poll(world.now), Some(Output::Changed));
}

#[test]
fn a_confirmed_address_is_forgotten_after_an_hour_without_peers() {
    let mut world = World::new(&["127.0.0.1"]);
    world.up(1, "127.0.0.1");
    assert_eq!(world.asked(), [1]);
    world.answer(1, "127.0.0.1:7470", &[PORT]);
    world.finder.peer_down(world.now, &node(1));
    assert_eq!((world.asked(), world.confirmed().len()), (vec![], 1));
    assert_eq!(world.finder.reach(), Reach::Unknown, "loopback is not the internet");
    world.wait(CONFIRMED);
    assert_eq!(world.confirmed(), []);
}

#[test]
fn a_peer_that_is_busy_is_asked_again_soon_and_one_that_goes_while_asked_makes_way() {
    let mut world = World::new(&["127.0.0.1"]);
    world.up(1, "127.0.0.1");
    assert_eq!(world.asked(), [1]);
    world.finder.handle_answer(world.now, node(1), Err(NoAnswer::Busy));
    assert_eq!(world.asked(), []);
    world.wait(2 * BUSY);
    assert_eq!(world.asked(), [1]);
    world.up(2, "127.0.0.1");
    world.finder.peer_down(world.now, &node(1));
    assert_eq!(world.asked(), [2]);
}

#[test]
fn lies_about_where_this_node_is_are_of_no_use() {
    let mut world = World::new(&["192.168.1.5"]);
    world.up(1, "192.168.1.9");
    assert_eq!(world.asked(), [1]);
    world.answer(1, "192.168.1.77:7470", &[PORT]);
    assert_eq!(world.confirmed(), [], "no interface of this machine");
    assert_eq!(world.asked(), [], "and the liar is not asked again soon");
    world.up(2, "192.168.1.10");
    assert_eq!(world.asked(), [2]);
    world.answer(2, "192.168.1.5:7470", &[9, 10]);
    assert_eq!(world.confirmed(), [], "ports that were not asked for");
    world.answer(2, "192.168.1.5:7470", &[PORT]);
    assert_eq!(world.confirmed(), [], "answers to no question");
}

#[test]
fn other_addresses_of_this_machine_are_asked_about_at_once() {
    let mut world = World::new(&["192.168.1.5"]);
    world.up(1, "192.168.1.9");
    assert_eq!(world.asked(), [1]);
    world.answer(1, "192.168.1.5:7470", &[PORT]);
    assert_eq!(world.asked(), []);
    world.finder.set_local(world.now, &[address("0.0.0.0:7470")], vec!["192.168.1.6".parse().unwrap()]);
    assert_eq!(world.asked(), [1]);
}

#[test]
fn peers_and_addresses_are_bounded() {
    let mut world = World::new(&["192.168.1.5"]);
    for number in 0..2 * MAX_PEERS as u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        world.finder.peer_up(world.now, NodeId(id), "198.51.100.1".parse().unwrap());
    }
    assert_eq!(world.finder.peers.len(), MAX_PEERS);
    for last in 0..100 {
        let witness = (node(1), Subnet::of("198.51.100.1".parse().unwrap()));
        world.finder.confirm(world.now, SocketAddr::from(([203, 0, 114, last], 1)), witness, 1);
    }
    assert_eq!(world.confirmed().len(), MAX_RECORD_ADDRESSES);
}

#[test]
fn a_mere_claim_takes_no_place_of_an_address_that_is_confirmed() {
    let mut world = World::new(&["192.168.1.5"]);
    let at = |last: u8| SocketAddr::from(([203, 0, 114, last], 1));
    let mut confirm = |last: u8, enough: usize| {
        let witness = (node(1), Subnet::of("198.51.100.1".parse().unwrap()));
        world.now += Duration::from_secs(1);
        world.finder.outputs.clear();
        world.finder.confirm(world.now, at(last), witness, enough);
        (world.finder.outputs.len(), world.finder.confirmed())
    };
    (0..7).for_each(|last| drop(confirm(last, 1)));
    assert_eq!(confirm(50, 2).0, 0, "the eighth, of which a second peer has to say so");
    assert_eq!(confirm(51, 2).0, 0, "it takes the place of the other claim");
    assert_eq!(confirm(52, 1).1[&Zone::Public].len(), 8);
    assert_eq!(confirm(53, 2).0, 0, "there is no room for claims");
    let witness = (node(1), Subnet::of("198.51.100.1".parse().unwrap()));
    world.finder.confirm(world.now, at(54), witness, 1);
    assert!(!world.finder.addresses.contains_key(&at(0)) && world.finder.addresses.contains_key(&at(54)));
    assert!(world.finder.outputs.iter().any(|output| matches!(output, Output::Changed)), "the record says so");
}
