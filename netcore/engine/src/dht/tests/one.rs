//! One node and the nodes around it, for tests that play all of the latter.

use std::net::IpAddr;
use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;

use super::world::Cheap;
use crate::address::AddressRecord;
use crate::dht::{Ask, Asker, Dht, DhtConfig, Key, Output, ProviderRecord, Request, Response};
use crate::now::Now;
use crate::testing;

pub(super) fn now() -> Now {
    Now { at: testing::start(), unix: 1_700_000_000 }
}

pub(super) fn keys(number: u32) -> Cheap {
    Cheap(NodeId(*blake3::hash(&number.to_le_bytes()).as_bytes()))
}

pub(super) fn address(keys: Cheap, text: &str, now: Now) -> Arc<AddressRecord> {
    Arc::new(AddressRecord::sign(&keys, vec![text.parse().unwrap()], 1, now))
}

/// A public address in a subnet of its own.
pub(super) fn somewhere(number: u32) -> String {
    format!("{}.{}.{}.1:7470", 20 + number / 65_536, number / 256 % 256, number % 256)
}

/// A node that serves, at a public address.
pub(super) fn server(now: Now, config: DhtConfig) -> Dht {
    let own = keys(1_000_000);
    let mut dht = Dht::new(Arc::new(own), config, [1; 32]);
    dht.set_own(now, vec![address(own, "19.0.0.1:7470", now)]);
    dht
}

pub(super) fn asker(number: u32, ip: &str) -> Asker {
    Asker { node: keys(number).0, ip: ip.parse().unwrap() }
}

pub(super) fn ask(dht: &mut Dht, now: Now, asker: &Asker, ask: Ask) -> Response {
    dht.handle_request(now, asker, Request { ask, from: None })
}

/// The address that a node's packets come from if it is where its record says.
#[allow(clippy::unnecessary_wraps, reason = "what a call's end takes")]
pub(super) fn at(record: &AddressRecord) -> Option<IpAddr> {
    Some(record.addresses[0].ip())
}

/// Lets each contact answer all its questions with [`Response::Done`], until there are none.
pub(super) fn agree(dht: &mut Dht, now: Now) -> Vec<Output> {
    let mut others = Vec::new();
    while let Some(output) = dht.poll(now) {
        match output {
            Output::Call { call, to, request } => {
                let answer = match request.ask {
                    Ask::FindNode { .. } => Response::Nodes { contacts: Vec::new() },
                    Ask::Get { .. } => Response::Found { record: None, contacts: Vec::new() },
                    Ask::Providers { .. } => Response::Providers { providers: Vec::new(), contacts: Vec::new() },
                    Ask::Ping | Ask::Put { .. } | Ask::Pass { .. } | Ask::Provide { .. } => Response::Done,
                };
                dht.handle_answer(now, call, at(&to), Ok(answer));
            }
            other => others.push(other),
        }
    }
    others
}

/// Makes contacts of this many nodes, each in a subnet of its own.
pub(super) fn befriend(dht: &mut Dht, now: Now, count: u32) {
    for number in 0..count {
        dht.add(now, address(keys(number), &somewhere(number), now));
        agree(dht, now);
    }
}

pub(super) fn provider(number: u32, key: Key, text: &str, now: Now) -> ProviderRecord {
    ProviderRecord::sign(&keys(number), key, now.unix + 600, address(keys(number), text, now))
}
