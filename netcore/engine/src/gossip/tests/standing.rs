//! Blames and credits: behaviour that changes a peer's standing, and behaviour that does not.

use std::collections::BTreeSet;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::{Validation, Verdict};
use polypeer_ipc_protocol::ids::NodeId;

use super::among::{Among, PUBLIC, message, news, node, record};
use crate::gossip::message::MESSAGE_SKEW;
use crate::gossip::peer::MAX_PROMISED;
use crate::gossip::wire::{BUCKET, MAX_BUCKETS, MAX_IDS};
use crate::gossip::{Frame, GossipConfig, MAX_PEERS, MessageId, Misbehaviour, Output};
use crate::now::Now;

const ME: u16 = 100;
const RELAY: u16 = 1;
const AUTHOR: u16 = 9;

/// Pushes a message of `author` through `from`, judges it, and returns the blamed peers.
fn judged(among: &mut Among, from: u16, author: u16, verdict: Verdict) -> Vec<NodeId> {
    let message = among.message(author);
    among.push(from, message.clone()).unwrap();
    among.gossip.judge(among.now, &news(), message.id(), verdict);
    let outputs = among.outputs();
    let blamed = outputs.iter().filter_map(|output| match output {
        Output::Blame { peer, why: Misbehaviour::Rejected } => Some(*peer),
        _ => None,
    });
    blamed.collect()
}

#[test]
fn whoever_passes_on_what_others_wrote_is_not_blamed_for_it() {
    let mut among = Among::with_neighbours(ME, Validation::Plugin, &[RELAY]);
    // Some messages are accepted, some rejected: the relay does not validate.
    for _ in 0..200 {
        assert_eq!(judged(&mut among, RELAY, AUTHOR, Verdict::Reject), []);
        assert_eq!(judged(&mut among, RELAY, AUTHOR, Verdict::Accept), []);
    }
    assert_eq!(among.neighbours(), 1);
    // After too many rejected ones the peer is no neighbour in this topic any more, and nothing else happens.
    let rejected = (0..50).take_while(|_| {
        assert_eq!(judged(&mut among, RELAY, AUTHOR, Verdict::Reject), []);
        among.neighbours() == 1
    });
    assert!(rejected.count() < 45);
    among.wait(Duration::from_secs(61));
    among.frame(RELAY, Frame::Join { topic: among.topic, urgent: true, record: None }).unwrap();
    assert_eq!(among.neighbours(), 0);
    among.wait(Duration::from_secs(600));
    among.frame(RELAY, Frame::Join { topic: among.topic, urgent: true, record: None }).unwrap();
    assert_eq!(among.neighbours(), 1);
}

#[test]
fn an_author_is_blamed_but_no_plugin_alone_has_it_banned() {
    let mut among = Among::with_neighbours(ME, Validation::Plugin, &[AUTHOR]);
    let mut blamed = 0;
    for _ in 0..20 {
        blamed += judged(&mut among, AUTHOR, AUTHOR, Verdict::Reject).len();
    }
    assert_eq!((blamed, among.neighbours()), (1, 0));
    among.wait(Duration::from_secs(3601));
    assert_eq!(judged(&mut among, AUTHOR, AUTHOR, Verdict::Reject), [node(AUTHOR)]);
}

#[test]
fn messages_that_are_right_are_credited_now_and_then() {
    for validation in [Validation::Signature, Validation::Plugin] {
        let mut among = Among::with_neighbours(ME, validation, &[RELAY]);
        let mut credited = 0;
        for second in 0..61 {
            let message = among.message(AUTHOR);
            among.push(RELAY, message.clone()).unwrap();
            among.push(RELAY, message.clone()).unwrap(); // a copy earns nothing
            let before = among.outputs().iter().filter(|output| matches!(output, Output::Credit { .. })).count();
            assert!(validation == Validation::Signature || before == 0, "not before it is judged");
            among.gossip.judge(among.now, &news(), message.id(), Verdict::Accept);
            let after = among.outputs().into_iter().filter(|output| match output {
                Output::Credit { peer } => *peer == node(RELAY),
                _ => false,
            });
            credited += before + after.count();
            assert_eq!(credited, 1 + second / 30);
            among.wait(Duration::from_secs(1));
        }
    }
}

#[test]
fn messages_dated_ahead_do_not_keep_out_the_present() {
    let config = GossipConfig { topic_names: 200, ..GossipConfig::default() };
    let mut among = Among::new(ME, config);
    among.gossip.subscribe(among.now, news(), Validation::Signature);
    among.neighbour(RELAY);
    let mut sequence = 0;
    for ahead in [MESSAGE_SKEW - 1, MESSAGE_SKEW] {
        for _ in 0..300 {
            sequence += 1;
            let date = Now { unix: among.now.unix + ahead, ..among.now };
            among.push(RELAY, message(node(AUTHOR), sequence, date)).unwrap();
        }
    }
    assert_eq!(among.deliveries(), 100, "half of the room");
    for _ in 0..60 {
        among.wait(Duration::from_secs(1));
        let message = among.message(AUTHOR);
        among.push(RELAY, message.clone()).unwrap();
        assert_eq!(among.deliveries(), 1);
        assert!(among.gossip.message(&news(), &message.id()).is_some(), "others can have it");
    }
    assert_eq!(among.gossip.stats().dropped_time, 500);
}

#[test]
fn records_that_mean_nothing_where_their_bringer_is_are_not_used_and_no_lie() {
    let mut among = Among::with_neighbours(ME, Validation::Signature, &[RELAY]);
    let inner = ["192.168.1.1:53", "127.0.0.1:9000", "[fd00::1]:7470"];
    let mut records: Vec<_> = (0..3).map(|number| record(20 + number, inner[usize::from(number)], among.now)).collect();
    records.push(record(30, "203.0.113.30:7470", among.now));
    among.frame(RELAY, Frame::Shuffle { topic: among.topic, answer: true, records: records.clone() }).unwrap();
    let own = Some(record(RELAY, "10.0.0.1:7470", among.now));
    among.frame(RELAY, Frame::Join { topic: among.topic, urgent: false, record: own }).unwrap();
    let mut dialed = BTreeSet::new();
    for _ in 0..20 {
        among.wait(Duration::from_secs(30));
        dialed.extend(among.outputs().into_iter().filter_map(|output| match output {
            Output::Connect { record } => Some(record.node),
            _ => None,
        }));
    }
    assert_eq!(dialed, BTreeSet::from([node(30)]));
    assert_eq!(among.gossip.stats().misplaced_records, 4);
    // A peer in this network may name others in it.
    among.gossip.peer_up(among.now, node(2), "10.0.0.2".parse().unwrap());
    among.frame(2, Frame::Join { topic: among.topic, urgent: true, record: None }).unwrap();
    let near = vec![record(20, inner[0], among.now), record(21, inner[1], among.now)];
    among.frame(2, Frame::Shuffle { topic: among.topic, answer: true, records: near }).unwrap();
    assert_eq!(among.gossip.stats().misplaced_records, 5, "but no loopback");
}

#[test]
fn nobody_is_led_to_others_by_a_record_of_who_is_not_there() {
    let mut among = Among::with_neighbours(ME, Validation::Signature, &[RELAY]);
    let mut join = |number: u16, ip: &str| {
        among.gossip.peer_up(among.now, node(number), ip.parse().unwrap());
        let record = Some(record(number, &format!("203.0.113.{number}:7470"), among.now));
        among.frame(number, Frame::Join { topic: among.topic, urgent: true, record }).unwrap();
        among.frame(RELAY, Frame::Shuffle { topic: among.topic, answer: false, records: Vec::new() }).unwrap();
        let outputs = among.outputs();
        let told = outputs.into_iter().filter_map(|output| match output {
            Output::Send { to, frame: Frame::Shuffle { records, .. } } if to == node(RELAY) => Some(records),
            _ => None,
        });
        (told.flatten().any(|record| record.node == node(number)), among.gossip.stats().misplaced_records)
    };
    assert_eq!(join(20, "203.0.113.20"), (true, 0));
    assert_eq!(join(21, "198.51.100.1"), (false, 1));
}

#[test]
fn publishers_that_are_not_subscribed_choose_by_chance() {
    let mut chosen = BTreeSet::new();
    for number in 0..40 {
        let mut among = Among::new(ME, GossipConfig::default());
        // Each engine has its own random seed.
        among.gossip = crate::gossip::Gossip::new(
            std::sync::Arc::new(super::world::CheapKeys(node(ME))),
            GossipConfig::default(),
            [number; 32],
        );
        for peer in 1..=20 {
            among.gossip.peer_up(among.now, node(peer), PUBLIC);
            among.frame(peer, Frame::Topics { topics: vec![among.topic] }).unwrap();
        }
        assert_eq!(among.gossip.publish(among.now, news(), vec![7].into()).unwrap().1, 3);
        let pushed: Vec<_> = among
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Send { to, frame: Frame::Push { .. } } => Some(to),
                _ => None,
            })
            .collect();
        assert_eq!(pushed.len(), 1);
        chosen.extend(pushed);
    }
    assert!(chosen.len() >= 10, "{} of 20 are chosen by 40 publishers", chosen.len());
}

#[test]
fn lists_of_what_is_gone_cost_nothing_and_of_one_bucket_as_much_as_once() {
    let mut among = Among::with_neighbours(ME, Validation::Signature, &[RELAY]);
    for _ in 0..100 {
        let message = among.message(AUTHOR);
        among.push(RELAY, message).unwrap();
    }
    among.outputs();
    let bucket = u32::try_from(among.now.unix / BUCKET).unwrap();
    let listed = |among: &mut Among| {
        among.frame(RELAY, Frame::List { topic: among.topic, buckets: vec![bucket; MAX_BUCKETS] }).unwrap();
        let named = among.outputs().into_iter().map(|output| match output {
            Output::Send { frame: Frame::Have { messages, .. }, .. } => messages.len(),
            _ => 0,
        });
        named.sum::<usize>()
    };
    assert_eq!(listed(&mut among), 100);
    for _ in 0..9 {
        among.wait(Duration::from_secs(16)); // its messages can be had no longer, their names are remembered
    }
    among.outputs();
    assert_eq!(among.gossip.stats().names, 100);
    assert_eq!(listed(&mut among), 0);
}

/// Ids of messages that do not exist.
fn made_up(from: u16, round: u16) -> Vec<Vec<(MessageId, u8)>> {
    let id = |number: u16| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&from.to_be_bytes());
        bytes[2..4].copy_from_slice(&round.to_be_bytes());
        bytes[4..6].copy_from_slice(&number.to_be_bytes());
        (MessageId(bytes), 0)
    };
    let all: Vec<_> = (0..MAX_PROMISED as u16).map(id).collect();
    all.chunks(MAX_IDS).map(<[_]>::to_vec).collect()
}

#[test]
fn promises_broken_in_silence_count_once_the_peer_speaks_again() {
    let mut among = Among::with_neighbours(ME, Validation::Signature, &[RELAY]);
    let mut blamed = 0;
    for round in 0..8 {
        for messages in made_up(RELAY, round) {
            among.frame(RELAY, Frame::Have { topic: among.topic, answer: false, messages }).unwrap();
        }
        for _ in 0..20 {
            among.wait(Duration::from_secs(1));
            let blames = |output: &Output| matches!(output, Output::Blame { why: Misbehaviour::EmptyPromises, .. });
            blamed += among.outputs().iter().filter(|output| blames(output)).count();
        }
        assert!(round > 2 || blamed == 0, "a connection may be slow for a moment");
    }
    assert_eq!((blamed, among.neighbours()), (1, 0));
}

#[test]
fn names_that_a_few_make_up_leave_room_for_real_ones() {
    let liars: Vec<u16> = (1..=20).collect();
    let mut among = Among::with_neighbours(ME, Validation::Signature, &[]);
    for liar in liars {
        among.gossip.peer_up(among.now, node(liar), PUBLIC);
        for messages in made_up(liar, 0) {
            among.frame(liar, Frame::Have { topic: among.topic, answer: false, messages }).unwrap();
        }
    }
    among.neighbour(RELAY + 100);
    let real = among.message(AUTHOR);
    let messages = vec![(real.short(), 0)];
    among.frame(RELAY + 100, Frame::Have { topic: among.topic, answer: true, messages }).unwrap();
    let asked = among.outputs().into_iter().any(|output| match output {
        Output::Send { to, frame: Frame::Want { messages, .. } } => {
            to == node(RELAY + 100) && messages == [real.short()]
        }
        _ => false,
    });
    assert!(asked);
}

#[test]
fn only_so_many_peers_take_part_and_who_leaves_makes_room() {
    let mut among = Among::with_neighbours(ME, Validation::Signature, &[]);
    let numbers = (1..).filter(|number| *number != ME);
    let peers: Vec<u16> = numbers.take(MAX_PEERS + 1).collect();
    for peer in &peers {
        among.gossip.peer_up(among.now, node(*peer), PUBLIC);
    }
    assert_eq!(among.gossip.stats().peers_left_out, 1);
    let (message, extra) = (among.message(AUTHOR), peers[MAX_PEERS]);
    among.push(extra, message.clone()).unwrap();
    assert_eq!(among.deliveries(), 0, "it takes no part");
    among.gossip.peer_down(among.now, node(peers[0]));
    among.gossip.peer_up(among.now, node(extra), PUBLIC);
    among.push(extra, message).unwrap();
    assert_eq!((among.deliveries(), among.gossip.stats().peers_left_out), (1, 1));
}
