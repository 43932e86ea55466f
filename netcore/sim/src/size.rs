//! Encoded sizes of `kad/1` messages in bytes, computed without encoding them; equal to the real encoding's.

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{Ask, ProviderRecord, Record, Request, Response};

/// Bytes of an enum's tag.
const TAG: usize = 4;
/// Bytes of the length of a list or a text.
const LENGTH: usize = 8;

/// Size of an address record.
pub(crate) fn address(record: &AddressRecord) -> usize {
    let addresses: usize = record.addresses.iter().map(|address| if address.is_ipv4() { 10 } else { 22 }).sum();
    32 + LENGTH + addresses + 8 + 8 + 64
}

/// Size of a request.
pub(crate) fn request(request: &Request) -> usize {
    let ask = match &request.ask {
        Ask::Ping => 0,
        Ask::FindNode { .. } | Ask::Get { .. } | Ask::Providers { .. } => 32,
        Ask::Put { record: kept, .. } | Ask::Pass { record: kept, .. } => record(kept) + 4,
        Ask::Provide { provider: listed } => provider(listed),
    };
    TAG + ask + 1 + request.from.as_ref().map_or(0, |from| address(from))
}

/// Size of a response.
pub(crate) fn response(response: &Response) -> usize {
    let nodes =
        |contacts: &[_]| LENGTH + contacts.iter().map(|contact: &std::sync::Arc<_>| address(contact)).sum::<usize>();
    TAG + match response {
        Response::Done => 0,
        Response::Refused(_) => TAG,
        Response::Nodes { contacts } => nodes(contacts),
        Response::Found { record: found, contacts } => 1 + found.as_ref().map_or(0, record) + nodes(contacts),
        Response::Providers { providers, contacts } => {
            LENGTH + providers.iter().map(provider).sum::<usize>() + nodes(contacts)
        }
    }
}

fn record(record: &Record) -> usize {
    TAG + match record {
        Record::Immutable { name, value } => LENGTH + name.as_str().len() + LENGTH + value.0.len(),
        Record::Signed(signed) => 32 + LENGTH + signed.name.as_str().len() + 8 + 8 + LENGTH + signed.value.0.len() + 64,
        Record::Address(own) => address(own),
    }
}

fn provider(provider: &ProviderRecord) -> usize {
    32 + 8 + address(&provider.address) + 64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use polypeer_engine::dht::Key;
    use polypeer_engine::now::Now;
    use polypeer_ipc_protocol::ids::NodeId;

    use super::*;
    use crate::keys::SimKeys;

    #[test]
    fn sizes_are_those_of_the_real_encoding() {
        let keys = SimKeys::new(NodeId([1; 32]));
        let now = Now { at: std::time::Instant::now(), unix: 1_800_000_000 };
        let addresses = vec!["93.1.2.3:7470".parse().expect("one"), "[2001:db8::1]:7470".parse().expect("one")];
        let own = Arc::new(AddressRecord::sign(&keys, addresses, 1, now));
        let name = "chat/room".parse().expect("a name");
        let kept = Record::Immutable { name, value: vec![7; 100].into() };
        let listed = ProviderRecord::sign(&keys, Key([3; 32]), now.unix + 60, Arc::clone(&own));
        let asks = [
            Ask::Ping,
            Ask::FindNode { target: Key([2; 32]) },
            Ask::Put { record: kept.clone(), left: 9 },
            Ask::Put { record: Record::Address(Arc::clone(&own)), left: 9 },
            Ask::Provide { provider: listed.clone() },
        ];
        for ask in asks {
            for from in [None, Some(Arc::clone(&own))] {
                let asked = Request { ask: ask.clone(), from };
                assert_eq!(request(&asked), asked.encode().len(), "{asked:?}");
            }
        }
        let contacts = vec![Arc::clone(&own), own];
        let responses = [
            Response::Done,
            Response::Nodes { contacts: contacts.clone() },
            Response::Found { record: Some(kept), contacts: contacts.clone() },
            Response::Found { record: None, contacts: Vec::new() },
            Response::Providers { providers: vec![listed], contacts },
        ];
        for answer in responses {
            assert_eq!(response(&answer), answer.encode().len(), "{answer:?}");
        }
    }
}
