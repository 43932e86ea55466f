//! Random operations in any order: nothing panics, and every limit holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::NodeId;
use proptest::prelude::*;

use super::world::Cheap;
use super::{name, signed};
use crate::address::AddressRecord;
use crate::dht::limits::{K, MAX_CALLS, MAX_OUTPUTS, MAX_QUERIES};
use crate::dht::{
    Ask, Asker, CallFailed, CallId, Dht, DhtConfig, Job, Key, Output, ProviderRecord, QueryId, Record, Refusal,
    Request, Response,
};
use crate::now::Now;
use crate::testing;

#[derive(Debug, Clone)]
enum Operation {
    Add(u8, u8),
    Serve(bool),
    Ask(u8, u8, Question),
    Start(u8, u8),
    Cancel(u8),
    Answer(u8, u8, u8),
    Pass(u16),
}

/// A question, made from a few small numbers so that keys and nodes repeat.
#[derive(Debug, Clone, Copy)]
enum Question {
    Ping,
    Find(u8),
    Get(u8),
    Put(u8, u8),
    Providers(u8),
    Provide(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let ask = prop_oneof![
        Just(Question::Ping),
        any::<u8>().prop_map(Question::Find),
        any::<u8>().prop_map(Question::Get),
        any::<(u8, u8)>().prop_map(|(record, sequence)| Question::Put(record, sequence)),
        any::<u8>().prop_map(Question::Providers),
        any::<u8>().prop_map(Question::Provide),
    ];
    prop_oneof![
        4 => any::<(u8, u8)>().prop_map(|(node, place)| Operation::Add(node, place)),
        1 => any::<bool>().prop_map(Operation::Serve),
        4 => (any::<u8>(), any::<u8>(), ask).prop_map(|(node, place, ask)| Operation::Ask(node, place, ask)),
        3 => any::<(u8, u8)>().prop_map(|(kind, what)| Operation::Start(kind, what)),
        1 => any::<u8>().prop_map(Operation::Cancel),
        8 => any::<(u8, u8, u8)>().prop_map(|(call, how, what)| Operation::Answer(call, how, what)),
        3 => any::<u16>().prop_map(Operation::Pass),
    ]
}

fn keys(number: u8) -> Cheap {
    Cheap(NodeId(*blake3::hash(&[number]).as_bytes()))
}

fn place(number: u8) -> SocketAddr {
    let text = match number % 4 {
        0 => format!("127.0.0.1:{}", 1 + u16::from(number)),
        1 => format!("10.0.{}.1:1", number / 64),
        2 => format!("9.0.{}.{}:1", number / 32, number),
        _ => format!("[2001:db8:{}::{number:x}]:1", number / 16),
    };
    text.parse().expect("an address")
}

fn address(node: u8, at: u8, now: Now) -> Arc<AddressRecord> {
    let mut record = AddressRecord::sign(&keys(node), vec![place(at)], u64::from(at % 3), now);
    if at.is_multiple_of(17) {
        record.sequence += 1; // forged
    }
    Arc::new(record)
}

fn key(number: u8) -> Key {
    if number.is_multiple_of(2) {
        Key::of_node(keys(number).0)
    } else {
        record(number, 1, Now { at: testing::start(), unix: 1000 }).key()
    }
}

fn record(number: u8, sequence: u8, now: Now) -> Record {
    match number % 4 {
        0 => Record::Address(address(number, sequence, now)),
        1 => Record::Immutable { name: name("a"), value: Payload(vec![number; usize::from(number) * 13].into()) },
        _ => Record::Signed(signed(keys(number), u64::from(sequence % 4), now.unix + 3600, "value")),
    }
}

struct Play {
    dht: Dht,
    now: Now,
    calls: Vec<(CallId, Request)>,
    queries: Vec<QueryId>,
}

impl Play {
    fn perform(&mut self, operation: Operation) {
        let (dht, now) = (&mut self.dht, self.now);
        match operation {
            Operation::Add(node, at) => dht.add(now, address(node, at, now)),
            Operation::Serve(on) => dht.set_own(now, if on { vec![address(0, 2, now)] } else { Vec::new() }),
            Operation::Ask(node, at, what) => {
                let ask = match what {
                    Question::Ping => Ask::Ping,
                    Question::Find(to) => Ask::FindNode { target: key(to) },
                    Question::Get(what) => Ask::Get { key: key(what) },
                    Question::Put(what, sequence) => {
                        let (record, left) = (record(what, sequence, now), 900);
                        if at % 2 == 0 { Ask::Put { record, left } } else { Ask::Pass { record, left } }
                    }
                    Question::Providers(what) => Ask::Providers { key: key(what) },
                    Question::Provide(what) => {
                        let address = address(node, at, now);
                        Ask::Provide { provider: ProviderRecord::sign(&keys(node), key(what), now.unix + 900, address) }
                    }
                };
                let from = (at % 3 == 0).then(|| address(node, at, now));
                let asker = Asker { node: keys(node).0, ip: place(at).ip() };
                let response = dht.handle_request(now, &asker, Request { ask, from });
                let told = match &response {
                    Response::Nodes { contacts }
                    | Response::Found { contacts, .. }
                    | Response::Providers { contacts, .. } => contacts.as_slice(),
                    _ => &[],
                };
                let zone = crate::address::Zone::of(asker.ip);
                assert!(told.len() <= K && told.iter().all(|told| told.zone().is_told_to(zone)));
                assert_eq!(Response::decode(&response.encode()).expect("what is sent can be read"), response);
            }
            Operation::Start(kind, what) => {
                let job = match kind % 6 {
                    0 => Job::Locate(keys(what).0),
                    1 => Job::Get { key: key(what) },
                    2 => Job::Put(record(what, kind, now)),
                    3 => Job::Provide(key(what)),
                    4 => Job::Unprovide(key(what)),
                    _ => Job::Providers { key: key(what), limit: usize::from(what) },
                };
                self.queries.extend(dht.start(now, job));
            }
            Operation::Cancel(which) => {
                if let Some(query) = self.queries.get(usize::from(which)) {
                    dht.cancel(*query);
                }
            }
            Operation::Answer(which, how, what) => {
                if self.calls.is_empty() {
                    return;
                }
                let (call, request) = self.calls.swap_remove(usize::from(which) % self.calls.len());
                let contacts: Vec<_> = (0..what % 21).map(|at| address(at ^ how, at.wrapping_mul(what), now)).collect();
                let answer = match how % 8 {
                    0 => Err(CallFailed::Unreachable),
                    1 => Err(CallFailed::Malformed),
                    2 => Ok(Response::Refused(if what % 2 == 0 { Refusal::NotServing } else { Refusal::Superseded })),
                    3 => Ok(Response::Nodes { contacts }),
                    _ => Ok(match request.ask {
                        Ask::FindNode { .. } => Response::Nodes { contacts },
                        Ask::Get { .. } => {
                            let record = (what % 3 != 0).then(|| record(what, how, now));
                            Response::Found { record, contacts }
                        }
                        Ask::Providers { key } => {
                            let one = |at| ProviderRecord::sign(&keys(at), key, now.unix + 60, address(at, 2, now));
                            Response::Providers { providers: (0..what % 65).map(one).collect(), contacts }
                        }
                        _ => Response::Done,
                    }),
                };
                dht.handle_answer(now, call, Some([20, what, how, 1].into()), answer);
            }
            Operation::Pass(seconds) => {
                self.now = now.after(Duration::from_millis(u64::from(seconds) * 10));
                self.dht.handle_timeout(self.now);
            }
        }
    }

    fn check(&mut self) {
        let stats = self.dht.stats();
        assert!(self.dht.outputs.len() <= MAX_OUTPUTS);
        while let Some(output) = self.dht.poll(self.now) {
            if let Output::Call { call, to, request } = output {
                assert!(to.check(&keys(0), self.now).is_ok(), "nobody is called by a forged record");
                assert_ne!(to.node, keys(0).0, "nobody calls itself");
                assert_eq!(Request::decode(&request.encode()).expect("what is sent can be read"), request);
                self.calls.push((call, request));
            }
        }
        let queues = [self.dht.ends.len(), self.dht.starved.len(), self.dht.upkeep.candidates.contacts().count()];
        assert!(queues.iter().all(|queue| *queue <= 3 * MAX_QUERIES), "{queues:?}");
        assert!(stats.calls <= MAX_CALLS + 4 && stats.queries <= MAX_QUERIES + 20, "{stats:?}");
        for entry in self.dht.table.entries() {
            assert_ne!(entry.key, Key::of_node(keys(0).0));
        }
        for bits in 0..256 {
            assert!(self.dht.table.sound(bits) <= K);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_every_limit(operations in prop::collection::vec(operation(), 1..300)) {
        let now = Now { at: testing::start(), unix: 1_700_000_000 };
        let mut play = Play {
            dht: Dht::new(Arc::new(keys(0)), DhtConfig::default(), [3; 32]),
            now,
            calls: Vec::new(),
            queries: Vec::new(),
        };
        for operation in operations {
            play.perform(operation);
            play.check();
        }
    }

    #[test]
    fn bytes_of_strangers_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), tag in 0..8_u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = tag;
        }
        for bytes in [&bytes[..], &[&[tag, 0, 0, 0][..], &bytes].concat()] {
            if let Ok(request) = Request::decode(bytes) {
                assert_eq!(request.encode(), bytes);
            }
            if let Ok(response) = Response::decode(bytes) {
                assert_eq!(response.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_bit_turned_in_a_message_breaks_nothing(bit in 0..4000_usize) {
        let now = Now { at: testing::start(), unix: 1_700_000_000 };
        let contacts = (1..4).map(|at| address(at, 2 * at, now)).collect();
        let mut bytes = Response::Found { record: Some(record(2, 1, now)), contacts }.encode();
        let bit = bit % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(response) = Response::decode(&bytes) {
            assert_eq!(response.encode(), bytes);
        }
    }
}
