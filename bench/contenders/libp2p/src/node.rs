//! A libp2p node with one stream protocol, in a task of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control};
use tokio::sync::oneshot;

pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/1");
/// Connections without a stream stand as long as a figure takes.
const IDLE: Duration = Duration::from_secs(3600);

fn swarm(kind: &str) -> Result<Swarm<Behaviour>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    Ok(match kind {
        "quic" => builder
            .with_quic()
            .with_behaviour(|_| Behaviour::new())?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
            .build(),
        "tcp" => builder
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|_| Behaviour::new())?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
            .build(),
        other => bail!("{other} is neither quic nor tcp"),
    })
}

/// The peer that an address ends in.
pub(crate) fn peer_of(address: &Multiaddr) -> Result<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok(peer),
        _ => bail!("{address} has no peer id"),
    }
}

/// Starts a node on loopback; returns its control and address.
pub(crate) async fn listening(kind: &str) -> Result<(Control, Multiaddr)> {
    let mut swarm = swarm(kind)?;
    let any = if kind == "quic" { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    swarm.listen_on(any.parse()?)?;
    let control = swarm.behaviour().new_control();
    let peer = *swarm.local_peer_id();
    let (found, address) = oneshot::channel();
    tokio::spawn(async move {
        let mut found = Some(found);
        while let Some(event) = swarm.next().await {
            if let SwarmEvent::NewListenAddr { address, .. } = event
                && let Some(found) = found.take()
            {
                let _ = found.send(address);
            }
        }
    });
    let address = address.await.context("the node ended")?;
    Ok((control, address.with(Protocol::P2p(peer))))
}

/// Starts a node that dials all addresses; the receiver hears of it once all are connected.
pub(crate) fn dialing(kind: &str, addresses: Vec<Multiaddr>) -> Result<(Control, oneshot::Receiver<()>)> {
    let mut swarm = swarm(kind)?;
    let control = swarm.behaviour().new_control();
    let mut left = addresses.len();
    for address in addresses {
        swarm.dial(address)?;
    }
    let (done, all) = oneshot::channel();
    tokio::spawn(async move {
        let mut done = Some(done);
        while let Some(event) = swarm.next().await {
            match event {
                SwarmEvent::ConnectionEstablished { .. } => left = left.saturating_sub(1),
                SwarmEvent::OutgoingConnectionError { error, .. } => eprintln!("a dial failed: {error}"),
                _ => {}
            }
            if left == 0
                && let Some(done) = done.take()
            {
                let _ = done.send(());
            }
        }
    });
    Ok((control, all))
}
