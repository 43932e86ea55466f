//! Ways to a connection: somebody wants one, a remembered peer is due, a node was found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::Connection;
use tokio::sync::{mpsc, oneshot};

use super::book::Source;
use super::dialer;
use super::shared::{Begun, DialMessage, Shared, Waiter, jitter, random_tag, unix_now};
use super::table::Wanted;
use crate::discovery::lan::{self, LanConfig, LanEvent};
use crate::transport::path::plain;

/// Peers dialed by ourselves (remembered, found) only while fewer than this are connected.
const ENOUGH_PEERS: usize = 128;
/// Dials under way beyond which nobody who was found is dialed: anybody on the local network can announce any number of
/// nodes. Those announced again later are.
const MAX_FOUND_DIALS: usize = 32;
/// What a running dial may be told before it looks.
const MAX_MESSAGES: usize = 16;

impl Shared {
    pub(super) fn begin(self: &Arc<Self>, node: NodeId, hints: &[SocketAddr]) -> Result<Begun, Failure> {
        let (waiter, result) = oneshot::channel();
        let connection = self.want(node, hints, Source::Ticket, Some(waiter))?;
        Ok(connection.map_or(Begun::Wait(result), Begun::Live))
    }

    /// Starts or joins a dial, unless there is a connection already.
    fn want(
        self: &Arc<Self>,
        node: NodeId,
        hints: &[SocketAddr],
        source: Source,
        waiter: Option<Waiter>,
    ) -> Result<Option<Connection>, Failure> {
        if node == self.me {
            return Err(Failure::new(ErrorCode::BadArgument, "that is this node's own id"));
        }
        let mut state = self.lock();
        if self.is_stopping() || !state.is_open {
            return Err(ErrorCode::ShuttingDown.into());
        }
        if state.book.is_blocked(&node) {
            let text = format!("{node} is blocked on this node; run: polypeer peers unblock {node}");
            return Err(Failure::new(ErrorCode::Blocked, text));
        }
        for hint in hints {
            state.book.learn(node, *hint, source);
        }
        let mut candidates = hints.to_vec();
        candidates.extend(state.book.candidates(&node));
        match state.table.want(node, waiter, random_tag()) {
            Wanted::Live(live, _) => Ok(Some(live.link.connection)),
            Wanted::Full(_) => {
                Err(Failure::new(ErrorCode::Busy, format!("{node}: too many peers, or callers waiting for one")))
            }
            Wanted::Waiting => {
                if let Some(dial) = state.dials.get(&node).filter(|_| !hints.is_empty()) {
                    dial.try_send(DialMessage::More(hints.to_vec())).ok();
                }
                Ok(None)
            }
            Wanted::Dial => {
                let (messages, inbox) = mpsc::channel(MAX_MESSAGES);
                state.dials.insert(node, messages);
                drop(state);
                self.spawn(move |shared| dialer::dial(shared, node, candidates, inbox, source));
                Ok(None)
            }
        }
    }

    /// A dial is over: tells those who still wait, and plans the next one if the peer is remembered.
    pub(super) fn dial_ended(&self, node: &NodeId, result: Result<(), Failure>) {
        let mut state = self.lock();
        state.dials.remove(node);
        let connection = state.table.live(node).map(|live| live.link.connection.clone());
        let waiters = state.table.dial_ended(node);
        if connection.is_none() {
            state.redial.failed(node, Instant::now(), jitter());
        }
        drop(state);
        self.redial_changed.notify_one();
        let failure = result.err().unwrap_or_else(|| ErrorCode::ConnectionLost.into());
        for waiter in waiters {
            waiter.send(connection.clone().ok_or_else(|| failure.clone())).ok();
        }
    }

    pub(super) fn still_dialing(&self, node: &NodeId) -> Failure {
        let lines = self.lock().traces.lines(node, unix_now());
        let latest = lines.last().map(|line| format!("; latest attempt: {line}")).unwrap_or_default();
        Failure::new(ErrorCode::TimedOut, format!("{node} did not answer in time{latest}"))
    }

    pub(super) async fn redial_all(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let (due, next) = {
                let mut state = self.lock();
                let enough = state.table.connected().count() >= ENOUGH_PEERS;
                let due = if enough { None } else { state.redial.poll(now) };
                let next = if enough { Some(now + Duration::from_secs(60)) } else { state.redial.next() };
                (due, next)
            };
            if let Some(node) = due {
                match self.want(node, &[], Source::Remembered, None) {
                    Ok(None) => {}
                    Ok(Some(_)) => self.lock().redial.remove(&node),
                    Err(_) => self.lock().redial.failed(&node, now, jitter()),
                }
                continue;
            }
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.redial_changed.notified() => {}
            }
        }
    }

    /// Looks for nodes on the local network; each one found is dialed to see whether it is true.
    pub(super) async fn look_around(self: Arc<Self>) {
        let bound = self.transport.local_addresses();
        let config = LanConfig { node: self.me, network: self.config.network.clone(), bound };
        let report = |event| match event {
            LanEvent::Found(node, addresses) => self.found(node, &addresses, Source::Lan),
            LanEvent::Problem(problem) => {
                tracing::warn!(problem, "local network discovery");
                self.lock().lan_problem = Some(problem);
            }
            LanEvent::Working => self.lock().lan_problem = None,
        };
        lan::run(config, report).await;
    }

    /// A node was found, which may be wrong: dials it to see, unless enough peers are connected.
    pub(super) fn found(self: &Arc<Self>, node: NodeId, addresses: &[SocketAddr], source: Source) {
        let usable: Vec<_> = addresses.iter().copied().filter(|address| self.transport.reaches(*address)).collect();
        let dial = {
            let mut state = self.lock();
            let mut new = false;
            for address in &usable {
                new |= state.book.learn(node, *address, source);
            }
            // It was faster than its announcement, which is thereby verified.
            if new && state.table.live(&node).is_some() {
                state.note_found(source);
            }
            state.table.live(&node).is_none()
                && state.dials.len() < MAX_FOUND_DIALS
                && state.table.connected().count() < ENOUGH_PEERS
        };
        if dial
            && !usable.is_empty()
            && let Err(error) = self.want(node, &usable, source, None)
        {
            tracing::debug!(%node, %error, "not dialing a node that was found");
        }
    }

    pub(super) fn learned(&self, node: NodeId, addresses: &[SocketAddr]) {
        let mut state = self.lock();
        let live = state.table.live(&node).map(|live| live.link.connection.remote_address());
        let local = live.is_some_and(|address| plain(address).ip().is_loopback());
        let mut changed = false;
        for address in addresses.iter().filter(|address| local || !address.ip().is_loopback()) {
            changed |= state.book.learn(node, *address, Source::Peer);
        }
        if changed && let Some(entry) = state.book.get(&node).filter(|entry| entry.remembered) {
            self.store.put(node, entry.clone());
        }
    }
}
