//! Targets for peers: the table of connections, dialing, the peer book, and the manager of links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use polypeer_engine::peers::book::{Book, MAX_ADDRESSES, MAX_NODES};
use polypeer_engine::peers::manager::{Action, Ending, Manager};
use polypeer_engine::peers::plan::{Plan, Step};
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_engine::peers::table::{Table, Verdict, Wanted};
use polypeer_engine::peers::watermarks::Marks;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;

use super::{drain, waits};
use crate::choices::Choices;
use crate::keys::node;

const SOURCES: [Source; 10] = [
    Source::Ticket,
    Source::Lan,
    Source::Peer,
    Source::Incoming,
    Source::Exchange,
    Source::Dht,
    Source::Dns,
    Source::List,
    Source::Mainline,
    Source::Remembered,
];
const EVENTS: [ScoreEvent; 7] = [
    ScoreEvent::Useful,
    ScoreEvent::ValidGossip,
    ScoreEvent::Timeout,
    ScoreEvent::InvalidGossip,
    ScoreEvent::Flood,
    ScoreEvent::Lie,
    ScoreEvent::Misbehaved,
];

/// Runs the table of connections: one connection for each peer, and each waiter is told once.
pub fn table(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut table: Table<u64, u64> = Table::default();
    let (mut waiting, mut next) = (BTreeSet::new(), 0_u64);
    let mut settling: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut kept: BTreeMap<NodeId, u64> = BTreeMap::new();
    while choices.go_on() {
        let (peer, fresh) = (choices.node(4), choices.number());
        match choices.below(7) {
            0 => {
                next += 1;
                match table.want(peer, Some(next), fresh) {
                    Wanted::Live(connection, waiter) => {
                        assert!(waiter == Some(next) && table.live(&peer) == Some(&connection));
                    }
                    Wanted::Waiting | Wanted::Dial => assert!(waiting.insert(next)),
                    Wanted::Full(waiter) => assert_eq!(waiter, Some(next)),
                }
            }
            1 => tell(&mut waiting, table.dial_ended(&peer)),
            2 => {
                if table.enter(peer, fresh).is_some() {
                    *settling.entry(peer).or_default() += 1;
                }
            }
            3 => {
                if let Some(count) = settling.get_mut(&peer).filter(|count| **count > 0) {
                    *count -= 1;
                    table.leave(&peer);
                }
            }
            4 if settling.get(&peer).is_some_and(|count| *count > 0) => {
                next += 1;
                let tag = choices.below(2) as u64;
                let verdict = if choices.flag() {
                    let alive = choices.flag();
                    table.decide(peer, tag, next, |_| alive)
                } else {
                    table.keep(peer, tag, next)
                };
                if let Verdict::Kept { number, .. } = verdict {
                    let before = kept.insert(peer, number);
                    assert!(before.is_none_or(|before| before < number), "numbers grow");
                }
            }
            5 => {
                if let Some(number) = kept.get(&peer) {
                    let number = number - u64::from(choices.below(4) == 0);
                    tell(&mut waiting, table.ready(&peer, number));
                }
            }
            _ => {
                let number = kept.get(&peer).copied().unwrap_or(0)
                    - u64::from(choices.below(4) == 0).min(kept.get(&peer).copied().unwrap_or(0));
                if table.ended(&peer, number, fresh) {
                    assert_eq!(kept.remove(&peer), Some(number));
                    assert!(table.live(&peer).is_none());
                }
            }
        }
        assert!(table.connected().count() <= kept.len());
    }
}

fn tell(waiting: &mut BTreeSet<u64>, told: Vec<u64>) {
    for waiter in told {
        assert!(waiting.remove(&waiter), "waiter {waiter} is answered twice");
    }
}

/// Runs a dialing plan: each address once, at most 4 at a time and 32 in all.
pub fn plan(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let first = choices.addresses(8);
    let mut plan = Plan::new(choices.now().at, &first);
    let (mut started, mut running): (BTreeSet<SocketAddr>, usize) = (BTreeSet::new(), 0);
    while choices.go_on() {
        let now = choices.pass_time().at;
        match choices.below(3) {
            0 => match plan.poll(now) {
                Step::Start(address) => {
                    assert!(started.insert(address), "{address} is dialed twice");
                    running += 1;
                }
                Step::Wait(until) => assert!(until > now),
                Step::Idle => {}
                Step::Exhausted => assert_eq!(running, 0),
            },
            1 => plan.add(&choices.addresses(8)),
            _ if running > 0 => {
                running -= 1;
                plan.ended(now);
            }
            _ => {}
        }
        assert!(running <= 4 && started.len() <= 32);
    }
}

/// Runs the peer book: its limits hold whatever it learns.
pub fn book(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut book = Book::default();
    let crowd = if choices.below(8) > 0 { 8 } else { 3 * MAX_NODES };
    if crowd > 8 {
        // More strangers than fit.
        for number in 0..MAX_NODES + 10 {
            book.learn(node(number), SocketAddr::from(([203, 0, 113, 1], 1)), Source::Exchange);
        }
    }
    while choices.go_on() {
        let (peer, address, source) = (choices.node(crowd), choices.address(), *choices.of(&SOURCES));
        match choices.below(8) {
            0 | 1 => drop(book.learn(peer, address, source)),
            2 => book.connected(peer, choices.flag().then_some(address), source, choices.now().unix),
            3 => book.is_elsewhere(&peer, address),
            4 => {
                let blocked = choices.flag();
                if book.set_blocked(peer, blocked) {
                    assert_eq!(book.is_blocked(&peer), blocked);
                }
            }
            5 => {
                let protected = choices.flag();
                if book.set_protected(peer, protected) {
                    assert_eq!(book.is_protected(&peer), protected);
                }
            }
            6 => book.drop_stranger(&peer),
            _ => {
                let blocked = book.is_blocked(&peer);
                book.forget(&peer);
                assert_eq!(book.is_blocked(&peer), blocked, "a block is kept");
            }
        }
        assert!(book.candidates(&peer).len() <= MAX_ADDRESSES);
    }
    assert!(book.iter().count() <= MAX_NODES, "{}", book.iter().count());
    for (_, entry) in book.iter() {
        assert!(entry.addresses.len() <= MAX_ADDRESSES);
    }
}

/// Runs the manager of links: it dials only peers that it would admit, closes only links that exist, and never spins.
pub fn manager(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let marks = Marks::new(1 + choices.below(8), 2 + choices.below(16));
    let (high, me) = (marks.high, node(0));
    let seed = choices.seed();
    let mut manager = Manager::new(me, marks, Book::default(), seed, choices.now());
    let (mut dials, mut links, mut admitted) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    let mut kept: BTreeMap<NodeId, usize> = BTreeMap::new();
    while choices.go_on() {
        let now = choices.pass_time();
        let peer = node(1 + choices.below(40));
        match choices.below(12) {
            0 | 1 => {
                let addresses = choices.addresses(3);
                manager.found(now, peer, &addresses, *choices.of(&SOURCES));
            }
            2 => {
                if let Ok(admission) = manager.admit(now, peer, choices.ip()) {
                    admitted.insert(admission, peer);
                }
            }
            3 => {
                if let Some((admission, peer)) = admitted.pop_first() {
                    manager.settled(admission);
                    if choices.flag() {
                        manager.up(now, peer, choices.ip(), None, Source::Incoming, false);
                        links.insert(peer);
                    }
                }
            }
            4 | 5 => {
                if let Some(peer) = dials.pop_first() {
                    let connected = choices.flag();
                    if connected {
                        let address = choices.address();
                        manager.up(now, peer, address.ip(), Some(address), Source::Exchange, true);
                        links.insert(peer);
                    }
                    if !connected && choices.flag() {
                        manager.was_full(now, &peer);
                    }
                    manager.dial_ended(now, &peer, connected);
                }
            }
            6 => {
                if let Some(peer) = links.pop_first() {
                    manager.down(now, &peer, if choices.flag() { Ending::Lost } else { Ending::Deliberate });
                }
            }
            7 => {
                manager.score(now, peer, *choices.of(&EVENTS));
            }
            8 => {
                manager.keep(peer);
                *kept.entry(peer).or_default() += 1;
            }
            9 => {
                manager.release(now, &peer);
                kept.remove(&peer);
            }
            10 => match choices.below(4) {
                0 => drop(manager.protect(now, peer, choices.flag())),
                1 => manager.pardon(now, peer),
                2 => drop(manager.book_mut().set_blocked(peer, choices.flag())),
                _ => {
                    manager.dialing(peer);
                    dials.insert(peer);
                }
            },
            _ => manager.used(now, &peer),
        }
        let mut actions = Vec::new();
        drain(|| manager.poll(now), |action| actions.push(action));
        for action in actions {
            match action {
                Action::Dial { node, addresses, .. } => {
                    assert!(node != me && !addresses.is_empty() && addresses.len() <= MAX_ADDRESSES);
                    assert!(manager.check(&node, now).is_ok(), "it dials a peer that it refuses");
                    dials.insert(node);
                }
                Action::Close { node, .. } => assert!(links.contains(&node), "it closes a link that does not exist"),
            }
        }
        waits(manager.next_timeout(), now);
        assert!(manager.connected() <= links.len() && manager.chosen() <= manager.connected());
        manager.checkpoint(now);
        assert!(manager.take_changed().len() <= MAX_NODES && high >= manager.marks().low);
    }
}
