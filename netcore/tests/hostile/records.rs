//! Records that are forged, of others, old, or said again.

use polypeer_engine::address::{AddressRecord, RECORD_LIFETIME};
use polypeer_engine::dht::{Ask, Record, Refusal, Request, Response};
use polypeer_engine::keys::Keys;
use polypeer_engine::now::Now;
use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_netcore::clock;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::wire::{ACCEPTED, ControlFrame, StreamKind};
use quinn::Connection;

use crate::attacker::{Attacker, call, control, cut_off, frame_bytes, greet, hello, misbehaved};
use crate::common::{name, until, within};
use crate::messages::nobody;
use crate::world::World;

fn record(identity: &Identity, address: &str, now: Now) -> AddressRecord {
    AddressRecord::sign(identity, vec![address.parse().unwrap()], 1, now)
}

#[tokio::test(flavor = "multi_thread")]
async fn address_records_that_are_forged_or_of_others_are_lies() {
    let world = World::new().await;
    let now = clock::now();
    let other = Identity::generate();
    type Forgery<'a> = &'a dyn Fn(&Attacker) -> AddressRecord;
    let forgeries: [(&str, Forgery<'_>); 5] = [
        ("moved after it was signed", &|attacker| AddressRecord {
            addresses: vec!["127.0.0.1:9".parse().unwrap()],
            ..record(&attacker.identity, "127.0.0.1:7470", now)
        }),
        ("made newer after it was signed", &|attacker| AddressRecord {
            sequence: 9,
            ..record(&attacker.identity, "127.0.0.1:7470", now)
        }),
        ("of another node", &|_| record(&other, "127.0.0.1:7470", now)),
        ("in the name of another", &|attacker| AddressRecord {
            node: nobody(),
            ..record(&attacker.identity, "127.0.0.1:7470", now)
        }),
        ("nowhere", &|attacker| record(&attacker.identity, "127.0.0.1:0", now)),
    ];
    for (name, forge) in forgeries {
        let attacker = Attacker::new();
        let connection = attacker.link(&world.ticket).await;
        let frame = ControlFrame::Record { record: forge(&attacker) };
        let _control = control(&connection, &frame_bytes(&[hello(), frame])).await;
        assert_eq!(cut_off(&connection).await, misbehaved(), "{name}");
        world.named(attacker.node()).await;
    }
    // It may be seen elsewhere than it sees itself: that is useless, and no lie.
    let elsewhere = Attacker::new();
    let connection = elsewhere.link(&world.ticket).await;
    let frame = ControlFrame::Record { record: record(&elsewhere.identity, "10.0.0.1:7470", now) };
    let _control = control(&connection, &frame_bytes(&[hello(), frame])).await;
    world.counted("peer_records_dropped", 1).await;
    let answer = call(&connection, StreamKind::Call, "honest/1", b"hi").await.expect("an answer");
    assert_eq!(answer, [&[ACCEPTED], b"hi".as_slice()].concat());
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_said_again_and_again_or_long_ago_are_dropped_and_counted() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let mut stream = greet(&connection).await;
    let now = clock::now();
    let old = Now { unix: now.unix - RECORD_LIFETIME - 100, ..now };
    let old = ControlFrame::Record { record: record(&attacker.identity, "127.0.0.1:7470", old) };
    stream.write_all(&frame_bytes(&[old])).await.unwrap();
    world.counted("peer_records_dropped", 1).await;
    let same =
        frame_bytes(&vec![ControlFrame::Record { record: record(&attacker.identity, "127.0.0.1:7471", now) }; 500]);
    stream.write_all(&same).await.unwrap();
    world.counted("peer_records_dropped", 400).await;
    assert!(connection.close_reason().is_none(), "it is a nuisance and no lie");
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_a_key_it_does_not_have_is_not_let_in() {
    let world = World::new().await;
    for claimed in [nobody(), Identity::generate().node(), world.ticket.node] {
        let attacker = Attacker::pretending(claimed);
        // The client's side of the handshake is over before the node has looked at its key.
        if let Ok(connection) = attacker.dial(&world.ticket).await {
            let reason = within("the end of the connection", connection.closed()).await;
            assert!(matches!(reason, quinn::ConnectionError::ConnectionClosed(_)), "{reason}");
        }
        assert!(world.node.status().await.connected <= 2, "the honest one, and a newcomer that is going");
    }
    world.counted("handshakes_failed", 3).await;
    let named = world.node.status().await.offenders.into_iter().find(|named| named.reason.contains("handshake"));
    assert!(named.is_some_and(|named| named.node.is_none() && named.address.is_some() && named.count >= 3));
    world.is_well().await;
}

/// Asks the node's hash table.
async fn ask(connection: &Connection, ask: Ask) -> Option<Response> {
    let payload = Request { ask, from: None }.encode();
    let answer = within("an answer", call(connection, StreamKind::Internal, "kad/1", &payload)).await?;
    let (status, body) = answer.split_first()?;
    (*status == ACCEPTED).then(|| Response::decode(body).expect("it answers rightly"))
}

fn signed(owner: &Identity, sequence: u64, text: &str) -> SignedRecord {
    let mut record = SignedRecord {
        key: owner.node(),
        name: name("hostile/record"),
        sequence,
        expires: clock::now().unix + 3600,
        value: Payload(text.as_bytes().to_vec().into()),
        signature: Signature([0; 64]),
    };
    record.signature = Keys::sign(owner, &record.signed_bytes());
    record
}

fn put(record: SignedRecord) -> Ask {
    Ask::Put { record: Record::Signed(record), left: 600 }
}

/// An attacker on a link, once the node's hash table serves.
async fn on_a_link(world: &World) -> (Attacker, Connection, quinn::SendStream) {
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let control = greet(&connection).await;
    let serves = async || match ask(&connection, Ask::Ping).await {
        Some(Response::Done) => Some(()),
        _ => None,
    };
    until("the hash table to serve", serves).await;
    (attacker, connection, control)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_hash_table_that_are_forged_are_refused_and_their_teller_is_cut_off() {
    let world = World::new().await;
    let owner = Identity::generate();
    let (attacker, connection, _control) = on_a_link(&world).await;
    let good = signed(&owner, 5, "the owner's");
    let forged = SignedRecord { value: Payload(b"somebody else's".to_vec().into()), ..good.clone() };
    assert_eq!(ask(&connection, put(forged.clone())).await, Some(Response::Refused(Refusal::Invalid)));
    world.named(attacker.node()).await;
    // Once may be a mistake.
    let _ = ask(&connection, put(SignedRecord { sequence: 6, ..forged })).await;
    assert_eq!(cut_off(&connection).await, misbehaved());
    world.counted("dht_lies", 2).await;
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_hash_table_that_are_played_again_do_not_replace_newer_ones() {
    let world = World::new().await;
    let owner = Identity::generate();
    let (_attacker, connection, _control) = on_a_link(&world).await;
    let (old, new) = (signed(&owner, 1, "old"), signed(&owner, 2, "new"));
    let key = Record::Signed(new.clone()).key();
    assert_eq!(ask(&connection, put(old.clone())).await, Some(Response::Done));
    assert_eq!(ask(&connection, put(new.clone())).await, Some(Response::Done));
    for _ in 0..20 {
        assert_eq!(ask(&connection, put(old.clone())).await, Some(Response::Refused(Refusal::Superseded)));
    }
    match ask(&connection, Ask::Get { key }).await {
        Some(Response::Found { record: Some(Record::Signed(found)), .. }) => assert_eq!(found, new),
        other => panic!("{other:?}"),
    }
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_tells_of_others_what_they_never_signed_is_cut_off() {
    let world = World::new().await;
    let attacker = Attacker::new();
    let connection = attacker.link(&world.ticket).await;
    let _control = greet(&connection).await;
    let now = clock::now();
    let forged: Vec<AddressRecord> = (0..20)
        .map(|number| AddressRecord {
            node: nobody(),
            sequence: number,
            ..record(&attacker.identity, "127.0.0.1:9", now)
        })
        .collect();
    let mut reply = vec![ACCEPTED];
    codec::encode(&forged, &mut reply).unwrap();
    // The node asks whom it is connected to, sooner or later; everything it asks is answered so.
    let lying = async {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let _ = recv.read_to_end(70_000).await;
            let _ = send.write_all(&reply).await;
            let _ = send.finish();
        }
    };
    within("the end of the lies", lying).await;
    assert_eq!(cut_off(&connection).await, misbehaved());
    let named = world.named(attacker.node()).await;
    assert!(named.count >= 2, "{named:?}");
    world.counted("exchange_lies", 2).await;
    // Nobody was dialed for it.
    assert!(world.node.status().await.known <= 4);
    world.is_well().await;
}
