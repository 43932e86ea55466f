//! Requests for connections: by callers, by the manager, and through discovery.

use std::net::SocketAddr;
use std::sync::Arc;

use polypeer_engine::address::Zone;
use polypeer_engine::peers::manager::Refusal;
use polypeer_engine::peers::table::Wanted;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;

use tokio::sync::{mpsc, oneshot};

use super::dialer;
use super::state::{Begun, DialMessage, Shared, Waiter, random_tag};
use crate::clock;

/// Most messages queued for a dial in progress.
const MAX_MESSAGES: usize = 16;

impl Shared {
    /// Returns the connection with `node`, or a receiver for the result of its dial: at `hints`, which `source` named,
    /// and at all other known addresses.
    pub(super) fn begin(
        self: &Arc<Self>,
        node: NodeId,
        hints: &[SocketAddr],
        source: Source,
    ) -> Result<Begun, Failure> {
        if let Some(connection) = self.standing(&node, hints)? {
            return Ok(Begun::Live(connection));
        }
        let (waiter, result) = oneshot::channel();
        // A caller without an address is no source: then the source is that of the known addresses.
        let source = if hints.is_empty() { self.known_from(&node) } else { source };
        let connection = self.want(node, hints, source, Some(waiter))?;
        Ok(connection.map_or(Begun::Wait(result), Begun::Live))
    }

    /// The connection with `node`, if one stands and there are no `hints` to learn: the usual case of a call.
    fn standing(&self, node: &NodeId, hints: &[SocketAddr]) -> Result<Option<quinn::Connection>, Failure> {
        let state = self.lock();
        let Some(live) = state.table.live(node).filter(|_| hints.is_empty() && state.is_open && !self.is_stopping())
        else {
            return Ok(None);
        };
        state.manager.check(node, clock::now()).map_err(|refusal| refusal_failure(node, refusal))?;
        Ok(Some(live.connection.quic.clone()))
    }

    fn known_from(&self, node: &NodeId) -> Source {
        let state = self.lock();
        let entry = state.manager.book().get(node);
        let sources = entry.into_iter().flat_map(|entry| &entry.addresses).map(|known| known.source);
        sources.min().unwrap_or(Source::Dht)
    }

    /// Starts or joins a dial, unless there is a connection already, which it returns.
    pub(super) fn want(
        self: &Arc<Self>,
        node: NodeId,
        hints: &[SocketAddr],
        source: Source,
        waiter: Option<Waiter>,
    ) -> Result<Option<quinn::Connection>, Failure> {
        if node == self.me {
            return Err(Failure::new(ErrorCode::BadArgument, "that is this node's own id"));
        }
        let mut state = self.lock();
        if self.is_stopping() || !state.is_open {
            return Err(ErrorCode::ShuttingDown.into());
        }
        state.manager.check(&node, clock::now()).map_err(|refusal| refusal_failure(&node, refusal))?;
        for hint in hints {
            state.manager.book_mut().learn(node, *hint, source);
        }
        let mut candidates = hints.to_vec();
        candidates.extend(state.manager.book().candidates(&node));
        match state.table.want(node, waiter, random_tag()) {
            Wanted::Live(live, _) => Ok(Some(live.connection.quic)),
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
                state.manager.dialing(node);
                drop(state);
                self.spawn(move |shared| dialer::dial(shared, node, candidates, inbox, source));
                Ok(None)
            }
        }
    }

    /// Ends a dial: answers the callers that still wait, and reports to the manager, which plans the next dial.
    pub(super) fn dial_ended(&self, node: &NodeId, result: Result<(), Failure>) {
        let mut state = self.lock();
        state.dials.remove(node);
        let connection = state.table.live(node).map(|live| live.connection.quic.clone());
        let waiters = state.table.dial_ended(node);
        state.manager.dial_ended(clock::now(), node, connection.is_some());
        drop(state);
        self.manager_changed.notify_one();
        let failure = result.err().unwrap_or_else(|| ErrorCode::ConnectionLost.into());
        for waiter in waiters {
            waiter.send(connection.clone().ok_or_else(|| failure.clone())).ok();
        }
    }

    pub(super) fn still_dialing(&self, node: &NodeId) -> Failure {
        let lines = self.lock().traces.lines(node, clock::unix());
        let latest = lines.last().map(|line| format!("; latest attempt: {line}")).unwrap_or_default();
        Failure::new(ErrorCode::TimedOut, format!("{node} did not answer in time{latest}"))
    }

    /// Discovery found `node` at `addresses`, unverified; the manager decides whether and when to dial it.
    pub(super) fn found(self: &Arc<Self>, node: NodeId, addresses: &[SocketAddr], source: Source) {
        let usable: Vec<_> = addresses.iter().copied().filter(|address| self.transport.reaches(*address)).collect();
        let mut state = self.lock();
        let new = state.manager.found(clock::now(), node, &usable, source);
        // The node is connected already, which verifies its announcement.
        if new && state.table.live(&node).is_some() {
            state.note_found(source);
        }
        drop(state);
        self.manager_changed.notify_one();
    }

    pub(super) fn learned(&self, node: NodeId, addresses: &[SocketAddr], believed: impl Fn(Zone) -> bool) {
        let mut state = self.lock();
        let mut changed = false;
        for address in addresses.iter().filter(|address| believed(Zone::of(address.ip()))) {
            changed |= state.manager.book_mut().learn(node, *address, Source::Peer);
        }
        if changed && let Some(entry) = state.manager.book().get(&node).filter(|entry| entry.remembered) {
            self.store.put(node, entry.clone());
        }
    }
}

/// The error of a caller that wants a connection with `node`, which the manager refuses.
pub(super) fn refusal_failure(node: &NodeId, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Banned { seconds } => {
            let text = format!(
                "{node} is banned on this node for {seconds} s more; to lift that, run: `polypeer peers unblock {node}`"
            );
            Failure::new(ErrorCode::PeerMisbehaved, text)
        }
        Refusal::Blocked => {
            let text =
                format!("{node} is blocked on this node; to lift the block, run: `polypeer peers unblock {node}`");
            Failure::new(ErrorCode::Blocked, text)
        }
        Refusal::Host | Refusal::Subnet | Refusal::Full => {
            Failure::new(ErrorCode::Busy, format!("{node}: too many peers"))
        }
    }
}
