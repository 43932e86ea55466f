//! The two control streams of a link: this node sends on one and receives on the other. The first frame on each is
//! `Hello`; nothing else happens on the connection before the peer's `Hello` has arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_TICKET_ADDRESSES;
use quinn::RecvStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{LinkHandler, Links, PeerLink, Stage, records};
use crate::clock;
use crate::limits::MAX_SERVING;
use crate::node::Node;
use crate::wire::{self, ControlFrame, Found};

/// How often a node tells its peers its clock: a clock that was set right soon causes no warning at others.
const CLOCK_EVERY: Duration = Duration::from_secs(600);

/// Why a control stream ended.
enum Ended {
    /// The connection is closed, or is being closed for another reason.
    Lost,
    /// The peer broke a rule.
    Misbehaved(String),
    /// The peer sent no `Hello` in time. That breaks a rule, but an honest peer on an overloaded machine does it, too.
    Silent,
}

/// Serves both control streams until the connection is closed; closes it when the peer breaks the protocol.
pub(super) async fn run(links: Arc<Links>, handler: Arc<dyn LinkHandler>, link: Arc<PeerLink>) {
    let node = &links.node;
    let ended = tokio::select! {
        ended = send(node, &*handler, &link) => ended,
        ended = receive(&links, &*handler, &link) => ended,
    };
    match ended {
        Ended::Lost => {}
        Ended::Misbehaved(reason) => link.misbehaved(node, &reason),
        Ended::Silent => link.silent(node),
    }
}

async fn send(node: &Node, handler: &dyn LinkHandler, link: &PeerLink) -> Ended {
    let Ok(mut stream) = link.connection.open_uni().await else { return Ended::Lost };
    let _ = stream.set_priority(1); // credit goes before the bytes of streams
    let mut serving_changed = handler.serving_changed();
    serving_changed.borrow_and_update();
    let mut serving = handler.serving(&link.peer);
    let mut own = handler.own_records();
    let mut clock_due = interval(CLOCK_EVERY);
    clock_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = Vec::new();
    wire::write_frame(&hello(node, link, serving.clone()), &mut out);
    records::write(link, &own.borrow_and_update(), &mut out);
    loop {
        if stream.write_all(&out).await.is_err() {
            return Ended::Lost;
        }
        out.clear();
        while out.is_empty() {
            tokio::select! {
                () = link.to_send.notified() => take_frames(link, &mut out),
                _ = clock_due.tick() => wire::write_frame(&ControlFrame::Clock { unix: clock::unix() }, &mut out),
                Ok(()) = own.changed() => records::write(link, &own.borrow_and_update(), &mut out),
                Ok(()) = serving_changed.changed() => {
                    let now = handler.serving(&link.peer);
                    if now != serving {
                        serving.clone_from(&now);
                        wire::write_frame(&ControlFrame::Serving { protocols: now }, &mut out);
                    }
                }
            }
        }
    }
}

fn hello(node: &Node, link: &PeerLink, serving: Vec<Protocol>) -> ControlFrame {
    let addresses = node.peers().map(|peers| peers.addresses_for(link.judged_ip(), link.own_ip())).unwrap_or_default();
    ControlFrame::Hello {
        version: wire::VERSION,
        agent: concat!("polypeer/", env!("CARGO_PKG_VERSION")).to_owned(),
        network: node.network.clone(),
        serving,
        addresses: addresses.iter().take(MAX_TICKET_ADDRESSES).map(SocketAddr::to_string).collect(),
    }
}

fn take_frames(link: &PeerLink, out: &mut Vec<u8>) {
    let mut state = link.state();
    if let Some(nonce) = state.pong.take() {
        wire::write_frame(&ControlFrame::Pong { nonce }, out);
    }
    let newest = state.last_ping;
    if state.pinged < newest && state.pings.contains_key(&newest) {
        wire::write_frame(&ControlFrame::Ping { nonce: newest }, out);
    }
    state.pinged = newest;
    for (stream, limit) in state.credits.drain() {
        wire::write_frame(&ControlFrame::Credit { stream, limit }, out);
    }
}

async fn receive(links: &Links, handler: &dyn LinkHandler, link: &PeerLink) -> Ended {
    let node = &*links.node;
    let mut buffer = BytesMut::new();
    let hello = timeout(node.timings.header, async {
        let mut stream = link.connection.accept_uni().await.map_err(|_| Ended::Lost)?;
        let frame = next(node, &mut stream, &mut buffer).await?;
        Ok((stream, frame))
    });
    let (mut stream, frame) = match hello.await {
        Ok(Ok(received)) => received,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::Silent,
    };
    if let Err(ended) = greet(links, handler, link, frame) {
        return ended;
    }
    loop {
        match next(node, &mut stream, &mut buffer).await {
            Ok(frame) => {
                if let Err(ended) = handle(node, handler, link, frame) {
                    return ended;
                }
            }
            Err(ended) => return ended,
        }
    }
}

/// Reads the next frame of a known kind. Unknown ones are counted and skipped.
async fn next(node: &Node, stream: &mut RecvStream, buffer: &mut BytesMut) -> Result<ControlFrame, Ended> {
    loop {
        let (found, used) = wire::read_frame(buffer).map_err(|error| Ended::Misbehaved(error.to_string()))?;
        buffer.advance(used);
        match found {
            Found::Frame(frame) => return Ok(frame),
            Found::Unknown => node.counters.peer_frames_unknown.count(),
            Found::Incomplete => match stream.read_chunk(16 << 10, true).await {
                Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
                Ok(None) => return Err(Ended::Misbehaved("the control stream ended".to_owned())),
                Err(quinn::ReadError::Reset(_)) => {
                    return Err(Ended::Misbehaved("the control stream was reset".to_owned()));
                }
                Err(_) => return Err(Ended::Lost),
            },
        }
        tokio::task::coop::consume_budget().await;
    }
}

fn greet(links: &Links, handler: &dyn LinkHandler, link: &PeerLink, frame: ControlFrame) -> Result<(), Ended> {
    let node = &links.node;
    let ControlFrame::Hello { version, agent, network, serving, addresses } = frame else {
        return Err(Ended::Misbehaved("the first frame is not Hello".to_owned()));
    };
    if network != node.network {
        node.counters.peers_other_network.count();
        tracing::info!(peer = %link.peer, ours = node.network, "the peer is of another network; closing the connection");
        link.close(ErrorCode::Refused, "it is of another network");
        return Err(Ended::Lost);
    }
    check_serving(&serving)?;
    tracing::debug!(peer = %link.peer, agent = %agent.chars().take(64).collect::<String>(), "peer is ready");
    let addresses: Vec<SocketAddr> =
        addresses.iter().take(MAX_TICKET_ADDRESSES).filter_map(|text| text.parse().ok()).collect();
    if let Ok(peers) = node.peers() {
        peers.learned(link.peer, link.judged_ip(), &addresses);
    }
    {
        let mut state = link.state();
        (state.version, state.serving) = (version, serving);
    }
    link.open_window();
    link.stage.send_replace(Stage::Ready);
    links.told_up(link.peer);
    handler.peer_up(link);
    Ok(())
}

fn check_serving(protocols: &[Protocol]) -> Result<(), Ended> {
    if protocols.len() > MAX_SERVING {
        return Err(Ended::Misbehaved(format!("{} protocols served; the limit is {MAX_SERVING}", protocols.len())));
    }
    Ok(())
}

fn handle(node: &Node, handler: &dyn LinkHandler, link: &PeerLink, frame: ControlFrame) -> Result<(), Ended> {
    match frame {
        ControlFrame::Hello { .. } => return Err(Ended::Misbehaved("a second Hello".to_owned())),
        ControlFrame::Credit { stream, limit } => {
            let credit = link.state().streams.get(&stream).cloned();
            if let Some(credit) = credit {
                credit.raise(limit); // a stream that has just ended needs no credit
            }
        }
        ControlFrame::Serving { protocols } => {
            check_serving(&protocols)?;
            link.state().serving = protocols;
        }
        ControlFrame::Ping { nonce } => {
            link.state().pong = Some(nonce);
            link.to_send.notify_one();
        }
        ControlFrame::Pong { nonce } => {
            // A peer may answer only the newest of several pings; that answers the earlier ones, too.
            let mut state = link.state();
            let answered: Vec<u64> = state.pings.keys().copied().filter(|ping| *ping <= nonce).collect();
            for ping in answered {
                if let Some(waiting) = state.pings.remove(&ping) {
                    let _ = waiting.send(());
                }
            }
        }
        ControlFrame::Clock { unix } => {
            if node.peers().is_ok_and(|peers| !peers.clock_said(link.peer, link.judged_ip(), unix)) {
                node.counters.peer_clocks_ignored.count();
            }
        }
        ControlFrame::Record { record } => {
            records::take(node, handler, link, record).map_err(|bad| Ended::Misbehaved(bad.to_string()))?;
        }
    }
    Ok(())
}
