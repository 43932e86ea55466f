//! Charges for stored records: a node that stores one for itself pays, and records that are passed on have a share of
//! their own.

use std::time::Duration;

use super::one::{asker, keys, now, server};
use super::{immutable, signed};
use crate::dht::limits::{BRINGER_RECORDS, NODE_BYTES, NODE_RECORDS, PASSED_RECORDS};
use crate::dht::{Ask, Asker, Dht, DhtConfig, Record, Refusal, Request, Response};
use crate::now::Now;

const DAY: u32 = 86_400;

/// A holder, and askers that store records slowly enough for the rate limits.
struct Holder {
    dht: Dht,
    now: Now,
}

impl Holder {
    fn new() -> Self {
        let now = now();
        Self { dht: server(now, DhtConfig::default()), now }
    }

    fn ask(&mut self, asker: &Asker, ask: Ask) -> Response {
        self.now = self.now.after(Duration::from_millis(200));
        self.dht.handle_request(self.now, asker, Request { ask, from: None })
    }

    /// Stores a record as the asker's own; returns whether the holder accepted it.
    fn put(&mut self, asker: &Asker, record: Record, left: u32) -> bool {
        self.ask(asker, Ask::Put { record, left }) == Response::Done
    }

    /// Passes a record on; returns whether the holder accepted it.
    fn pass(&mut self, asker: &Asker, record: Record, left: u32) -> bool {
        self.ask(asker, Ask::Pass { record, left }) == Response::Done
    }

    /// Returns how many more immutable records, numbered from `from`, an asker may store, at most `most`.
    fn room(&mut self, asker: &Asker, from: usize, most: usize) -> usize {
        (from..from + most).take_while(|number| self.put(asker, immutable(*number), 4000)).count()
    }
}

#[test]
fn what_was_small_when_it_was_brought_pays_as_it_grows() {
    let mut holder = Holder::new();
    let (one, large) = (asker(1, "9.0.0.1"), "x".repeat(3000));
    let expires = holder.now.unix + 80_000;
    let mut put = |number: u32, sequence: u64, value: &str| {
        holder.put(&one, Record::Signed(signed(keys(number), sequence, expires, value)), DAY)
    };
    let count = u32::try_from(NODE_RECORDS).unwrap();
    assert!((0..count).all(|number| put(number, 1, "small")));
    let grown = (0..count).filter(|number| put(*number, 2, &large)).count();
    let stats = holder.dht.stats();
    assert!(grown > 100 && stats.record_bytes <= NODE_BYTES, "{grown} grown, {} bytes", stats.record_bytes);
    assert_eq!(stats.counts.refused_quota, NODE_RECORDS as u64 - grown as u64);
}

#[test]
fn what_a_node_passes_on_takes_nothing_of_what_it_may_bring_itself() {
    let mut holder = Holder::new();
    let one = asker(1, "9.0.0.1");
    let passed = (0..2 * BRINGER_RECORDS).filter(|number| holder.pass(&one, immutable(*number), 4000)).count();
    assert_eq!(passed, BRINGER_RECORDS);
    assert_eq!(holder.room(&one, 10_000, 2 * NODE_RECORDS), NODE_RECORDS);
}

#[test]
fn what_is_passed_on_by_everybody_fills_a_half() {
    let mut holder = Holder::new();
    let mut passed = 0;
    for at in 0..20 {
        let neighbour = asker(at, &format!("8.0.{at}.1"));
        let first = at as usize * 1000;
        passed +=
            (first..first + BRINGER_RECORDS).filter(|number| holder.pass(&neighbour, immutable(*number), 4000)).count();
    }
    assert_eq!(passed, PASSED_RECORDS);
    for at in 0..4 {
        let owner = asker(100 + at, &format!("9.0.{at}.1"));
        assert_eq!(holder.room(&owner, 100_000 + 1000 * at as usize, NODE_RECORDS), NODE_RECORDS);
    }
    assert_eq!(holder.dht.stats().counts.evicted, 0);
}

#[test]
fn a_newer_record_that_is_passed_on_is_charged_like_the_first() {
    let mut holder = Holder::new();
    let (owner, neighbour) = (asker(1, "9.0.0.1"), asker(2, "8.0.0.1"));
    let expires = holder.now.unix + 80_000;
    let record = |sequence| Record::Signed(signed(keys(7), sequence, expires, "value"));
    assert!(holder.put(&owner, record(1), DAY) && holder.pass(&neighbour, record(2), DAY));
    assert_eq!(holder.room(&owner, 0, NODE_RECORDS), NODE_RECORDS - 1);
    let passed = (10_000..10_000 + 2 * BRINGER_RECORDS).filter(|number| holder.pass(&neighbour, immutable(*number), 9));
    assert_eq!(passed.count(), BRINGER_RECORDS);
}

#[test]
fn an_owner_takes_over_what_was_passed_on_for_it() {
    let mut holder = Holder::new();
    let (owner, neighbour) = (asker(1, "9.0.0.1"), asker(2, "8.0.0.1"));
    let pass = |holder: &mut Holder, number: usize| holder.pass(&neighbour, immutable(number), 4000);
    assert!((0..BRINGER_RECORDS).all(|number| pass(&mut holder, number)) && !pass(&mut holder, 5000));
    assert!((0..10).all(|number| holder.put(&owner, immutable(number), 4000)));
    assert!((5000..5010).all(|number| pass(&mut holder, number)) && !pass(&mut holder, 6000));
    assert_eq!(holder.room(&owner, 10_000, NODE_RECORDS), NODE_RECORDS - 10);
    // The owner has no quota left, so its record stays charged to the node that passed it on.
    assert!(holder.put(&owner, immutable(20), 3000));
    assert!(!pass(&mut holder, 6000));
}

#[test]
fn who_makes_a_record_last_pays_for_it_from_then_on() {
    let mut holder = Holder::new();
    let (one, other) = (asker(1, "9.0.0.1"), asker(2, "8.0.0.1"));
    assert_eq!(holder.room(&one, 0, 2 * NODE_RECORDS), NODE_RECORDS);
    assert!(!holder.put(&one, immutable(5000), 4000));
    // The same record with the same lease changes nothing. With a longer one it is charged to the other asker.
    assert!(holder.put(&other, immutable(NODE_RECORDS - 1), 1000) && !holder.put(&one, immutable(5000), 4000));
    assert!((0..10).all(|number| holder.put(&other, immutable(number), DAY)));
    assert_eq!(holder.room(&one, 5000, 100), 10);
    assert_eq!(holder.room(&other, 10_000, NODE_RECORDS), NODE_RECORDS - 10);
    assert_eq!(
        holder.ask(&other, Ask::Put { record: immutable(11), left: DAY }),
        Response::Refused(Refusal::Quota),
        "it has no room for it"
    );
}
