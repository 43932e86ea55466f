//! The operator's requests: to block, unblock, protect and forget peers, and to read lists, causes and status.

use std::sync::atomic::{AtomicU64, Ordering};

use polypeer_engine::peers::book::{Entry, MAX_PROTECTED};
use polypeer_engine::peers::manager::Refusal;
use polypeer_engine::peers::offenders;
use polypeer_ipc_protocol::admin::{Cause, NetStatus, Offender, PeerRecord, PeerState};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::NodeId;

use super::state::{Shared, State, close};
use super::store::{FILE, StoreError};
use crate::clock;

/// What a wrong clock does, and the remedy.
const SET_CLOCK: &str = "while it does, nodes refuse each other's messages of topics and records; set the clock, e.g. \
                         with: timedatectl set-ntp true";

impl Shared {
    pub(super) fn cut_off(&self, node: &NodeId) {
        let live = self.lock().table.live(node).cloned();
        if let Some(live) = live {
            close(&live.connection.quic, ErrorCode::Blocked);
        }
    }

    pub(super) async fn block(&self, node: NodeId) -> Result<(), Failure> {
        if node == self.me {
            return Err(Failure::new(ErrorCode::BadArgument, "this is the own node"));
        }
        let entry = {
            let mut state = self.lock();
            if !state.manager.book_mut().set_blocked(node, true) {
                return Err(Failure::new(ErrorCode::Busy, "too many nodes are blocked; unblock some first"));
            }
            state.manager.book().get(&node).cloned()
        };
        self.cut_off(&node);
        self.write(node, entry).await
    }

    pub(super) async fn unblock(&self, node: NodeId) -> Result<(), Failure> {
        let entry = {
            let mut state = self.lock();
            state.manager.pardon(clock::now(), node);
            state.manager.book().get(&node).cloned()
        };
        self.manager_changed.notify_one();
        self.write(node, entry).await
    }

    pub(super) async fn protect(&self, node: NodeId, protected: bool) -> Result<(), Failure> {
        if node == self.me {
            return Err(Failure::new(ErrorCode::BadArgument, "this is the own node"));
        }
        let entry = {
            let mut state = self.lock();
            if !state.manager.protect(clock::now(), node, protected) {
                let text = format!("{MAX_PROTECTED} nodes are protected already; unprotect some first");
                return Err(Failure::new(ErrorCode::Busy, text));
            }
            state.manager.book().get(&node).cloned()
        };
        self.manager_changed.notify_one();
        self.write(node, entry).await
    }

    pub(super) async fn forget(&self, node: NodeId) -> Result<(), Failure> {
        if node == self.me {
            return Err(Failure::new(ErrorCode::BadArgument, "this is the own node"));
        }
        let (entry, live) = {
            let mut state = self.lock();
            state.manager.book_mut().forget(&node);
            state.traces.forget(&node);
            (state.manager.book().get(&node).cloned(), state.table.live(&node).cloned())
        };
        if let Some(live) = live {
            close(&live.connection.quic, ErrorCode::Cancelled);
        }
        self.write(node, entry).await
    }

    /// Returns when all queued changes are written, into one file.
    pub(super) async fn finish(&self) {
        self.store.finish().await;
    }

    /// Writes the entry of `node` now, or removes it, and waits for the disk. If the store is not usable, which is a
    /// warning in the status, the change holds until the process ends.
    async fn write(&self, node: NodeId, entry: Option<Entry>) -> Result<(), Failure> {
        let result = match entry {
            Some(entry) => self.store.put_now(node, entry).await,
            None => self.store.remove_now(node).await,
        };
        match result {
            Ok(()) | Err(StoreError::Unavailable) => Ok(()),
            Err(StoreError::Write { reason }) => Err(Failure::new(ErrorCode::Internal, not_kept(&reason))),
        }
    }

    pub(super) fn records(&self) -> Vec<PeerRecord> {
        let state = self.lock();
        let book = state.manager.book();
        let mut nodes: Vec<NodeId> = book.iter().map(|(node, _)| *node).collect();
        nodes.extend(state.table.connected().map(|(node, _)| *node).filter(|node| book.get(node).is_none()));
        nodes.sort();
        nodes.iter().map(|node| state.record(node)).collect()
    }

    pub(super) fn explain(&self, node: &NodeId) -> (Vec<Cause>, Vec<String>) {
        let state = self.lock();
        let mut causes = state.traces.causes(node);
        let remedy = format!("to lift that, run: `polypeer peers unblock {node}`");
        match state.manager.check(node, clock::now()) {
            Err(Refusal::Blocked) => {
                causes.insert(0, Cause { cause: "the peer is blocked on this node".into(), remedy });
            }
            Err(Refusal::Banned { seconds }) => {
                let cause = format!("the peer is banned on this node for {seconds} s more: its score fell too low");
                causes.insert(0, Cause { cause, remedy });
            }
            _ => {}
        }
        (causes, state.traces.lines(node, clock::unix()))
    }

    pub(super) fn status(&self) -> NetStatus {
        let state = self.lock();
        let counters = self.transport.counters();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NetStatus {
            node: self.me,
            listen: self.transport.local_addresses().iter().map(ToString::to_string).collect(),
            reach: "unknown".into(),
            connected: state.table.connected().count() as u64,
            known: state.manager.book().iter().filter(|(_, entry)| !entry.blocked).count() as u64,
            sources: Vec::new(),
            sent_bytes: count(&counters.sent_bytes),
            received_bytes: count(&counters.received_bytes),
            counters: state.counters(&[
                ("places_taken", state.manager.connected() as u64),
                ("strange_datagrams", count(&counters.strange)),
                ("unroutable_datagrams", count(&counters.unroutable)),
            ]),
            offenders: state.offenders(clock::unix()),
            warnings: state.all_warnings(self.store.problem()),
        }
    }
}

impl State {
    fn all_warnings(&self, store: Option<String>) -> Vec<String> {
        let now = clock::now();
        let clock = self.clocks.off(now).map(|off| format!("{off}; {SET_CLOCK}"));
        let all = self.warnings.iter().cloned().chain(store).chain(clock);
        all.chain(self.twins.warning(now)).collect()
    }

    /// All counters of the status: those of handshakes and of the manager, and `others`.
    fn counters(&self, others: &[(&str, u64)]) -> Vec<(String, u64)> {
        let handshakes = &self.handshakes;
        let handshakes = [
            ("handshakes_asked_for_proof", handshakes.to_prove),
            ("refused_handshake_rate", handshakes.rate),
            ("refused_half_open", handshakes.half_open),
            ("handshakes_failed", handshakes.failed),
            ("handshakes_unfinished", handshakes.unfinished),
        ];
        let handshakes = handshakes.into_iter().filter(|(_, count)| *count > 0);
        let named = others.iter().copied().chain(handshakes).map(|(name, count)| (name.to_owned(), count));
        named.chain(self.manager.tallies().list()).collect()
    }

    fn offenders(&self, now: u64) -> Vec<Offender> {
        let offender = |known: &offenders::Offender| Offender {
            node: known.node,
            address: known.address.map(|address| address.to_string()),
            reason: known.reason.clone(),
            count: known.count,
            ago_s: now.saturating_sub(known.at),
        };
        self.offenders.list().map(offender).collect()
    }

    fn record(&self, node: &NodeId) -> PeerRecord {
        let now = clock::now();
        let entry = self.manager.book().get(node);
        let live = self.table.live(node);
        let stats = live.map(|live| live.connection.quic.stats());
        let (sent, received) = self.totals.get(node).copied().unwrap_or_default();
        let since_seen = || entry?.seen.map(|seen| clock::unix().saturating_sub(seen));
        let mut sources = entry.map(Entry::sources).unwrap_or_default();
        if let Some(name) = live.map(|live| live.source.name().to_owned()).filter(|name| !sources.contains(name)) {
            sources.push(name);
        }
        PeerRecord {
            node: *node,
            state: match (live, entry.is_some_and(|entry| entry.blocked)) {
                (_, true) => PeerState::Blocked,
                (Some(_), false) => PeerState::Connected,
                (None, false) => PeerState::Known,
            },
            path: live.map(|live| live.connection.path.route().kind()),
            address: match live {
                Some(live) => Some(live.connection.path.route().address().to_string()),
                None => entry.and_then(|entry| entry.addresses.first()).map(|known| known.address.to_string()),
            },
            rtt_us: live.map(|live| live.connection.quic.rtt().as_micros() as u64),
            since_s: live.map(|live| live.since.elapsed().as_secs()).or_else(since_seen),
            sources,
            unverified: false,
            protocols: Vec::new(),
            sent_bytes: sent + stats.map_or(0, |stats| stats.udp_tx.bytes),
            received_bytes: received + stats.map_or(0, |stats| stats.udp_rx.bytes),
            protected: entry.is_some_and(|entry| entry.protected),
            score: self.manager.worth(node, now).round() as i32,
            banned_s: match self.manager.check(node, now) {
                Err(Refusal::Banned { seconds }) => Some(seconds),
                _ => None,
            },
        }
    }
}

/// What became of an operator's change that is not in the file.
fn not_kept(reason: &str) -> String {
    format!(
        "done until this node stops, but not written to {FILE}, so that its next start does not know it: {reason}; it is \
         tried again with every later change: make room on the disk, then see `polypeer doctor`"
    )
}
