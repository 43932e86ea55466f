//! Answers of lying nodes. They hold real keys, so their own signatures are valid; they cannot sign for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::limits::K;
use polypeer_engine::dht::{Ask, Key, Request, Response};

use crate::index::NodeIndex;

/// Address records of all attackers, by DHT key.
pub(crate) type Accomplices = BTreeMap<[u8; 32], Arc<AddressRecord>>;

/// A liar's response. Of ten liars, seven name accomplices, two name nobody, and one gives an answer to something else.
pub(crate) fn lie(liar: NodeIndex, accomplices: &Accomplices, request: &Request) -> Response {
    let contacts = |key: &Key| if liar % 10 < 7 { closest(accomplices, key) } else { Vec::new() };
    match &request.ask {
        _ if liar % 10 == 9 => Response::Done,
        Ask::Ping | Ask::Put { .. } | Ask::Pass { .. } | Ask::Provide { .. } => Response::Done,
        Ask::FindNode { target } => Response::Nodes { contacts: contacts(target) },
        Ask::Get { key } => Response::Found { record: None, contacts: contacts(key) },
        Ask::Providers { key } => Response::Providers { providers: Vec::new(), contacts: contacts(key) },
    }
}

/// Approximates the [`K`] closest accomplices to a key: of the `K` next ones in order on each side, closest first.
fn closest(accomplices: &Accomplices, key: &Key) -> Vec<Arc<AddressRecord>> {
    let above = accomplices.range(key.0..).take(K);
    let below = accomplices.range(..key.0).rev().take(K);
    let mut near: Vec<_> = above.chain(below).map(|(at, record)| (key.distance(&Key(*at)), record)).collect();
    near.sort_by_key(|(distance, _)| *distance);
    near.into_iter().take(K).map(|(_, record)| Arc::clone(record)).collect()
}
