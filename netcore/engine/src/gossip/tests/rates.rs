//! Rate limits: no peer is disconnected for what others publish, and none sends more than the receiver reads.

use std::time::Duration;

use polypeer_ipc_protocol::gateway::Validation;

use super::among::{Among, news, node};
use crate::gossip::{Frame, GossipConfig, Output, PublishError};

const RELAY: u16 = 100;
const NEXT: u16 = 200;

#[test]
fn whoever_passes_on_what_many_publish_sends_its_neighbours_no_more_than_they_take() {
    let flooders = [1, 2, 3, 4];
    let mut relay = Among::with_neighbours(RELAY, Validation::Signature, &[1, 2, 3, 4, NEXT]);
    let mut next = Among::with_neighbours(NEXT, Validation::Signature, &[RELAY]);
    let mut reached = 0;
    for _ in 0..12 {
        // Each peer stays within its rate limit.
        for peer in flooders {
            for _ in 0..500 {
                let message = relay.message(peer);
                relay.push(peer, message).unwrap();
            }
        }
        let outputs = relay.outputs();
        for output in outputs {
            match output {
                Output::Send { to, frame } if to == node(NEXT) => next.frame(RELAY, frame).unwrap(),
                _ => {}
            }
        }
        reached += next.deliveries();
        relay.wait(Duration::from_secs(1));
        next.wait(Duration::from_secs(1));
    }
    assert_eq!(next.gossip.stats().dropped_fast, 0, "nothing it would have to drop");
    assert!(relay.gossip.stats().paced > 1000, "{:?}", relay.gossip.stats());
    assert!((6000..8000).contains(&reached), "{reached}");
}

#[test]
fn messages_beyond_the_rate_are_dropped_and_held_against_nobody() {
    let mut among = Among::with_neighbours(RELAY, Validation::Signature, &[1]);
    let mut delivered = 0;
    for _ in 0..30 {
        for _ in 0..1000 {
            let message = among.message(9);
            among.push(1, message).unwrap();
        }
        let outputs = among.outputs();
        assert!(!outputs.iter().any(|output| matches!(output, Output::Blame { .. })));
        delivered += outputs.iter().filter(|output| matches!(output, Output::Deliver { .. })).count();
        among.wait(Duration::from_secs(1));
    }
    assert!((18_000..19_000).contains(&delivered), "{delivered}");
    assert!(among.gossip.stats().dropped_fast > 10_000);
    assert_eq!(among.neighbours(), 1);
}

#[test]
fn whoever_publishes_faster_than_peers_take_it_is_told_to_wait() {
    let mut among = Among::with_neighbours(RELAY, Validation::Signature, &[NEXT]);
    let mut next = Among::with_neighbours(NEXT, Validation::Signature, &[RELAY]);
    let mut published = 0;
    let refused = loop {
        match among.gossip.publish(among.now, news(), vec![7; 10].into()) {
            Ok(_) => published += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((published, refused), (2000, PublishError::TooFast));
    for output in among.outputs() {
        if let Output::Send { frame, .. } = output {
            next.frame(RELAY, frame).unwrap();
        }
    }
    assert_eq!(next.deliveries(), 2000, "all that was taken arrives");
    among.wait(Duration::from_secs(1));
    assert!(among.gossip.publish(among.now, news(), vec![7; 10].into()).is_ok());
    let mut bytes = 0;
    while among.gossip.publish(among.now, news(), vec![7; 60_000].into()).is_ok() {
        bytes += 60_000;
    }
    assert!((12 << 20..16 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn no_more_is_asked_of_a_peer_than_it_answers() {
    let mut asker = Among::with_neighbours(RELAY, Validation::Signature, &[NEXT]);
    let mut holder = Among::with_neighbours(NEXT, Validation::Signature, &[RELAY]);
    for _ in 0..4 {
        // The asker receives none of these pushes.
        for _ in 0..500 {
            let message = holder.message(9);
            holder.push(RELAY, message).unwrap();
        }
        holder.outputs();
    }
    let mut names = Vec::new();
    let bucket = u32::try_from(holder.now.unix / crate::gossip::wire::BUCKET).unwrap();
    holder.frame(RELAY, Frame::List { topic: holder.topic, buckets: vec![bucket] }).unwrap();
    names.extend(holder.outputs());
    let mut delivered = 0;
    for _ in 0..60 {
        for output in std::mem::take(&mut names) {
            if let Output::Send { frame, .. } = output {
                asker.frame(NEXT, frame).unwrap();
            }
        }
        for output in asker.outputs() {
            match output {
                Output::Send { frame: frame @ Frame::Want { .. }, .. } => holder.frame(RELAY, frame).unwrap(),
                Output::Deliver { .. } => delivered += 1,
                Output::Blame { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
        names.extend(holder.outputs());
        if names.is_empty() {
            asker.wait(Duration::from_millis(500));
            holder.wait(Duration::from_millis(500));
        }
    }
    assert!(delivered >= 500, "{delivered}");
    assert_eq!(asker.gossip.stats().promises_broken, 0);
}

#[test]
fn a_published_message_is_not_lost_on_a_node_that_takes_part_in_nothing_yet() {
    let mut among = Among::new(RELAY, GossipConfig::default());
    let (id, peers) = among.gossip.publish(among.now, news(), vec![7].into()).unwrap();
    assert_eq!(peers, 0);
    assert!(among.gossip.message(&news(), &id).is_some());
}
