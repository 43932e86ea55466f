//! Targets for discovery: the schedule of sources, cross-checks, peer exchange, and reachability.

use std::collections::BTreeSet;
use std::sync::Arc;

use polypeer_engine::discovery::crosscheck::CrossCheck;
use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::discovery::schedule::{Schedule, ScheduleConfig};
use polypeer_engine::reach::finder::{Finder, NoAnswer, Output};
use polypeer_engine::reach::wire::{MAX_PORTS, Probed};
use polypeer_engine::source::{Introduction, Source};

use super::{drain, waits};
use crate::choices::Choices;
use crate::keys::{CheapKeys, node};
use crate::samples::address_record;

/// Runs the schedule of sources: only enabled sources are asked, and the schedule never spins.
pub fn schedule(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let enabled: Vec<Source> = Source::ASKED.into_iter().filter(|_| choices.flag()).collect();
    let config = ScheduleConfig { enabled: enabled.clone(), low: choices.below(12) };
    let seed = choices.seed();
    let mut schedule = Schedule::new(config, choices.now(), seed);
    while choices.go_on() {
        let now = choices.pass_time();
        let source = *choices.of(&Source::ASKED);
        match choices.below(6) {
            0 => schedule.peers(now, choices.below(20)),
            1 => schedule.named(now, source, choices.below(5) as u64),
            2 | 3 => {
                let answer =
                    if choices.flag() { Ok(choices.below(3) as u64) } else { Err("x".repeat(choices.below(900))) };
                schedule.answered(now, source, answer);
            }
            4 => schedule.problem(source, choices.flag().then(|| "gone".to_owned())),
            _ => schedule.start_over(now),
        }
        drain(|| schedule.poll(now), |source| assert!(enabled.contains(&source), "{source:?} is off"));
        waits(schedule.next_timeout(), now);
        assert!(schedule.report().len() <= Source::ASKED.len());
    }
}

/// Runs the cross-check: every record to dial has addresses, and the number of records is bounded.
pub fn crosscheck(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let low = choices.below(12);
    let mut check = CrossCheck::new(low);
    let mut sequence = 0;
    while choices.go_on() {
        let now = choices.pass_time();
        let number = choices.below(30);
        sequence += 1;
        let addresses = vec![choices.address()];
        let record = address_record(number, addresses, sequence, now);
        let all = [Introduction::Trusted, Introduction::Itself, Introduction::Seed, Introduction::Peer];
        let introduction = *choices.of(&all);
        match choices.below(6) {
            0 => check.connected(now, node(number), choices.ip(), introduction),
            4 => check.asked(now, node(number), choices.ip(), introduction),
            1 => check.disconnected(now, &node(number)),
            2 => {
                let by = choices.node(30);
                check.introduced(now, &by, record);
            }
            3 => drop(check.looked_up(now, record)),
            _ => drain(|| check.poll(now), |record| assert!(!record.addresses.is_empty())),
        }
        assert!(check.count() <= 100_000);
    }
}

/// Runs peer exchange between two nodes: replies stay within [`MAX_RECORDS`], and each request counts towards the rate
/// limit.
pub fn exchange(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut ends: Vec<Exchange> =
        (0..2).map(|number| Exchange::new(Arc::new(CheapKeys(node(number))), choices.seed())).collect();
    while choices.go_on() {
        let now = choices.pass_time();
        let (asking, answering) = if choices.flag() { (0, 1) } else { (1, 0) };
        match choices.below(6) {
            0 => {
                let addresses = choices.addresses(3);
                let record = address_record(choices.below(40), addresses, choices.number(), now);
                // The caller of this method checks the record.
                if record.check(&CheapKeys(node(0)), now).is_ok() {
                    ends[answering].learn(now, record);
                }
            }
            1 => ends[answering].seen(now, &choices.node(40), choices.flag()),
            2 => ends[answering].forget(&choices.node(40)),
            3 => {
                let may = ends[asking].may_ask_full(now, &node(answering), choices.flag());
                assert!(!may || !ends[asking].may_ask(now, &node(answering)), "it counts as asked");
                if choices.flag() {
                    ends[asking].full_answered(&node(answering));
                }
            }
            _ if ends[asking].may_ask(now, &node(answering)) => {
                let (there, here) = (choices.ip(), choices.ip());
                let question = if choices.flag() { Exchange::question(choices.below(64)) } else { choices.bytes(16) };
                if let Ok(wanted) = ends[answering].admit(now, &node(asking), &question) {
                    let answer = ends[answering].reply(now, &node(asking), there, wanted, &[]);
                    let reply = ends[asking].take(now, &node(answering), here, &answer);
                    assert!(reply.records.len() <= MAX_RECORDS);
                }
            }
            _ => {}
        }
    }
}

/// Runs the search for this node's own addresses: each peer has one probe at a time, and confirmed addresses are of the
/// zone that they are listed under.
pub fn reach(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut finder = Finder::new(choices.seed());
    let mut asked = BTreeSet::new();
    while choices.go_on() {
        let now = choices.pass_time();
        let peer = choices.node(12);
        match choices.below(6) {
            0 | 1 => {
                finder.peer_up(now.at, peer, choices.ip());
                asked.remove(&peer);
            }
            2 => {
                finder.peer_down(now.at, &peer);
                asked.remove(&peer);
            }
            3 => {
                let bound = choices.addresses(3);
                let local = choices.addresses(3).iter().map(|address| address.ip()).collect();
                finder.set_local(now.at, &bound, local);
            }
            _ => {
                let answer = match choices.below(4) {
                    0 => Err(NoAnswer::Busy),
                    1 => Err(NoAnswer::Useless),
                    _ => Ok(Probed { observed: choices.address(), reached: vec![7470 + choices.below(4) as u16] }),
                };
                let from = if choices.flag() { asked.pop_first().unwrap_or(peer) } else { peer };
                asked.remove(&from);
                finder.handle_answer(now.at, from, answer);
            }
        }
        finder.handle_timeout(now.at);
        drain(
            || finder.poll(now.at),
            |output| {
                if let Output::Ask { peer, ports } = output {
                    assert!(asked.insert(peer) && (1..=MAX_PORTS).contains(&ports.len()), "{ports:?}");
                }
            },
        );
        waits(finder.next_timeout(), now);
        finder.reach();
        for (zone, addresses) in finder.confirmed() {
            assert!(addresses.iter().all(|address| polypeer_engine::address::Zone::of(address.ip()) == zone));
        }
    }
}
