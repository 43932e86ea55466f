//! Target for one node's DHT, among peers that send anything.

use std::net::IpAddr;
use std::sync::Arc;

use polypeer_engine::address::{AddressRecord, Zone};
use polypeer_engine::dht::{
    Ask, Asker, CallFailed, Dht, DhtConfig, Job, Key, Outcome, Output, ProviderRecord, Record, Request, Response,
};
use polypeer_engine::now::Now;
use polypeer_ipc_protocol::gateway::Payload;

use super::{drain, waits};
use crate::choices::Choices;
use crate::keys::{CheapKeys, node};
use crate::samples::{address_record, signed_record};

const NODES: usize = 48;

fn contact(choices: &mut Choices<'_>, now: Now) -> Arc<AddressRecord> {
    let number = choices.below(NODES);
    let addresses = vec![choices.address()];
    let record = address_record(number, addresses, choices.below(4) as u64, now);
    // Now and then one with a wrong signature.
    if choices.below(12) == 0 {
        Arc::new(AddressRecord { sequence: 99, ..AddressRecord::clone(&record) })
    } else {
        record
    }
}

fn contacts(choices: &mut Choices<'_>, now: Now) -> Vec<Arc<AddressRecord>> {
    (0..choices.below(6)).map(|_| contact(choices, now)).collect()
}

fn record(choices: &mut Choices<'_>, now: Now) -> Record {
    let value = choices.bytes(64);
    match choices.below(3) {
        0 => Record::Immutable { name: choices.name(), value: Payload::from(value) },
        1 => Record::Signed(signed_record(choices.below(NODES), choices.name(), choices.below(5) as u64, value, now)),
        _ => Record::Address(contact(choices, now)),
    }
}

fn key(choices: &mut Choices<'_>, now: Now) -> Key {
    match choices.below(3) {
        0 => Key::of_provided(&choices.name()),
        1 => Key::of_node(choices.node(NODES)),
        _ => record(choices, now).key(),
    }
}

fn provider(choices: &mut Choices<'_>, now: Now) -> ProviderRecord {
    let address = contact(choices, now);
    let key = Key::of_provided(&choices.name());
    ProviderRecord::sign(&CheapKeys(address.node), key, now.unix + 3600, address)
}

fn response(choices: &mut Choices<'_>, now: Now) -> Result<Response, CallFailed> {
    Ok(match choices.below(8) {
        0 => return Err(CallFailed::Unreachable),
        1 => return Err(CallFailed::Malformed),
        2 => Response::Done,
        3 | 4 => Response::Nodes { contacts: contacts(choices, now) },
        5 => Response::Found { record: choices.flag().then(|| record(choices, now)), contacts: contacts(choices, now) },
        _ => Response::Providers { providers: vec![provider(choices, now)], contacts: contacts(choices, now) },
    })
}

fn ask(choices: &mut Choices<'_>, now: Now) -> Ask {
    match choices.below(7) {
        0 => Ask::Ping,
        1 => Ask::FindNode { target: key(choices, now) },
        2 => Ask::Get { key: key(choices, now) },
        3 => Ask::Put { record: record(choices, now), left: choices.number() as u32 },
        4 => Ask::Providers { key: key(choices, now) },
        5 => Ask::Pass { record: record(choices, now), left: choices.number() as u32 },
        _ => Ask::Provide { provider: provider(choices, now) },
    }
}

fn job(choices: &mut Choices<'_>, now: Now) -> Job {
    match choices.below(7) {
        0 => Job::Locate(choices.node(NODES)),
        1 => Job::Get { key: key(choices, now) },
        2 => Job::Put(record(choices, now)),
        3 => Job::Provide(key(choices, now)),
        4 => Job::Unprovide(key(choices, now)),
        5 => Job::Look(key(choices, now)),
        _ => Job::Providers { key: key(choices, now), limit: choices.below(70) },
    }
}

/// Runs the DHT. Each request gets one answer in time or none; each job ends once; nothing unsigned is believed.
pub fn one(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let keys = CheapKeys(node(0));
    let mut dht = Dht::new(Arc::new(keys), DhtConfig::default(), choices.seed());
    let (mut calls, mut jobs) = (Vec::new(), std::collections::BTreeSet::new());
    while choices.go_on() {
        let now = choices.pass_time();
        match choices.below(9) {
            0 => {
                let own = if choices.flag() {
                    vec![address_record(0, vec!["203.0.114.1:7470".parse().expect("an address")], 1, now)]
                } else {
                    Vec::new()
                };
                dht.set_own(now, own);
            }
            1 => {
                let contact = contact(&mut choices, now);
                // The caller of this method checks the record.
                if contact.check(&keys, now).is_ok() {
                    let ip = choices.ip();
                    if choices.flag() { dht.meet(now, contact, ip) } else { dht.add(now, contact) }
                }
            }
            2 | 3 => {
                let from = choices.flag().then(|| contact(&mut choices, now));
                let asker = Asker { node: choices.node(NODES), ip: choices.ip() };
                let answer = dht.handle_request(now, &asker, Request { ask: ask(&mut choices, now), from });
                assert!(Response::decode(&answer.encode()).is_ok(), "what it answers can be read");
                check(&answer, asker.ip, now);
            }
            4 => {
                if let Ok(query) = dht.start(now, job(&mut choices, now)) {
                    assert!(jobs.insert(query), "numbers are not used twice");
                }
            }
            5 => {
                if choices.below(4) == 0
                    && let Some(query) = jobs.pop_first()
                {
                    dht.cancel(query);
                }
            }
            _ => {
                if !calls.is_empty() {
                    let at = choices.below(calls.len());
                    let call = calls.swap_remove(at);
                    let from = choices.flag().then(|| choices.ip());
                    dht.handle_answer(now, call, from, response(&mut choices, now));
                }
            }
        }
        dht.handle_timeout(now);
        drain(
            || dht.poll(now),
            |output| match output {
                Output::Call { call, to, request } => {
                    assert!(to.node != keys.0, "it asks itself");
                    assert!(Request::decode(&request.encode()).is_ok());
                    calls.push(call);
                }
                Output::Done { query, outcome } => {
                    jobs.remove(&query);
                    match outcome {
                        Outcome::Got(Some(record)) => {
                            assert_eq!(record.check(&keys, now), Ok(()), "what it found is right");
                        }
                        Outcome::Looked(near) => {
                            let right = near.iter().all(|record| record.check(&keys, now).is_ok());
                            assert!(right, "whom it found is right");
                        }
                        _ => {}
                    }
                }
                Output::Misbehaved { .. } => {}
            },
        );
        waits(dht.next_timeout(), now);
        let told = dht.neighbours(Zone::Public);
        assert!(told.len() <= dht.contacts().count(), "neighbours are contacts");
        dht.stats();
    }
}

/// Asserts that no peer is told addresses of another zone.
fn check(answer: &Response, ip: IpAddr, _now: Now) {
    if let Response::Nodes { contacts } | Response::Found { contacts, .. } | Response::Providers { contacts, .. } =
        answer
    {
        assert!(contacts.iter().all(|contact| contact.zone().is_told_to(Zone::of(ip))), "{contacts:?} told to {ip}");
    }
}
