//! The driver of the [`polypeer_engine::peers::manager`]: it performs the manager's actions, stores changed entries and
//! reports scores.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::now::Now;
use polypeer_engine::peers::manager::{Action, CloseReason};
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;

use super::connect::refusal_failure;
use super::state::{Shared, close_with};
use crate::clock;

/// Interval at which datagrams are counted and the scores of connected peers are written. A crash loses the points
/// since then.
const CHECKPOINT: Duration = Duration::from_secs(120);

/// Interval at which it is checked whether a peer has moved whose packets came from another address.
const MOVE_CHECK: Duration = Duration::from_millis(200);

impl Shared {
    pub(super) async fn manage_all(self: Arc<Self>) {
        let mut checkpoint = Instant::now() + CHECKPOINT;
        let mut datagrams = HashMap::new();
        loop {
            let now = clock::now();
            if now.at >= checkpoint {
                checkpoint = now.at + CHECKPOINT;
                self.note_datagrams(now, &mut datagrams);
                self.lock().manager.checkpoint(now);
                self.store.retry();
            }
            let (action, next) = {
                let mut state = self.lock();
                (state.manager.poll(now), state.manager.next_timeout())
            };
            if let Some(action) = action {
                self.perform(action);
                continue;
            }
            self.write_changed();
            let wake = next.map_or(checkpoint, |next| next.min(checkpoint));
            tokio::select! {
                () = tokio::time::sleep_until(wake.into()) => {}
                () = self.manager_changed.notified() => {}
            }
        }
    }

    /// Marks connections as used that carried datagrams since the last call. (A stream marks its connection as used
    /// while it lasts; a datagram has no duration.) `seen` is the number of datagrams of each connection at the last
    /// call.
    fn note_datagrams(&self, now: Now, seen: &mut HashMap<NodeId, u64>) {
        let state = &mut *self.lock();
        let mut present = HashMap::new();
        for (node, live) in state.table.connected() {
            let stats = live.connection.quic.stats();
            let carried = stats.frame_tx.datagram + stats.frame_rx.datagram;
            if seen.get(node).copied().unwrap_or_default() != carried {
                state.manager.used(now, node);
            }
            present.insert(*node, carried);
        }
        *seen = present;
    }

    /// Makes connections follow peers that change their address; see [`crate::transport::moves`].
    pub(super) async fn follow_moves(self: Arc<Self>) {
        let moves = self.transport.moves();
        loop {
            moves.noted().await;
            while moves.is_pending() {
                let links: Vec<_> = self.lock().table.connected().map(|(_, live)| live.connection.clone()).collect();
                for connection in links {
                    if let Some(address) = connection.path.follow() {
                        tracing::info!(node = %connection.node, %address, "a peer changed its address; following it");
                        self.lock().manager.moved(clock::now(), connection.node, address);
                    }
                }
                self.manager_changed.notify_one();
                tokio::time::sleep(MOVE_CHECK).await;
            }
        }
    }

    fn perform(self: &Arc<Self>, action: Action) {
        match action {
            Action::Dial { node, source, .. } => match self.want(node, &[], source, None) {
                Ok(None) => {}
                wanted => self.lock().manager.dial_ended(clock::now(), &node, wanted.is_ok()),
            },
            Action::Close { node, why } => {
                let live = self.lock().table.live(&node).cloned();
                let Some(live) = live else { return };
                tracing::debug!(%node, ?why, "disconnecting a peer");
                let (code, reason) = match why {
                    CloseReason::Crowded => (ErrorCode::Busy, "too many peers"),
                    CloseReason::Unused => (ErrorCode::Busy, "connection unused for long"),
                    CloseReason::Banned => (ErrorCode::PeerMisbehaved, "banned for a while"),
                };
                close_with(&live.connection.quic, code, reason);
            }
        }
    }

    pub(super) fn write_changed(&self) {
        let changed = self.lock().manager.take_changed();
        for (node, entry) in changed {
            match entry {
                Some(entry) => self.store.put(node, entry),
                None => self.store.remove(node),
            }
        }
    }

    /// Adds `event` to the score of `node`. `reason` is the offence as the operator reads it, if not the usual one.
    /// `from` is the address that its packets came from, if not over its link; an address that it only claims may be
    /// somebody else's and must not be passed.
    pub(super) fn score(&self, node: NodeId, event: ScoreEvent, reason: Option<&str>, from: Option<SocketAddr>) {
        let now = clock::now();
        let state = &mut *self.lock();
        if state.manager.score(now, node, event) {
            tracing::info!(%node, ?event, "banned a peer: its score fell too low");
        }
        if let Some(offence) = event.offence() {
            let live = || state.table.live(&node).map(|live| live.connection.path.route().address());
            let address = from.or_else(live);
            state.offenders.add(now.unix, Some(node), address, reason.unwrap_or(offence));
            if let Some(address) = address {
                state.handshake_gate.slow_down(now.at, address.ip(), state.manager.marks());
            }
        }
        self.manager_changed.notify_one();
    }

    pub(super) fn check(&self, node: &NodeId) -> Result<(), Failure> {
        self.lock().manager.check(node, clock::now()).map_err(|refusal| refusal_failure(node, refusal))
    }
}
