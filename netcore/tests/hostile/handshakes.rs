//! Handshakes that are begun and never finished.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use polypeer_netcore::identity::Identity;
use quinn_proto::{DatagramEvent, Endpoint, EndpointConfig};

use crate::attacker::{LINK, client_config};
use crate::common::{DEADLINE, until};
use crate::world::World;

/// Handshakes begun.
const BEGUN: usize = 10_000;
/// Sockets they are begun from.
const SOURCES: usize = 250;

/// The first packet of a handshake, each with another connection id.
fn initial(endpoint: &mut Endpoint, config: &quinn::ClientConfig, to: SocketAddr) -> Vec<u8> {
    let now = Instant::now();
    let (_, mut connection) = endpoint.connect(now, config.clone(), to, "peer.invalid").unwrap();
    let mut packet = Vec::new();
    let transmit = connection.poll_transmit(now, 1, &mut packet).unwrap();
    packet.truncate(transmit.size);
    packet
}

fn half_open(to: SocketAddr) {
    let seed = [5; 32];
    let config = client_config(&seed, Identity::from_seed(seed).node(), LINK);
    for _ in 0..SOURCES {
        // An endpoint keeps what it began, so a fresh one for each source.
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        for _ in 0..BEGUN / SOURCES {
            socket.send_to(&initial(&mut endpoint, &config, to), to).unwrap();
        }
        // Not faster than they are answered, however slow this machine is: what does not fit into the node's socket is
        // lost and no attack.
        socket.recv(&mut [0; 2048]).expect("an answer to one of them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_open_handshakes_from_many_ports() {
    let world = World::new().await;
    let to = world.ticket.addresses[0];
    let mut attack = tokio::task::spawn_blocking(move || half_open(to));
    let mut rounds = 0;
    while !attack.is_finished() {
        world.goes_on().await;
        rounds += 1;
    }
    (&mut attack).await.unwrap();
    assert!(rounds > 0);
    // Most came in; those beyond the first few are asked for proof that they are where they say, and leave nothing
    // here.
    let asked = world.counted("handshakes_asked_for_proof", BEGUN as u64 / 2).await;
    println!("{asked} of {BEGUN} asked for proof; {rounds} rounds of honest service meanwhile");
    until("peers to be few", async || (world.node.status().await.connected < 10).then_some(())).await;
    world.is_well().await;
}

/// Handshakes begun by one host that proves its address, and then says no more.
fn half_proven(to: SocketAddr, count: usize) {
    let seed = [6; 32];
    let config = client_config(&seed, Identity::from_seed(seed).node(), LINK);
    // Another host of this machine than honest peers are.
    let socket = UdpSocket::bind("127.0.0.66:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    for _ in 0..count {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (_, mut connection) = endpoint.connect(Instant::now(), config.clone(), to, "peer.invalid").unwrap();
        let mut packet = Vec::new();
        let first = connection.poll_transmit(Instant::now(), 1, &mut packet).unwrap();
        socket.send_to(&packet[..first.size], to).unwrap();
        let mut answer = vec![0; 65_536];
        // What answers an earlier one is passed over: only a Retry is of use.
        while let Ok((length, from)) = socket.recv_from(&mut answer) {
            let data = BytesMut::from(&answer[..length]);
            let is_retry = answer[0] & 0xf0 == 0xf0;
            let event = endpoint.handle(Instant::now(), from, None, None, data, &mut Vec::new());
            let Some(DatagramEvent::ConnectionEvent(_, event)) = event else { continue };
            if is_retry {
                connection.handle_event(event);
                packet.clear();
                if let Some(second) = connection.poll_transmit(Instant::now(), 1, &mut packet) {
                    socket.send_to(&packet[..second.size], to).unwrap();
                }
            }
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_that_leaves_handshakes_open_is_named_and_leaves_room_for_others() {
    let world = World::new().await;
    let to = world.ticket.addresses[0];
    let attack = tokio::task::spawn_blocking(move || half_proven(to, 400));
    while !attack.is_finished() {
        world.goes_on().await;
    }
    attack.await.unwrap();
    world.counted("refused_half_open", 1).await;
    let offenders = world.node.status().await.offenders;
    let named = offenders.iter().find(|named| named.reason.contains("unfinished")).expect("it is named");
    assert!(named.address.as_ref().is_some_and(|address| address.starts_with("127.0.0.66:")), "{named:?}");
    world.counted("handshakes_unfinished", 100).await;
    world.is_well().await;
}
