//! Does what the [`polypeer_engine::peers::manager`] decides, and writes down what changed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::now::Now;
use polypeer_engine::peers::manager::{Action, Parting};
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;

use super::connect::refused;
use super::state::{Shared, close_with};
use crate::clock;

/// How often it is looked who sent or was sent datagrams, and the scores of connected peers are written: a crash costs
/// what was earned since.
const CHECKPOINT: Duration = Duration::from_secs(120);

/// How often it is looked whether a peer that was heard elsewhere has moved: several of QUIC's retransmissions apart.
const LOOK: Duration = Duration::from_millis(200);

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

    /// Datagrams hold no connection, since none of them ends; their number says that one is in use. `seen` is how many
    /// each peer's connection had carried the last time.
    fn note_datagrams(&self, now: Now, seen: &mut HashMap<NodeId, u64>) {
        let state = &mut *self.lock();
        let mut present = HashMap::new();
        for (node, live) in state.table.connected() {
            let stats = live.link.connection.stats();
            let carried = stats.frame_tx.datagram + stats.frame_rx.datagram;
            if seen.get(node).copied().unwrap_or_default() != carried {
                state.manager.used(now, node);
            }
            present.insert(*node, carried);
        }
        *seen = present;
    }

    /// Lets connections follow peers that move; see [`crate::transport::moves`].
    pub(super) async fn follow_moves(self: Arc<Self>) {
        let moves = self.transport.moves();
        loop {
            moves.noted().await;
            while moves.is_pending() {
                let links: Vec<_> = self.lock().table.connected().map(|(_, live)| live.link.clone()).collect();
                for link in links {
                    if let Some(address) = link.path.follow() {
                        tracing::info!(node = %link.node, %address, "a peer changed its address; following it");
                        self.lock().manager.moved(clock::now(), link.node, address);
                    }
                }
                self.manager_changed.notify_one();
                tokio::time::sleep(LOOK).await;
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
                tracing::debug!(%node, ?why, "letting a peer go");
                let (code, reason) = match why {
                    Parting::Crowded => (ErrorCode::Busy, "too many peers"),
                    Parting::Unused => (ErrorCode::Busy, "not used for long"),
                    Parting::Banned => (ErrorCode::PeerMisbehaved, "refused for a while"),
                };
                close_with(&live.link.connection, code, reason);
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

    /// Adds a deed of `node`; what it is called for the operator if not by its usual name, and where its packets came from
    /// if not over its link. Where it only says it is does not count: that may be somebody else's address.
    pub(super) fn score(&self, node: NodeId, event: ScoreEvent, reason: Option<&str>, from: Option<SocketAddr>) {
        let now = clock::now();
        let state = &mut *self.lock();
        if state.manager.score(now, node, event) {
            tracing::info!(%node, ?event, "a peer did too much harm and is refused for a while");
        }
        if let Some(offence) = event.offence() {
            let live = || state.table.live(&node).map(|live| live.link.path.route().address());
            let address = from.or_else(live);
            state.offenders.add(now.unix, Some(node), address, reason.unwrap_or(offence));
            if let Some(address) = address {
                state.doors.slow_down(now.at, address.ip(), state.manager.marks());
            }
        }
        self.manager_changed.notify_one();
    }

    pub(super) fn check(&self, node: &NodeId) -> Result<(), Failure> {
        self.lock().manager.check(node, clock::now()).map_err(|refusal| refused(node, refusal))
    }
}
