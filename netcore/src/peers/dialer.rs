//! One dial: it makes the attempts of a [`polypeer_engine::peers::plan`], keeps the first connection that passes the
//! tie-break, and aborts the other attempts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::plan::{ATTEMPT, Plan, Step};
use polypeer_engine::peers::trace::{Attempt, Outcome, failure};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::state::{DialMessage, Shared};
use super::tie_break::{LIMIT, Side};
use crate::clock;
use crate::transport::Connection;

struct Answer {
    address: SocketAddr,
    started: Instant,
    result: Result<Connection, DialError>,
}

/// Runs a dial and reports its end. `candidates` are addresses, best first.
pub(super) async fn dial(
    shared: Arc<Shared>,
    node: NodeId,
    candidates: Vec<SocketAddr>,
    inbox: mpsc::Receiver<DialMessage>,
    source: Source,
) {
    let result = attempt_all(&shared, node, candidates, inbox, source).await;
    shared.dial_ended(&node, result);
}

async fn attempt_all(
    shared: &Arc<Shared>,
    node: NodeId,
    candidates: Vec<SocketAddr>,
    mut inbox: mpsc::Receiver<DialMessage>,
    source: Source,
) -> Result<(), Failure> {
    let mut attempts = Vec::new();
    if candidates.is_empty() {
        let attempt = Attempt { at: clock::unix(), took_ms: 0, address: None, outcome: Outcome::NoAddress };
        shared.lock().traces.add(node, attempt.clone());
        return Err(failure(&node, &[attempt]));
    }
    let mut plan = Plan::new(Instant::now(), &candidates);
    let mut running = JoinSet::new();
    loop {
        let wake = match plan.poll(Instant::now()) {
            Step::Start(address) => {
                running.spawn(attempt(Arc::clone(shared), node, address));
                continue;
            }
            Step::Wait(at) => at,
            Step::Idle => Instant::now() + ATTEMPT,
            Step::Exhausted => break,
        };
        tokio::select! {
            Some(answer) = running.join_next() => {
                // An attempt does not panic, and is not aborted while the set lives.
                let Ok(Answer { address, started, result }) = answer else { continue };
                let result = match result {
                    Ok(connection) => shared.settle(connection, Side::Dialer, source).await,
                    Err(error) => Err(error),
                };
                let done = record(shared, node, address, started, result, &mut attempts);
                if done {
                    return Ok(());
                }
                plan.ended(Instant::now());
            }
            message = inbox.recv() => match message {
                Some(DialMessage::More(candidates)) => plan.add(&candidates),
                Some(DialMessage::Connected) => return Ok(()),
                None => return Err(ErrorCode::ShuttingDown.into()),
            },
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
    if attempts.iter().any(|attempt| attempt.outcome == Outcome::Superseded) && connected(&mut inbox).await {
        return Ok(());
    }
    Err(failure(&node, &attempts))
}

/// Waits up to [`LIMIT`] for the connection that the peer keeps instead; returns whether it was made.
async fn connected(inbox: &mut mpsc::Receiver<DialMessage>) -> bool {
    let connected = async {
        while let Some(message) = inbox.recv().await {
            if matches!(message, DialMessage::Connected) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(LIMIT, connected).await.unwrap_or(false)
}

async fn attempt(shared: Arc<Shared>, node: NodeId, address: SocketAddr) -> Answer {
    let started = Instant::now();
    let result = tokio::time::timeout(ATTEMPT, shared.transport.dial(address, node)).await;
    Answer { address, started, result: result.unwrap_or(Err(DialError::NoAnswer)) }
}

/// Adds an attempt to the trace and to `attempts`; returns whether it made the connection.
fn record(
    shared: &Shared,
    node: NodeId,
    address: SocketAddr,
    started: Instant,
    result: Result<(), DialError>,
    attempts: &mut Vec<Attempt>,
) -> bool {
    let superseded = DialError::Refused { code: ErrorCode::Superseded.number().into() };
    let outcome = match result {
        Ok(()) => Outcome::Connected,
        Err(error) if error == superseded => Outcome::Superseded,
        Err(error) => Outcome::Failed(error),
    };
    let took: Duration = started.elapsed();
    let attempt = Attempt { at: clock::unix(), took_ms: took.as_millis() as u64, address: Some(address), outcome };
    let mut state = shared.lock();
    if let Outcome::Failed(DialError::OtherNode(_)) = attempt.outcome {
        state.manager.book_mut().is_elsewhere(&node, address);
    }
    state.traces.add(node, attempt.clone());
    drop(state);
    attempts.push(attempt);
    attempts.last().is_some_and(|attempt| attempt.outcome == Outcome::Connected)
}
