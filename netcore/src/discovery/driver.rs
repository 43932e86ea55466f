//! Driver of discovery: asks the sources when the engine's [`schedule`] says so, and reports to the state machines
//! which peers connect and disconnect. It is one task; each question is a task of its own, at most one per source, and
//! for full nodes as many as the engine's [`exchange`] allows.
//!
//! [`schedule`]: polypeer_engine::discovery::schedule
//! [`exchange`]: polypeer_engine::discovery::exchange

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::sources::Sources;
use super::{Discovery, full, sources};
use crate::clock;
use crate::node::Phase;
use crate::peers::{PeerEvent, Peers};

/// Longest time between two polls of the state machines.
const LOOK: Duration = Duration::from_secs(60);
/// Step of the wall clock beyond the elapsed time from which on the machine must have been asleep.
const ASLEEP: Duration = Duration::from_secs(30);

/// Runs from the moment the node opens until dropped. Events of peers are received from the moment of this call.
pub(crate) fn run(discovery: Arc<Discovery>) -> impl Future<Output = ()> {
    let events = discovery.node.peers().map(Peers::events);
    async move {
        if let Ok(events) = events {
            drive(discovery, events).await;
        }
    }
}

async fn drive(discovery: Arc<Discovery>, mut events: broadcast::Receiver<PeerEvent>) {
    let node = &discovery.node;
    let Ok(peers) = node.peers() else { return };
    // Fails only when the node is gone.
    if node.phase().wait_for(|phase| *phase >= Phase::Open).await.is_err() {
        return;
    }
    discovery.has_changed();
    let mut asking = Sources::new(Arc::clone(&discovery));
    let mut asked: JoinSet<(Source, sources::Answer)> = JoinSet::new();
    let mut full: JoinSet<full::Answer> = JoinSet::new();
    let mut awake = (Instant::now(), clock::now().unix);
    loop {
        let next = step(&discovery, &mut asking, &mut asked);
        tokio::select! {
            event = events.recv() => match event {
                Ok(PeerEvent::Up(peer)) => up(&discovery, peer),
                Ok(PeerEvent::Down(peer, _)) => down(&discovery, &peer),
                Ok(PeerEvent::Full { node: peer, address, source }) => {
                    if let Some(question) = full::refused(&discovery, peer, address, source) {
                        full.spawn(question);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => catch_up(&discovery, peers),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(answer) = asked.join_next(), if !asked.is_empty() => match answer {
                Ok((source, answer)) => answered(&discovery, source, answer),
                // The schedule stops waiting for it after a timeout.
                Err(error) => tracing::error!(%error, "a discovery source failed"),
            },
            Some(answer) = full.join_next(), if !full.is_empty() => match answer {
                Ok(answer) => full::answered(&discovery, answer),
                Err(error) => tracing::error!(%error, "asking a full node failed"),
            },
            () = discovery.renewed.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
        awake = look_at_clock(&discovery, awake);
        discovery.has_changed();
    }
}

/// Asks the sources that are due and dials the nodes that may be dialed. Returns the time of the next step.
fn step(discovery: &Arc<Discovery>, asking: &mut Sources, asked: &mut JoinSet<(Source, sources::Answer)>) -> Instant {
    let now = clock::now();
    let latest = now.at + LOOK;
    let (mut due, mut dials) = (Vec::new(), Vec::new());
    let next = {
        let mut state = discovery.state();
        while let Some(record) = state.check.poll(now) {
            dials.push(record);
        }
        let connected = state.check.count();
        state.schedule.peers(now, connected);
        while let Some(source) = state.schedule.poll(now) {
            due.push(source);
        }
        state.schedule.next_timeout().map_or(latest, |at| at.min(latest))
    };
    for record in dials {
        sources::dial(&discovery.node, &record, Source::Exchange);
    }
    for source in due {
        tracing::debug!(source = source.name(), "looking for peers");
        let question = asking.ask(source);
        asked.spawn(async move { (source, question.await) });
    }
    next
}

fn up(discovery: &Discovery, peer: NodeId) {
    let Some((source, address)) = discovery.node.peers().ok().and_then(|peers| peers.provenance(&peer)) else { return };
    let (mut state, now) = (discovery.state(), clock::now());
    let introduction = state.introduction(now, source, address);
    state.check.connected(now, peer, address.ip(), introduction);
    state.exchange.seen(now, &peer, true);
    // A new peer can be asked for others.
    state.schedule.hasten(now, Source::Exchange);
}

fn down(discovery: &Discovery, peer: &NodeId) {
    let (mut state, now) = (discovery.state(), clock::now());
    state.check.disconnected(now, peer);
    match discovery.node.peers().is_ok_and(|peers| peers.check(peer).is_err()) {
        true => state.exchange.forget(peer), // nobody is led to a node that is blocked or banned here
        false => state.exchange.seen(now, peer, false),
    }
}

/// Resynchronises with the connected peers after events were lost.
fn catch_up(discovery: &Discovery, peers: &Peers) {
    let connected: BTreeSet<NodeId> = peers.connected().into_iter().collect();
    let gone = discovery.state().check.not_among(&connected);
    gone.iter().for_each(|peer| down(discovery, peer));
    connected.into_iter().for_each(|peer| up(discovery, peer));
}

fn answered(discovery: &Discovery, source: Source, answer: sources::Answer) {
    let sources::Answer { named, problem } = answer;
    if let Some(problem) = &problem {
        tracing::debug!(source = source.name(), problem, "looking for peers");
    }
    let mut state = discovery.state();
    match problem {
        Some(problem) if named == 0 => state.schedule.answered(clock::now(), source, Err(problem)),
        problem => {
            state.schedule.answered(clock::now(), source, Ok(named));
            // A part of the source failed.
            if problem.is_some() {
                state.schedule.problem(source, problem);
            }
        }
    }
}

/// Makes every source due after the machine slept: connections are lost, and networks may have changed.
fn look_at_clock(discovery: &Discovery, (before, unix): (Instant, u64)) -> (Instant, u64) {
    let now = clock::now();
    let passed = now.at.saturating_duration_since(before);
    if Duration::from_secs(now.unix.saturating_sub(unix)) > passed + ASLEEP {
        tracing::info!("the clock stepped forward; asking all sources again");
        discovery.state().schedule.start_over(now);
    }
    (now.at, now.unix)
}
