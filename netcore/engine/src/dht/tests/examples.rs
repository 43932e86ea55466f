//! The examples of `PROTOCOL.md`, section 10: the code encodes and decodes exactly these bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::{Name, NodeId};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};

use crate::address::AddressRecord;
use crate::dht::{Ask, Key, ProviderRecord, Record, Refusal, Request, Response};

fn name() -> Name {
    "chat/news".parse().expect("a name")
}

fn node() -> NodeId {
    NodeId([0x20; 32])
}

/// The placeholder of a signature in the examples.
fn signature() -> Signature {
    Signature([0x77; 64])
}

fn address() -> Arc<AddressRecord> {
    let addresses = vec!["192.0.2.7:7470".parse().expect("an address")];
    Arc::new(AddressRecord { node: node(), addresses, sequence: 3, time: 1_700_000_000, signature: signature() })
}

fn requests() -> BTreeMap<&'static str, Request> {
    let signed = SignedRecord {
        key: node(),
        name: name(),
        sequence: 5,
        expires: 1_700_003_600,
        value: Payload(b"hi".to_vec().into()),
        signature: signature(),
    };
    let provider =
        ProviderRecord { key: Key([0x31; 32]), expires: 1_700_003_600, address: address(), signature: signature() };
    let immutable = Record::Immutable { name: name(), value: Payload(b"hi".to_vec().into()) };
    let passed = immutable.clone();
    let asks = [
        ("kad-ping", Ask::Ping, Some(address())),
        ("kad-find-node", Ask::FindNode { target: Key([0x30; 32]) }, None),
        ("kad-get", Ask::Get { key: Key([0x30; 32]) }, None),
        ("kad-put-immutable", Ask::Put { record: immutable, left: 3600 }, None),
        ("kad-put-signed", Ask::Put { record: Record::Signed(signed), left: 3600 }, None),
        ("kad-put-address", Ask::Put { record: Record::Address(address()), left: 3600 }, None),
        ("kad-find-providers", Ask::Providers { key: Key([0x31; 32]) }, None),
        ("kad-pass", Ask::Pass { record: passed, left: 1800 }, None),
        ("kad-provide", Ask::Provide { provider }, None),
    ];
    asks.into_iter().map(|(name, ask, from)| (name, Request { ask, from })).collect()
}

fn responses() -> BTreeMap<&'static str, Response> {
    let provider =
        ProviderRecord { key: Key([0x31; 32]), expires: 1_700_003_600, address: address(), signature: signature() };
    let record = Some(Record::Immutable { name: name(), value: Payload(b"hi".to_vec().into()) });
    [
        ("kad-done", Response::Done),
        ("kad-nodes", Response::Nodes { contacts: vec![address()] }),
        ("kad-found", Response::Found { record, contacts: Vec::new() }),
        ("kad-providers", Response::Providers { providers: vec![provider], contacts: Vec::new() }),
        ("kad-refused", Response::Refused(Refusal::TooFar)),
    ]
    .into_iter()
    .collect()
}

#[test]
fn examples_are_what_the_code_sends_and_takes() {
    let mut examples = crate::examples::examples();
    examples.retain(|name, _| name.starts_with("kad-"));
    let mut check = |name: &str, ours: &[u8]| {
        let example = examples.remove(name).unwrap_or_else(|| panic!("PROTOCOL.md has no example {name}"));
        assert!(example == ours, "{name}: the code has\n{ours:02x?}\nPROTOCOL.md has\n{example:02x?}");
    };
    for (name, request) in requests() {
        assert_eq!(Request::decode(&request.encode()).expect("readable"), request);
        check(name, &request.encode());
    }
    for (name, response) in responses() {
        assert_eq!(Response::decode(&response.encode()).expect("readable"), response);
        check(name, &response.encode());
    }
    let name = name();
    check("kad-key-node", &Key::of_node(node()).0);
    check("kad-key-signed", &Key::of_signed(&node(), &name).0);
    check("kad-key-immutable", &Key::of_immutable(&name, &Key::value_hash(b"hi")).0);
    check("kad-key-provided", &Key::of_provided(&name).0);
    check("kad-key-topic", &Key::of_topic(&name).0);
    assert!(examples.is_empty(), "not checked: {:?}", examples.keys());
}

#[test]
fn messages_of_later_versions_are_told_from_broken_ones() {
    use crate::dht::WireError;
    assert!(matches!(Request::decode(&[7, 0, 0, 0, 1, 2, 3]), Err(WireError::Unknown { tag: 7 })));
    assert!(matches!(Response::decode(&[5, 0, 0, 0]), Err(WireError::Unknown { tag: 5 })));
    assert!(matches!(Request::decode(&[0, 0, 0]), Err(WireError::Codec(_))), "half a tag");
    assert!(matches!(Request::decode(&[0, 0, 0, 0, 0, 9]), Err(WireError::Codec(_))), "a byte too many");
    assert!(matches!(Request::decode(&vec![0; 65_537]), Err(WireError::TooLarge { length: 65_537 })));
    let twenty_one = Response::Nodes { contacts: vec![address(); 21] };
    assert!(matches!(Response::decode(&twenty_one.encode()), Err(WireError::Codec(_))), "a contact too many");
}
