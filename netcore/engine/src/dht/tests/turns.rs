//! Republishing over hours: every record and key has its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::one::{ask, asker, at, befriend, keys, now, server};
use super::{immutable, signed};
use crate::dht::limits::{K, PROVIDED_FOR, TOO_FAR};
use crate::dht::{Ask, Dht, DhtConfig, Job, Key, Output, Record, Refusal, Response};
use crate::now::Now;

/// What other nodes were asked to store, and how often.
#[derive(Default)]
struct Asked {
    put: BTreeMap<Key, u32>,
    provided: BTreeMap<Key, u32>,
}

/// Answers all questions of the engine without contacts; holders of a key in `newer` keep a newer record.
fn answer(dht: &mut Dht, now: Now, newer: &BTreeSet<Key>, asked: &mut Asked) {
    while let Some(output) = dht.poll(now) {
        let Output::Call { call, to, request } = output else { continue };
        let answer = match request.ask {
            Ask::FindNode { .. } => Response::Nodes { contacts: Vec::new() },
            Ask::Put { record, .. } | Ask::Pass { record, .. } => {
                *asked.put.entry(record.key()).or_default() += 1;
                let old = newer.contains(&record.key());
                if old { Response::Refused(Refusal::Superseded) } else { Response::Done }
            }
            Ask::Provide { provider } => {
                *asked.provided.entry(provider.key).or_default() += 1;
                Response::Done
            }
            _ => Response::Done,
        };
        dht.handle_answer(now, call, at(&to), Ok(answer));
    }
}

/// Lets time pass while every node answers.
fn pass(dht: &mut Dht, now: &mut Now, time: Duration, newer: &BTreeSet<Key>) -> Asked {
    let (end, mut asked) = (now.after(time), Asked::default());
    loop {
        answer(dht, *now, newer, &mut asked);
        let next = dht.next_timeout().map_or(end.at, |next| next.max(now.at));
        if next >= end.at {
            *now = end;
            return asked;
        }
        *now = now.after(next.duration_since(now.at));
        dht.handle_timeout(*now);
    }
}

#[test]
fn many_records_and_keys_are_all_put_again_although_some_never_succeed() {
    let mut now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 3);
    let start = |dht: &mut Dht, now: Now, job: Job| {
        dht.start(now, job).unwrap();
        answer(dht, now, &BTreeSet::new(), &mut Asked::default());
    };
    let (records, keys_provided) = (600, 300);
    (0..records).for_each(|number| start(&mut dht, now, Job::Put(immutable(number))));
    let provided = |number: usize| immutable(10_000 + number).key();
    (0..keys_provided).for_each(|number| start(&mut dht, now, Job::Provide(provided(number))));
    // Another machine that uses the same key has published newer records.
    let expires = now.unix + 80_000;
    let older = (1..20).map(|number| Record::Signed(signed(keys(number), 1, expires, "older")));
    let newer: BTreeSet<Key> = older.clone().map(|record| record.key()).collect();
    older.for_each(|record| start(&mut dht, now, Job::Put(record)));
    let asked = pass(&mut dht, &mut now, Duration::from_secs(PROVIDED_FOR), &newer);
    let listed = (0..keys_provided).filter(|number| asked.provided.contains_key(&provided(*number))).count();
    let put = (0..records).filter(|number| asked.put.contains_key(&immutable(*number).key())).count();
    assert_eq!((listed, put), (keys_provided, records), "before the listings end");
    assert!(
        newer.iter().all(|key| asked.put.get(key).is_none_or(|count| *count <= 4 * 3)),
        "hourly at 3 nodes, as are copies"
    );
}

#[test]
fn copies_are_put_again_by_those_closest_only_and_while_there_is_much_else() {
    let mut now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 200);
    let kept = |range: std::ops::Range<usize>| {
        let records = (0..).map(|number| immutable(20_000 + number));
        records.filter(|record| range.contains(&dht.table.closer(&record.key(), TOO_FAR))).take(20).collect::<Vec<_>>()
    };
    let (near, further) = (kept(0..K / 2), kept(K + K / 2..TOO_FAR));
    let mut taken = 0;
    for (at, record) in near.iter().chain(&further).enumerate() {
        let asker = asker(u32::try_from(at).unwrap(), &format!("8.0.{at}.1"));
        taken += usize::from(
            ask(&mut dht, now, &asker, Ask::Put { record: record.clone(), left: 80_000 }) == Response::Done,
        );
    }
    assert_eq!(taken, 40);
    let asked = pass(&mut dht, &mut now, Duration::from_secs(4200), &BTreeSet::new());
    let again = |records: &[Record]| records.iter().filter(|record| asked.put.contains_key(&record.key())).count();
    assert_eq!((again(&near), again(&further)), (20, 0));
}
