//! What one node stores for others, for which of them, and how much.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::Payload;

use super::one::{address, agree, ask, asker, befriend, keys, now, provider, server, somewhere};
use super::{immutable, name, signed};
use crate::dht::limits::{
    MAX_PROVIDERS_OF_KEY, NODE_PROVIDED, NODE_RATE, NODE_RECORDS, PROVIDERS_PER_SUBNET, SUBNET_RECORDS, TICK,
};
use crate::dht::{Ask, Asker, Dht, DhtConfig, Key, Output, ProviderRecord, Record, Refusal, Response};
use crate::now::Now;

#[test]
fn questions_of_one_node_and_of_one_network_are_limited() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let one = asker(1, "9.0.0.1");
    let answered = (0..1000).filter(|_| ask(&mut dht, now, &one, Ask::Ping) == Response::Done).count();
    assert_eq!(answered, NODE_RATE.burst as usize);
    assert_eq!(ask(&mut dht, now, &one, Ask::Ping), Response::Refused(Refusal::Busy));
    assert_eq!(ask(&mut dht, now, &asker(2, "9.0.1.1"), Ask::Ping), Response::Done, "others are answered");
    assert_eq!(dht.stats().counts.refused_busy, 1001 - u64::from(NODE_RATE.burst));
}

/// Stores records slowly enough for the rate limits; returns how many were accepted.
fn fill(dht: &mut Dht, mut now: Now, count: usize, asker: impl Fn(usize) -> Asker) -> usize {
    let put = |number: usize| {
        now = now.after(Duration::from_secs(1));
        let (record, left) = (immutable(number), 80_000);
        ask(dht, now, &asker(number), Ask::Put { record, left }) == Response::Done
    };
    (0..count).map(put).filter(|kept| *kept).count()
}

#[test]
fn one_node_or_network_cannot_fill_another() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    assert_eq!(fill(&mut dht, now, 2 * NODE_RECORDS, |_| asker(1, "9.0.0.1")), NODE_RECORDS);
    let stats = dht.stats();
    assert_eq!((stats.records, stats.counts.refused_quota), (NODE_RECORDS, NODE_RECORDS as u64));
    let mut dht = server(now, DhtConfig::default());
    let of_one_network = |number: usize| asker(u32::try_from(number).unwrap(), "9.0.0.1");
    assert_eq!(fill(&mut dht, now, 2 * SUBNET_RECORDS, of_one_network), SUBNET_RECORDS);
    let honest = Ask::Put { record: immutable(1_000_000), left: 600 };
    assert_eq!(ask(&mut dht, now, &asker(9, "8.0.0.1"), honest), Response::Done);
}

#[test]
fn a_wrong_record_is_refused_and_its_bringer_named() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let good = signed(keys(1), 1, now.unix + 600, "value");
    let mut forged = good.clone();
    forged.value = Payload(b"other".to_vec().into());
    let mut put = |record: Record| ask(&mut dht, now, &asker(1, "9.0.0.1"), Ask::Put { record, left: 600 });
    assert_eq!(put(Record::Signed(forged)), Response::Refused(Refusal::Invalid));
    let expired = signed(keys(1), 1, now.unix - 1, "value");
    assert_eq!(put(Record::Signed(expired)), Response::Refused(Refusal::Invalid));
    let for_ever = signed(keys(1), 1, u64::MAX, "value");
    assert_eq!(put(Record::Signed(for_ever)), Response::Refused(Refusal::Invalid));
    let large = Record::Immutable { name: name("a"), value: Payload(vec![0; 3073].into()) };
    assert_eq!(put(large), Response::Refused(Refusal::Invalid));
    assert_eq!(put(Record::Signed(good.clone())), Response::Done);
    assert_eq!(put(Record::Signed(good)), Response::Done, "again");
    let lies =
        std::iter::from_fn(|| dht.poll(now)).filter(|output| matches!(output, Output::Misbehaved { .. })).count();
    assert_eq!(lies, 2, "the forged one and the one that is too large; who is late is no liar");
}

#[test]
fn holders_of_two_records_with_one_sequence_agree_on_one() {
    let now = now();
    let (one, other) = (signed(keys(1), 5, now.unix + 600, "one"), signed(keys(1), 5, now.unix + 600, "other"));
    let kept = |order: [&polypeer_ipc_protocol::record::SignedRecord; 2]| {
        let mut dht = server(now, DhtConfig::default());
        for record in order {
            ask(&mut dht, now, &asker(1, "9.0.0.1"), Ask::Put { record: Record::Signed(record.clone()), left: 600 });
        }
        let key = Record::Signed(one.clone()).key();
        ask(&mut dht, now, &asker(2, "9.0.0.2"), Ask::Get { key })
    };
    assert_eq!(kept([&one, &other]), kept([&other, &one]));
}

#[test]
fn a_key_far_away_is_not_kept() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 400);
    let now = (1..100).map(|turn| now.after(turn * TICK)).fold(now, |_, now| {
        dht.handle_timeout(now);
        agree(&mut dht, now);
        now
    });
    let own = Key::of_node(keys(1_000_000).0);
    let far = (0..).map(immutable).find(|record| own.distance(&record.key()).shared_bits() == 0).unwrap();
    let near = (0..).map(immutable).find(|record| own.distance(&record.key()).shared_bits() > 8).unwrap();
    let mut put = |record| ask(&mut dht, now, &asker(1, "9.0.0.1"), Ask::Put { record, left: 600 });
    assert_eq!(put(far), Response::Refused(Refusal::TooFar));
    assert_eq!(put(near), Response::Done);
    assert_eq!(dht.stats().counts.refused_far, 1);
}

#[test]
fn providers_bring_themselves_and_one_network_a_few() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let key = Key::of_provided(&name("file"));
    let mut provide = |number: u32, ip: &str, provider: ProviderRecord| {
        ask(&mut dht, now, &asker(number, ip), Ask::Provide { provider })
    };
    let other = provider(2, key, "9.0.0.2:1", now);
    assert_eq!(provide(1, "9.0.0.1", other), Response::Refused(Refusal::Invalid));
    let mut forged = provider(1, key, "9.0.0.1:1", now);
    forged.expires += 1;
    assert_eq!(provide(1, "9.0.0.1", forged), Response::Refused(Refusal::Invalid));
    let listed = (10..40).filter(|number| {
        let ip = format!("9.0.0.{number}");
        provide(*number, &ip, provider(*number, key, &format!("{ip}:1"), now)) == Response::Done
    });
    assert_eq!(listed.count(), PROVIDERS_PER_SUBNET);
    for number in 100..200 {
        let text = somewhere(number);
        let ip: IpAddr = text.parse::<std::net::SocketAddr>().unwrap().ip();
        assert_eq!(provide(number, &ip.to_string(), provider(number, key, &text, now)), Response::Done);
    }
    let Response::Providers { providers, .. } = ask(&mut dht, now, &asker(5, "9.1.0.1"), Ask::Providers { key }) else {
        panic!("no list")
    };
    assert_eq!(providers.len(), MAX_PROVIDERS_OF_KEY);
    assert_eq!(providers[0].address.node, keys(199).0, "who came last is first");
    assert!(dht.stats().counts.evicted > 0);
}

#[test]
fn one_node_provides_so_much_elsewhere_and_no_more() {
    let mut now = now();
    let mut dht = server(now, DhtConfig::default());
    let address = address(keys(1), "9.0.0.1:1", now);
    let listed = (0..NODE_PROVIDED as u64 + 50).filter(|number| {
        now = now.after(Duration::from_millis(500));
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let provider = ProviderRecord::sign(&keys(1), Key(key), now.unix + 80_000, Arc::clone(&address));
        ask(&mut dht, now, &asker(1, "9.0.0.1"), Ask::Provide { provider }) == Response::Done
    });
    assert_eq!(listed.count(), NODE_PROVIDED);
}
