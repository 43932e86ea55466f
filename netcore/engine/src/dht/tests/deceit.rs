//! Lies that do no harm: records of a wrong time or zone, claimed subnets, answers without value.

use std::sync::Arc;
use std::time::Duration;

use super::name;
use super::one::{address, agree, ask, asker, at, befriend, keys, now, provider, server, somewhere};
use crate::address::{AddressRecord, CLOCK_SKEW, RECORD_LIFETIME};
use crate::dht::contact::Contact;
use crate::dht::limits::{DEPTH_GET, K, MAX_PROVIDERS_OF_KEY, PROVIDERS_PER_SUBNET, QUORUM};
use crate::dht::lookup::{Lookup, Plan, Step};
use crate::dht::{Ask, Dht, DhtConfig, Job, Key, Outcome, Output, ProviderRecord, Record, Refusal, Response};
use crate::now::Now;

fn signed_at(number: u32, unix: u64, now: Now) -> Arc<AddressRecord> {
    address(keys(number), &somewhere(number), Now { unix, ..now })
}

/// Lets `answer` make the answer to the n-th question; returns the outcome of the job and the number of lies reported.
fn answered(dht: &mut Dht, now: Now, mut answer: impl FnMut(usize) -> Response) -> (Option<Outcome>, usize) {
    let (mut asked, mut lies, mut outcome) = (0, 0, None);
    while let Some(output) = dht.poll(now) {
        match output {
            Output::Call { call, to, .. } => {
                dht.handle_answer(now, call, at(&to), Ok(answer(asked)));
                asked += 1;
            }
            Output::Misbehaved { .. } => lies += 1,
            Output::Done { outcome: done, .. } => outcome = Some(done),
        }
    }
    (outcome, lies)
}

#[test]
fn a_record_nobody_could_dial_is_dropped_before_anything_is_decided_about_it() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let many = (0..9).map(|net| ([9, 0, net, 1], 1).into()).collect();
    dht.add(now, Arc::new(AddressRecord::sign(&keys(1), many, 1, now)));
    dht.add(now, signed_at(2, now.unix + CLOCK_SKEW + 1, now));
    dht.add(now, signed_at(3, now.unix - RECORD_LIFETIME - 1, now));
    assert!(agree(&mut dht, now).is_empty());
    let stats = dht.stats();
    assert_eq!((stats.contacts, stats.counts.implausible), (0, 3));
}

#[test]
fn who_tells_of_a_record_that_is_early_here_is_no_liar() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 3);
    dht.start(now, Job::Get { key: Key([3; 32]) }).unwrap();
    // Valid by a clock that is a second ahead of this node's.
    let early = signed_at(77, now.unix + CLOCK_SKEW + 1, now);
    let (outcome, lies) =
        answered(&mut dht, now, |_| Response::Found { record: None, contacts: vec![Arc::clone(&early)] });
    assert_eq!((outcome, lies), (Some(Outcome::Got(None)), 0));
    assert!(dht.stats().counts.implausible > 0);
    assert_eq!(dht.stats().contacts, 3);
}

#[test]
fn who_told_of_a_record_that_expired_since_is_no_liar() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 1);
    dht.start(now, Job::Get { key: Key([3; 32]) }).unwrap();
    let Some(Output::Call { call, .. }) = dht.poll(now) else { panic!("nobody is asked") };
    let contacts = [70, 71].map(|number| signed_at(number, now.unix - RECORD_LIFETIME, now)).to_vec();
    dht.handle_answer(now, call, None, Ok(Response::Found { record: None, contacts }));
    let Some(Output::Call { call, .. }) = dht.poll(now) else { panic!("the first is not asked") };
    let later = now.after(Duration::from_secs(2));
    dht.handle_answer(later, call, None, Ok(Response::Found { record: None, contacts: Vec::new() }));
    let said: Vec<Output> = std::iter::from_fn(|| dht.poll(later)).collect();
    assert!(matches!(said[..], [Output::Done { .. }]), "the other one is not asked, and nobody blamed: {said:?}");
}

#[test]
fn ids_of_one_network_that_claim_others_do_not_take_a_list_of_providers() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let key = Key::of_provided(&name("file"));
    let mut provide = |number: u32, from: &str, claimed: &str| {
        ask(&mut dht, now, &asker(number, from), Ask::Provide { provider: provider(number, key, claimed, now) })
    };
    assert_eq!(provide(1, "7.0.0.1", "7.0.0.1:1"), Response::Done, "an honest one");
    let listed = (100..164).filter(|number| provide(*number, "9.0.0.1", &somewhere(*number)) == Response::Done);
    assert_eq!(listed.count(), PROVIDERS_PER_SUBNET);
    // Claiming a subnet does not keep out the nodes that are really in it.
    for number in 200..204 {
        assert_eq!(provide(number, &format!("9.1.{number}.1"), "8.8.8.8:1"), Response::Done);
    }
    assert_eq!(provide(2, "8.8.8.9", "8.8.8.9:1"), Response::Done);
    let Response::Providers { providers, .. } = ask(&mut dht, now, &asker(5, "9.2.0.1"), Ask::Providers { key }) else {
        panic!("no list")
    };
    assert!(providers.iter().any(|listed| listed.address.node == keys(1).0));
}

#[test]
fn in_a_full_list_of_providers_the_network_that_has_most_makes_room() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    let key = Key::of_provided(&name("file"));
    let mut provide = |number: u32, from: &str| {
        let claimed = format!("{from}:1");
        ask(&mut dht, now, &asker(number, from), Ask::Provide { provider: provider(number, key, &claimed, now) })
    };
    let most = u32::try_from(MAX_PROVIDERS_OF_KEY).unwrap();
    for number in 0..most - 4 {
        assert_eq!(provide(number, &format!("8.0.{number}.1")), Response::Done);
    }
    (500..504).for_each(|number| assert_eq!(provide(number, "9.0.0.1"), Response::Done));
    assert_eq!(provide(600, "7.0.0.1"), Response::Done);
    // An entry whose node moves into a subnet counts there.
    assert_eq!(provide(504, "9.0.0.1"), Response::Done, "one of the four has left");
    assert_eq!(provide(0, "9.0.0.1"), Response::Done);
    assert_eq!(provide(1, "9.0.0.1"), Response::Refused(Refusal::Quota));
    let Response::Providers { providers, .. } = ask(&mut dht, now, &asker(5, "9.2.0.1"), Ask::Providers { key }) else {
        panic!("no list")
    };
    let has = |number: u32| providers.iter().any(|listed| listed.address.node == keys(number).0);
    assert!(has(0) && has(1) && has(600) && has(504) && !has(500));
}

#[test]
fn answers_with_worthless_providers_do_not_end_a_search() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 15);
    let key = Key::of_provided(&name("file"));
    dht.start(now, Job::Providers { key, limit: 16 }).unwrap();
    let good = provider(900, key, "7.0.0.1:1", now);
    let expired = ProviderRecord::sign(&keys(901), key, now.unix - 1, address(keys(901), "7.0.1.1:1", now));
    let elsewhere = provider(902, key, "192.168.1.1:53", now);
    let (outcome, lies) = answered(&mut dht, now, |at| {
        let providers = if at < 10 { vec![expired.clone(), elsewhere.clone()] } else { vec![good.clone()] };
        Response::Providers { providers, contacts: Vec::new() }
    });
    assert_eq!((outcome, lies), (Some(Outcome::Providers(vec![Arc::clone(&good.address)])), 0));
}

#[test]
fn only_those_closest_to_a_key_say_that_all_is_found() {
    let target = Key([5; 32]);
    let contact = |number: u32| Contact::new(address(keys(number), &somewhere(number), now()));
    let mut all: Vec<Contact> = (0..30).map(contact).collect();
    all.sort_by_key(|contact| contact.key.distance(&target));
    let mut lookup = Lookup::new(target, Plan { depth: DEPTH_GET, guarded: true }, all[K..].to_vec(), Vec::new());
    let first: Vec<Key> = all[K..].iter().map(|contact| contact.key).collect();
    assert_eq!(lookup.among_closest(first.iter()), 10, "nobody closer is known yet");
    let Step::Ask(asked) = lookup.step(&|_| Ok(())) else { panic!("nobody is asked") };
    lookup.answered(&asked.key, None, all[..K].to_vec(), &|_| Ok(()));
    assert_eq!(lookup.among_closest(first.iter()), 0);
    assert_eq!(lookup.among_closest(all[..QUORUM].iter().map(|contact| &contact.key)), QUORUM);
}

#[test]
fn what_is_private_elsewhere_is_neither_located_nor_found() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, 5);
    let victim = address(keys(800), "192.168.1.1:53", now);
    dht.start(now, Job::Locate(victim.node)).unwrap();
    let record = Some(Record::Address(Arc::clone(&victim)));
    let told = |_| Response::Found { record: record.clone(), contacts: Vec::new() };
    assert_eq!(answered(&mut dht, now, told), (Some(Outcome::Located(None)), 0));
    dht.start(now, Job::Get { key: Key::of_node(victim.node) }).unwrap();
    assert_eq!(answered(&mut dht, now, told), (Some(Outcome::Got(None)), 0));
    assert!(dht.stats().counts.implausible >= 10);
}

/// Contacts sorted by distance from a key, each in a subnet of its own.
fn around(target: &Key, count: u32) -> Vec<Contact> {
    let contact = |number: u32| Contact::new(address(keys(number), &somewhere(number), now()));
    let mut all: Vec<Contact> = (0..count).map(contact).collect();
    all.sort_by_key(|contact| contact.key.distance(target));
    all
}

/// Runs a lookup to its end and returns the nodes asked. `answer` gives the contacts that each returns, or `None` to
/// fail.
fn walk(lookup: &mut Lookup, mut answer: impl FnMut(&Contact) -> Option<Vec<Contact>>) -> Vec<Key> {
    let mut asked = Vec::new();
    while let Step::Ask(contact) = lookup.step(&|_| Ok(())) {
        asked.push(contact.key);
        match answer(&contact) {
            Some(contacts) => lookup.answered(&contact.key, None, contacts, &|_| Ok(())),
            None => lookup.failed(&contact.key),
        }
    }
    asked
}

#[test]
fn one_path_of_three_begins_near_and_two_at_those_met_otherwise() {
    let target = Key([5; 32]);
    let all = around(&target, 60);
    let plan = Plan { depth: 8, guarded: true };
    let first = |near: &[Contact], far: &[Contact]| {
        let mut lookup = Lookup::new(target, plan, near.to_vec(), far.to_vec());
        let asked = (0..3).map(|_| match lookup.step(&|_| Ok(())) {
            Step::Ask(contact) => all.iter().position(|known| known.key == contact.key),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(first(&all[..20], &all[50..]), [Some(0), Some(50), Some(51)]);
    assert_eq!(first(&all[..20], &all[10..12]), [Some(0), Some(1), Some(2)], "they are near, so no others");
    assert_eq!(first(&all[..20], &all[50..51]), [Some(0), Some(1), Some(50)], "no path is left without any");
    assert_eq!(first(&all[..20], &[]), [Some(0), Some(1), Some(2)]);
    assert_eq!(first(&[], &all[50..]), [Some(50), Some(51), Some(52)]);
}

#[test]
fn a_liar_does_not_shut_networks_out_by_claiming_them() {
    let target = Key([5; 32]);
    let all = around(&target, 60);
    let (holders, liar, relay) = (&all[..5], &all[5], &all[6]);
    // Two nodes claim each holder's subnet, too far from the key to be asked.
    let forged: Vec<Contact> = (0..10)
        .map(|at| {
            let mut record = (*all[40 + at].record).clone();
            record.addresses = holders[at % 5].record.addresses.clone();
            let ip = beside(record.addresses[0].ip(), u8::try_from(at).unwrap());
            record.addresses[0].set_ip(ip);
            Contact { key: all[40 + at].key, record: Arc::new(record) }
        })
        .collect();
    let seeds = [liar, &all[7], &all[8], relay].map(Contact::clone).to_vec();
    let mut lookup = Lookup::new(target, Plan { depth: 8, guarded: true }, seeds, Vec::new());
    let asked = walk(&mut lookup, |contact| {
        Some(match contact.key {
            key if key == liar.key => forged.clone(),
            key if key == relay.key => holders.to_vec(),
            _ => Vec::new(),
        })
    });
    assert!(holders.iter().all(|holder| asked.contains(&holder.key)), "{} were asked", asked.len());
}

/// Another address in the same subnet.
fn beside(ip: std::net::IpAddr, more: u8) -> std::net::IpAddr {
    let std::net::IpAddr::V4(v4) = ip else { return ip };
    let [a, b, c, _] = v4.octets();
    [a, b, c, 100 + more].into()
}

#[test]
fn a_path_asks_few_of_a_network_and_others_where_those_are_not_there() {
    let target = Key([5; 32]);
    let neighbours =
        (0..12).map(|host| Contact::new(address(keys(host), &format!("9.0.0.{host}:1"), now()))).collect::<Vec<_>>();
    let plan = Plan { depth: DEPTH_GET, guarded: true };
    let mut lookup = Lookup::new(target, plan, neighbours.clone(), Vec::new());
    assert_eq!(walk(&mut lookup, |_| Some(Vec::new())).len(), 6, "two on each of three paths");
    assert_eq!(lookup.closest(K).len(), 2);
    let mut lookup = Lookup::new(target, plan, neighbours, Vec::new());
    assert_eq!(walk(&mut lookup, |_| None).len(), 12, "who is not there takes nobody's place");
}

#[test]
fn who_has_answered_is_not_shut_out_by_who_claims_its_network() {
    let target = Key([5; 32]);
    let all = around(&target, 30);
    let mut claims = all[..2].to_vec();
    for (at, claim) in claims.iter_mut().enumerate() {
        let mut record = (*claim.record).clone();
        record.addresses = vec![(beside(all[20].record.addresses[0].ip(), u8::try_from(at).unwrap()), 1).into()];
        claim.record = Arc::new(record);
    }
    let mut lookup = Lookup::new(target, Plan { depth: 1, guarded: true }, vec![all[20].clone()], Vec::new());
    let Step::Ask(first) = lookup.step(&|_| Ok(())) else { panic!("nobody is asked") };
    lookup.answered(&first.key, None, claims, &|_| Ok(()));
    let closest: Vec<Key> = lookup.closest(K).iter().map(|contact| contact.key).collect();
    assert!(closest.contains(&all[20].key) && closest.len() == 2, "{} of them", closest.len());
}
