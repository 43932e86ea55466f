//! Handshakes that are begun and never finished.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use polypeer_netcore::identity::Identity;
use quinn_proto::{Endpoint, EndpointConfig};

use crate::attacker::{LINK, client_config};
use crate::common::until;
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
        for _ in 0..BEGUN / SOURCES {
            // A packet that does not fit is lost, as on any network.
            let _ = socket.send_to(&initial(&mut endpoint, &config, to), to);
        }
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
    // Most came in; those beyond the first few are asked for proof that they are where they say, and leave nothing here.
    let asked = world.counted("handshakes_asked_for_proof", BEGUN as u64 / 2).await;
    println!("{asked} of {BEGUN} asked for proof; {rounds} rounds of honest service meanwhile");
    until("peers to be few", async || (world.node.status().await.connected < 10).then_some(())).await;
    world.is_well().await;
}
