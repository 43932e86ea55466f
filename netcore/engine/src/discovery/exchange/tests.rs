use std::net::SocketAddr;

use super::*;
use crate::testing::{self, Signer};

const PUBLIC: &str = "203.0.114.9";
const PRIVATE: &str = "192.168.7.7";

struct World {
    me: Arc<Signer>,
    exchange: Exchange,
    now: Now,
}

impl World {
    fn new() -> Self {
        let me = Arc::new(Signer::generate());
        Self { exchange: Exchange::new(me.clone(), [3; 32]), me, now: testing::now() }
    }

    /// A record of a new node.
    fn record(&self, address: &str) -> Arc<AddressRecord> {
        let address: SocketAddr = address.parse().expect("an address");
        Arc::new(AddressRecord::sign(&Signer::generate(), vec![address], 1, self.now))
    }

    fn answer(&mut self, asker: NodeId, at: &str) -> Vec<AddressRecord> {
        self.answer_with(asker, at, &[])
    }

    fn answer_with(&mut self, asker: NodeId, at: &str, neighbours: &[Arc<AddressRecord>]) -> Vec<AddressRecord> {
        let wanted = self.exchange.admit(self.now, &asker, &Exchange::question(100)).expect("admitted");
        let reply = self.exchange.reply(self.now, &asker, ip(at), wanted, neighbours);
        assert!(reply.len() <= MAX_REPLY, "{}", reply.len());
        codec::decode(&reply).expect("records")
    }

    fn take(&mut self, from: &str, records: &[Arc<AddressRecord>]) -> Reply {
        self.exchange.take(self.now, &NodeId([7; 32]), ip(from), &encoded(records))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

fn encoded(records: &[Arc<AddressRecord>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(&records.iter().map(|record| &**record).collect::<Vec<_>>(), &mut bytes).expect("small");
    bytes
}

fn asker(number: u32) -> NodeId {
    let mut id = [9; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

#[test]
fn public_peers_are_told_no_private_addresses() {
    let mut world = World::new();
    let public = world.record("203.0.115.1:7470");
    for record in [world.record("10.0.0.1:7470"), world.record("127.0.0.1:7470"), public.clone()] {
        world.exchange.learn(world.now, record);
    }
    assert_eq!(world.answer(asker(1), PUBLIC), [(*public).clone()]);
    assert_eq!(world.answer(asker(2), PRIVATE).len(), 2, "the public and the private one");
    assert_eq!(world.answer(asker(3), "127.0.0.1").len(), 1, "the own machine's");
    assert_eq!(world.answer(public.node, PUBLIC), [], "nobody is told of itself");
}

#[test]
fn neighbours_are_told_as_often_as_peers_and_none_twice() {
    let mut world = World::new();
    let records = |world: &World, net: u32| -> Vec<_> {
        (0..40).map(|third| world.record(&format!("203.{net}.{third}.1:7470"))).collect()
    };
    let (peers, others) = (records(&world, 10), records(&world, 20));
    for record in &peers {
        world.exchange.learn(world.now, record.clone());
    }
    let is_in = |list: &[Arc<AddressRecord>], record: &AddressRecord| list.iter().any(|known| **known == *record);
    let reply = world.answer_with(asker(1), PUBLIC, &others);
    let of_peers = reply.iter().filter(|record| is_in(&peers, record)).count();
    assert_eq!((of_peers, reply.len()), (MAX_RECORDS / 2, MAX_RECORDS), "by turns");
    let mut both = world.answer_with(asker(2), PUBLIC, &peers);
    both.sort_by_key(|record| record.node);
    both.dedup_by_key(|record| record.node);
    assert_eq!(both.len(), MAX_RECORDS, "a peer that is a neighbour is told of once");
    let private = [world.record("10.0.0.1:7470")];
    let reply = world.answer_with(asker(3), PUBLIC, &private);
    assert!(!is_in(&private, &reply[0]) && reply.iter().all(|record| is_in(&peers, record)), "zones hold for them too");
}

#[test]
fn reply_is_bounded_random_and_of_many_subnets() {
    let mut world = World::new();
    for last in 1..=200 {
        let record = world.record(&format!("203.0.115.{last}:7470"));
        world.exchange.learn(world.now, record);
    }
    for third in 1..=30 {
        let record = world.record(&format!("198.51.{third}.1:7470"));
        world.exchange.learn(world.now, record);
    }
    let reply = world.answer(asker(1), PUBLIC);
    assert_eq!(reply.len(), MAX_RECORDS);
    let crowd = reply.iter().filter(|record| record.addresses[0].to_string().starts_with("203.0.115.")).count();
    assert_eq!(crowd, PER_SUBNET, "one subnet does not fill a reply");
    let again = world.answer(asker(2), PUBLIC);
    assert_ne!(again, reply, "chance chooses");
}

#[test]
fn peer_that_asks_too_often_is_refused() {
    let mut world = World::new();
    let question = Exchange::question(1);
    let ask = |world: &mut World| world.exchange.admit(world.now, &asker(1), &question);
    for _ in 0..=askers::FORGETFUL {
        assert!(ask(&mut world).is_ok(), "a node that was restarted asks again at once");
    }
    for _ in askers::FORGETFUL..askers::FLOOD {
        assert_eq!(ask(&mut world), Err(Refusal::TooSoon));
    }
    assert_eq!(ask(&mut world), Err(Refusal::Flood), "no restarts explain that");
    world.now = world.now.after(INTERVAL);
    assert!(ask(&mut world).is_ok());
    assert_eq!(ask(&mut world), Err(Refusal::Flood), "a minute of peace is not forgetting");
    world.now = world.now.after(Duration::from_secs(3600));
    assert!(ask(&mut world).is_ok() && ask(&mut world).is_ok(), "an hour is");
    assert_eq!(world.exchange.admit(world.now, &asker(2), b"?"), Err(Refusal::Malformed));
    assert!(world.exchange.may_ask(world.now, &asker(3)) && !world.exchange.may_ask(world.now, &asker(3)));
    let connected = vec![asker(3), asker(4), asker(5)];
    assert_eq!(world.exchange.choose_peers(world.now, connected.clone(), 9).len(), 2, "one was asked just now");
    assert_eq!(world.exchange.choose_peers(world.now, connected, 9), []);
}

#[test]
fn full_nodes_are_asked_while_peers_are_wanted_few_at_a_time_and_each_once_a_minute() {
    let mut world = World::new();
    let ask = |world: &mut World, number| world.exchange.may_ask_full(world.now, &asker(number), true);
    assert!(!world.exchange.may_ask_full(world.now, &asker(0), false), "there are enough peers");
    assert!(ask(&mut world, 0), "which does not count as asked");
    assert!(!ask(&mut world, 0) && !world.exchange.may_ask(world.now, &asker(0)), "it was asked just now");
    for number in 1..FULL_AT_ONCE as u32 {
        assert!(ask(&mut world, number));
    }
    assert!(!ask(&mut world, 100), "the limit is being asked");
    world.exchange.full_answered(&asker(0));
    assert!(ask(&mut world, 100), "one has answered, and the refusal before did not count");
    assert!(!ask(&mut world, 0), "it was asked less than a minute ago");
    world.now = world.now.after(FULL_PATIENCE);
    assert!(ask(&mut world, 101), "those that never answered delay no others");
    world.now = world.now.after(INTERVAL);
    assert!(ask(&mut world, 0));
    for number in 1000..2000 {
        ask(&mut world, number);
    }
    assert_eq!(world.exchange.asking_full.len(), FULL_AT_ONCE);
}

#[test]
fn lies_are_counted_and_nothing_of_them_is_kept() {
    let mut world = World::new();
    let good = world.record("203.0.115.1:7470");
    let forged = Arc::new(AddressRecord { node: asker(1), ..(*good).clone() });
    let private = world.record("10.0.0.1:7470");
    let reply = world.take(PUBLIC, &[good.clone(), forged, private.clone()]);
    assert_eq!((reply.records.len(), reply.lies, reply.useless), (1, 1, 1));
    assert_eq!(reply.misplaced, 1, "who sees this node at a private address may mean it well");
    assert_eq!(world.take(PRIVATE, &[private]).useless, 0, "a neighbour may tell of neighbours");
    let own = Arc::new(AddressRecord::sign(&*world.me, good.addresses.clone(), 1, world.now));
    let reply = world.take(PUBLIC, &[own, good.clone(), good.clone()]);
    assert_eq!((reply.records.len(), reply.lies, reply.useless), (1, 0, 2));
    let too_many: Vec<_> = (0..=MAX_RECORDS).map(|_| good.clone()).collect();
    assert_eq!(world.take(PUBLIC, &too_many).lies, 1);
    for bytes in [&b""[..], &[0xff; 8], &vec![0; MAX_REPLY + 1]] {
        let reply = world.exchange.take(world.now, &asker(1), ip(PUBLIC), bytes);
        assert_eq!((reply.records.len(), reply.lies), (0, 1));
    }
}

#[test]
fn old_record_is_useless_and_no_lie() {
    let mut world = World::new();
    let old = world.record("203.0.115.1:7470");
    world.now = world.now.after(Duration::from_secs(crate::address::RECORD_LIFETIME + 1));
    let reply = world.take(PUBLIC, std::slice::from_ref(&old));
    assert_eq!((reply.records.len(), reply.lies, reply.useless), (0, 0, 1));
    world.exchange.learn(world.now, old);
    assert_eq!(world.answer(asker(1), PUBLIC), [], "nor is it passed on");
}

#[test]
fn node_not_heard_of_for_long_is_not_told_of() {
    let mut world = World::new();
    let (gone, stays) = (world.record("203.0.115.1:1"), world.record("203.0.116.1:1"));
    world.exchange.learn(world.now, gone.clone());
    world.exchange.learn(world.now, stays.clone());
    world.exchange.seen(world.now, &gone.node, false);
    assert_eq!(world.answer(asker(0), PUBLIC).len(), 2, "it may be back soon");
    world.now = world.now.after(FRESH);
    assert_eq!(world.answer(asker(1), PUBLIC), [(*stays).clone()]);
    world.exchange.forget(&stays.node);
    assert_eq!(world.answer(asker(2), PUBLIC), []);
}

#[test]
fn newer_record_of_a_node_replaces_the_older_and_not_the_reverse() {
    let mut world = World::new();
    let owner = Signer::generate();
    let sign = |address: &str, sequence| {
        Arc::new(AddressRecord::sign(&owner, vec![address.parse().expect("an address")], sequence, world.now))
    };
    let (newer, older) = (sign("203.0.115.2:1", 2), sign("203.0.115.1:1", 1));
    world.exchange.learn(world.now, newer.clone());
    world.exchange.learn(world.now, older);
    assert_eq!(world.answer(asker(1), PUBLIC), [(*newer).clone()]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut world = World::new();
    let template = world.record("203.0.115.1:1");
    for number in 0..MAX_KNOWN as u32 + 50 {
        let record = AddressRecord { node: asker(number), ..(*template).clone() };
        world.now = world.now.after(Duration::from_millis(1));
        world.exchange.learn(world.now, Arc::new(record));
    }
    assert_eq!(world.exchange.known.len(), MAX_KNOWN);
    assert!(!world.exchange.known.contains_key(&(asker(0), Zone::Public)), "the oldest made room");
    for number in 0..MAX_REMEMBERED as u32 + 50 {
        let payload = Exchange::question(0);
        assert_eq!(world.exchange.admit(world.now, &asker(number), &payload), Ok(0));
        assert!(world.exchange.may_ask(world.now, &asker(number)));
    }
    assert_eq!((world.exchange.answered.len(), world.exchange.asked.0.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
}

#[test]
fn examples_are_what_is_sent() {
    let mut examples = crate::examples::examples();
    assert_eq!(examples.remove("exchange-question").expect("an example"), Exchange::question(MAX_RECORDS));
    let mut id = [0; 32];
    id.iter_mut().zip(0x20..).for_each(|(byte, value)| *byte = value);
    let record = AddressRecord {
        node: NodeId(id),
        addresses: vec!["203.0.114.7:7470".parse().expect("an address")],
        sequence: 5,
        time: 100_000_000,
        signature: polypeer_ipc_protocol::record::Signature([0x11; 64]),
    };
    assert_eq!(examples.remove("exchange-reply").expect("an example"), encoded(&[Arc::new(record)]));
}
