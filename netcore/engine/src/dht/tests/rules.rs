//! One node: what it answers, which nodes it asks, and which it keeps in its table.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;

use super::immutable;
use super::one::{address, agree, ask, asker, at, befriend, keys, now, server, somewhere};
use super::world::Cheap;
use crate::address::Zone;
use crate::dht::limits::{K, MAX_CANDIDATES, MAX_OWN_PROVIDED, MAX_OWN_RECORDS, MAX_QUERIES, MAX_REPORTS};
use crate::dht::time::Moment;
use crate::dht::{Ask, CallFailed, Dht, DhtConfig, Failed, Job, Key, Lie, Outcome, Output, Refusal, Request, Response};
use crate::keys::Keys;

#[test]
fn a_client_answers_nobody() {
    let mut dht = Dht::new(Arc::new(keys(1)), DhtConfig::default(), [0; 32]);
    let response = ask(&mut dht, now(), &asker(2, "9.0.0.1"), Ask::Ping);
    assert_eq!(response, Response::Refused(Refusal::NotServing));
    assert_eq!(dht.stats().counts.refused_not_serving, 1);
}

#[test]
fn an_asker_becomes_a_contact_only_when_it_answers_where_it_said() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let from = address(keys(5), "9.0.0.5:1", now);
    let request = Request { ask: Ask::Ping, from: Some(Arc::clone(&from)) };
    assert_eq!(dht.handle_request(now, &asker(5, "9.0.0.5"), request), Response::Done);
    assert_eq!(dht.stats().contacts, 0);
    let Some(Output::Call { call, to, request }) = dht.poll(now) else { panic!("it is not called") };
    assert_eq!((&to, request.ask), (&from, Ask::Ping));
    dht.handle_answer(now, call, at(&to), Ok(Response::Done));
    assert_eq!(dht.stats().contacts, 1);
}

#[test]
fn nobody_introduces_another_or_tells_of_places_that_mean_something_else_here() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let other = Request { ask: Ask::Ping, from: Some(address(keys(6), "9.0.0.6:1", now)) };
    dht.handle_request(now, &asker(5, "9.0.0.5"), other);
    assert!(matches!(dht.poll(now), Some(Output::Misbehaved { why: Lie::Contact, .. })));
    let private = Request { ask: Ask::Ping, from: Some(address(keys(5), "10.0.0.6:1", now)) };
    dht.handle_request(now, &asker(5, "9.0.0.5"), private);
    assert!(dht.poll(now).is_none(), "nobody is called");
    assert_eq!(dht.stats().counts.implausible, 1);
}

#[test]
fn private_contacts_are_told_to_private_askers_only() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    for (number, text) in [(1, "9.0.0.1:1"), (2, "10.0.0.2:1"), (3, "127.0.0.1:3")] {
        dht.add(now, address(keys(number), text, now));
        agree(&mut dht, now);
    }
    let mut told = |ip: &str| {
        let target = Key([0; 32]);
        let Response::Nodes { contacts } = ask(&mut dht, now, &asker(9, ip), Ask::FindNode { target }) else {
            panic!("not told")
        };
        let mut zones: Vec<Zone> = contacts.iter().map(|contact| contact.zone()).collect();
        zones.sort_unstable();
        zones
    };
    assert_eq!(told("8.0.0.1"), [Zone::Public]);
    assert_eq!(told("10.0.0.9"), [Zone::Private, Zone::Public]);
    assert_eq!(told("127.0.0.1"), [Zone::Loopback]);
    assert_eq!(dht.neighbours(Zone::Public).len(), 1);
    assert_eq!(dht.neighbours(Zone::Loopback).len(), 1);
}

#[test]
fn one_network_gets_few_places() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 60);
    let before = dht.stats().contacts;
    for number in 1000..1200 {
        dht.add(now, address(keys(number), &format!("66.0.0.{}:7470", number - 999), now));
        agree(&mut dht, now);
    }
    let gained = dht.stats().contacts - before;
    assert!((1..=8).contains(&gained), "{gained} of one /24");
    let mut open = server(now, DhtConfig { defences: false, ..DhtConfig::default() });
    for number in 1000..1200 {
        open.add(now, address(keys(number), &format!("66.0.0.{}:7470", number - 999), now));
        agree(&mut open, now);
    }
    assert!(open.stats().contacts > 40, "without defences they get in");
}

#[test]
fn a_contact_that_answers_keeps_its_place_and_one_that_does_not_loses_it() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let own = Key::of_node(keys(1_000_000).0);
    let far = |number: &u32| own.distance(&Key::of_node(keys(*number).0)).shared_bits() == 0;
    let numbers: Vec<u32> = (0..).filter(far).take(K + 1).collect();
    for number in &numbers {
        dht.add(now, address(keys(*number), &somewhere(*number), now));
        agree(&mut dht, now);
    }
    let has = |dht: &Dht, number: u32| dht.table.entry(&Key::of_node(keys(number).0)).is_some();
    assert!(!has(&dht, numbers[K]), "the bucket is full of those that answer");
    // Much later the newcomer shows up again: the contact seen least recently is checked, and does not answer.
    let later = now.after(Duration::from_secs(1000));
    dht.add(later, address(keys(numbers[K]), &somewhere(numbers[K]), now));
    let Some(Output::Call { call, to, request }) = dht.poll(later) else { panic!("nobody is checked") };
    assert_eq!((to.node, request.ask), (keys(numbers[0]).0, Ask::Ping));
    dht.handle_answer(later, call, None, Err(CallFailed::Unreachable));
    agree(&mut dht, later);
    assert!(has(&dht, numbers[K]) && !has(&dht, numbers[0]));
    assert!(numbers[1..K].iter().all(|number| has(&dht, *number)));
}

#[test]
fn a_forged_contact_never_gets_in_and_its_teller_is_named() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 3);
    dht.start(now, Job::Get { key: Key([3; 32]) }).unwrap();
    let mut forged = (*address(keys(77), "9.9.9.9:1", now)).clone();
    forged.addresses = vec!["6.6.6.6:1".parse().unwrap()];
    let mut blamed = Vec::new();
    let mut asked = Vec::new();
    while let Some(output) = dht.poll(now) {
        match output {
            Output::Call { call, to, .. } => {
                asked.push(to.node);
                let contacts = vec![Arc::new(forged.clone())];
                dht.handle_answer(now, call, at(&to), Ok(Response::Found { record: None, contacts }));
            }
            Output::Misbehaved { node, why } => blamed.push((node, why)),
            Output::Done { .. } => {}
        }
    }
    assert!(!asked.contains(&keys(77).0), "it was called");
    assert!(blamed.iter().any(|(_, why)| *why == Lie::Contact), "{blamed:?}");
    assert!(blamed.iter().all(|(node, _)| asked.contains(node)));
}

#[test]
fn an_answer_cannot_bring_a_foreign_record_or_other_zones() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 3);
    let key = immutable(1).key();
    dht.start(now, Job::Get { key }).unwrap();
    let (mut outcome, mut lies, mut called) = (None, 0, Vec::new());
    while let Some(output) = dht.poll(now) {
        match output {
            Output::Call { call, to, .. } => {
                called.push(to.zone());
                let contacts = vec![address(keys(50), "10.0.0.1:1", now), address(keys(51), "127.0.0.1:1", now)];
                let record = Some(immutable(2));
                dht.handle_answer(now, call, at(&to), Ok(Response::Found { record, contacts }));
            }
            Output::Misbehaved { why: Lie::Record, .. } => lies += 1,
            Output::Misbehaved { .. } => {}
            Output::Done { outcome: done, .. } => outcome = Some(done),
        }
    }
    assert_eq!(outcome, Some(Outcome::Got(None)));
    assert_eq!(lies, 3);
    assert!(called.iter().all(|zone| *zone == Zone::Public), "{called:?}");
}

#[test]
fn an_answer_to_another_question_is_a_lie() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 1);
    dht.start(now, Job::Get { key: Key([1; 32]) }).unwrap();
    let Some(Output::Call { call, .. }) = dht.poll(now) else { panic!("nobody is asked") };
    dht.handle_answer(now, call, None, Ok(Response::Done));
    let lie = |output: &Output| matches!(output, Output::Misbehaved { why: Lie::Answer, .. });
    assert!(std::iter::from_fn(|| dht.poll(now)).any(|output| lie(&output)));
}

#[test]
fn jobs_reports_candidates_and_own_things_are_limited() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    for number in 0..200 {
        dht.add(now, address(keys(number), &somewhere(number), now));
    }
    assert_eq!(dht.stats().counts.candidates_dropped, 200 - MAX_CANDIDATES as u64 - 4);
    for number in 0..100 {
        let from = Some(address(keys(number + 1), "9.0.0.6:1", now));
        dht.handle_request(
            now,
            &asker(number, &somewhere(number)[..somewhere(number).len() - 5]),
            Request { ask: Ask::Ping, from },
        );
    }
    assert_eq!(dht.stats().counts.reports_dropped, 100 - MAX_REPORTS as u64);
    let begun =
        (0..2 * MAX_QUERIES).filter(|number| dht.start(now, Job::Get { key: immutable(*number).key() }).is_ok());
    assert!((MAX_QUERIES..=MAX_QUERIES + 3).contains(&begun.count()));

    let mut alone = Dht::new(Arc::new(keys(1)), DhtConfig::default(), [0; 32]);
    for number in 0..MAX_OWN_RECORDS + 10 {
        alone.start(now, Job::Put(immutable(number))).unwrap();
        let failed = if number < MAX_OWN_RECORDS { Failed::NoContacts } else { Failed::TooManyOwn };
        assert!(matches!(alone.poll(now), Some(Output::Done { outcome: Outcome::Failed(why), .. }) if why == failed));
    }
    assert_eq!(alone.stats().counts.own_not_kept, 10);
    let provided = (0..MAX_OWN_PROVIDED + 10).filter(|number| {
        let begun = alone.start(now, Job::Provide(immutable(*number).key())).is_ok();
        while alone.poll(now).is_some() {}
        begun
    });
    assert_eq!(provided.count(), MAX_OWN_PROVIDED);
}

#[test]
fn a_node_cut_off_from_everybody_does_not_forget_everybody() {
    let mut now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 100);
    let before = dht.stats().contacts;
    for _ in 0..600 {
        now = now.after(Duration::from_secs(20));
        dht.handle_timeout(now);
        while let Some(output) = dht.poll(now) {
            if let Output::Call { call, .. } = output {
                dht.handle_answer(now, call, None, Err(CallFailed::Unreachable));
            }
        }
    }
    assert!(dht.stats().contacts >= before - 16, "{} of {before}", dht.stats().contacts);
}

#[test]
fn a_lookup_ends_when_nobody_answers_and_timers_have_all_been_used() {
    let mut now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 30);
    let query = dht.start(now, Job::Get { key: Key([9; 32]) }).unwrap();
    let mut outcome = None;
    for _ in 0..200 {
        while let Some(output) = dht.poll(now) {
            if let Output::Done { query: done, outcome: how } = output
                && done == query
            {
                outcome = Some(how);
            }
        }
        let next = dht.next_timeout().unwrap().max(now.at);
        now = now.after(next.duration_since(now.at) + Duration::from_millis(1));
        dht.handle_timeout(now);
    }
    assert_eq!(outcome, Some(Outcome::Got(None)));
    assert_eq!(dht.stats().queries, 0, "{:?}", dht.stats());
}

#[test]
fn a_cancelled_job_says_nothing() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 5);
    let query = dht.start(now, Job::Get { key: Key([9; 32]) }).unwrap();
    dht.cancel(query);
    let said = agree(&mut dht, now);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(dht.stats().queries, 0);
}

#[test]
fn signatures_that_are_known_are_not_looked_at_again() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counting(Cheap, AtomicUsize);
    impl Keys for Counting {
        fn node(&self) -> NodeId {
            self.0.node()
        }
        fn sign(&self, message: &[u8]) -> polypeer_ipc_protocol::record::Signature {
            self.0.sign(message)
        }
        fn verify(&self, key: &NodeId, message: &[u8], signature: &polypeer_ipc_protocol::record::Signature) -> bool {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.verify(key, message, signature)
        }
    }
    let now = now();
    let counting = Arc::new(Counting(keys(1_000_000), AtomicUsize::new(0)));
    let mut dht = Dht::new(Arc::<Counting>::clone(&counting), DhtConfig::default(), [1; 32]);
    dht.set_own(now, vec![address(keys(1_000_000), "19.0.0.1:7470", now)]);
    befriend(&mut dht, now, 10);
    let before = counting.1.load(Ordering::Relaxed);
    for number in 0..10 {
        let from = Some(address(keys(number), &somewhere(number), now));
        dht.handle_request(now, &asker(number, "20.0.0.1"), Request { ask: Ask::Ping, from });
        dht.start(now, Job::Get { key: Key([9; 32]) }).unwrap();
    }
    agree(&mut dht, now);
    assert_eq!(counting.1.load(Ordering::Relaxed), before);
}

#[test]
fn moments_count_seconds_and_never_go_back() {
    assert_eq!(Moment(7).since(Moment(5)), 2);
    assert_eq!(Moment(5).since(Moment(7)), 0);
}

#[test]
fn jobs_begun_and_ended_by_the_thousand_leave_nothing_behind() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 30);
    for number in 0..5000 {
        if let Ok(query) = dht.start(now, Job::Get { key: immutable(number).key() }) {
            dht.cancel(query);
        }
        while let Some(output) = dht.poll(now) {
            if let (Output::Call { call, .. }, true) = (output, number % 2 == 0) {
                dht.handle_answer(now, call, None, Ok(Response::Found { record: None, contacts: Vec::new() }));
            }
        }
        assert!(dht.ends.len() <= 3 * MAX_QUERIES && dht.starved.len() <= MAX_QUERIES);
    }
    assert_eq!(dht.stats().queries, 0);
}
