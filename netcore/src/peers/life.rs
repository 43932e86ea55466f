//! The life of a connection after its handshake: the tie-break, the announcement to the rest of the node, and its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::manager::{Ending, Refusal};
use polypeer_engine::peers::table::Verdict;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::ConnectionError;

use super::state::{DialMessage, Live, Shared, State, close, close_with, random_tag, warn};
use super::tie_break::{self, Side};
use super::{Established, PeerEvent};
use crate::clock;
use crate::transport::path::Watching;
use crate::transport::{Connection, Route};

/// How long the path of an ended connection is kept for its last packets.
const LINGER: Duration = Duration::from_secs(3);

impl Shared {
    /// Runs the tie-break on a new connection and, if it is kept, puts it to use. The error is for the trace of a dial;
    /// `Refused` with `superseded` means that another connection is kept.
    pub(super) async fn settle(
        self: &Arc<Self>,
        connection: Connection,
        side: Side,
        source: Source,
    ) -> Result<(), DialError> {
        let node = connection.node;
        let (tag, admission) = self.enter(&connection, side).map_err(|(code, reason)| {
            close_with(&connection.quic, code, reason);
            DialError::Refused { code: code.number().into() }
        })?;
        let decider = self.me < node;
        let mut kept = None;
        let live = Live { connection: connection.clone(), since: Instant::now(), source };
        let decide = |peer_tag| {
            let mut state = self.lock();
            let verdict = if decider {
                let alive = |live: &Live| live.connection.quic.close_reason().is_none();
                state.table.decide(node, peer_tag, live, alive)
            } else {
                state.table.keep(node, peer_tag, live)
            };
            match verdict {
                Verdict::Kept { number, replaced } => {
                    kept = Some((number, replaced));
                    true
                }
                Verdict::Superfluous => false,
            }
        };
        let exchange = tie_break::settle(&connection.quic, side, decider, tag, decide);
        let result = tokio::time::timeout(tie_break::LIMIT, exchange).await.unwrap_or(Err(DialError::NoAnswer));
        let outcome = match (result, kept) {
            (Ok(true), Some((number, replaced))) => {
                self.establish(&connection, side, source, number, replaced);
                Ok(())
            }
            (Ok(_), _) => {
                close(&connection.quic, ErrorCode::Superseded);
                Err(DialError::Refused { code: ErrorCode::Superseded.number().into() })
            }
            (Err(error), kept) => {
                close(&connection.quic, ErrorCode::TimedOut);
                if side == Side::Dialer && error.is_busy() {
                    let address = connection.path.route().address();
                    self.lock().manager.was_full(clock::now(), &node);
                    self.events.send(PeerEvent::Full { node, address, source }).ok();
                }
                if let Some((number, replaced)) = kept {
                    let mut state = self.lock();
                    if state.table.ended(&node, number, random_tag()) && replaced.is_some() {
                        // The manager still holds the connection that this one replaced; nobody else reports its end.
                        state.manager.down(clock::now(), &node, Ending::Lost);
                    }
                    drop(state);
                    self.manager_changed.notify_one();
                    self.drop_replaced(&node, replaced);
                }
                Err(error)
            }
        };
        let mut state = self.lock();
        state.table.leave(&node);
        if let Some(admission) = admission {
            state.manager.settled(admission);
        }
        drop(state);
        outcome
    }

    /// Checks whether a connection may enter the tie-break. Returns this side's tag and, for an incoming connection,
    /// the number of its admission; or the code and reason with which to refuse.
    fn enter(&self, connection: &Connection, side: Side) -> Result<(u64, Option<u64>), (ErrorCode, &'static str)> {
        let (node, now) = (connection.node, clock::now());
        let plainly = |code: ErrorCode| (code, code.text());
        let mut state = self.lock();
        if self.is_stopping() {
            return Err(plainly(ErrorCode::ShuttingDown));
        }
        if node == self.me {
            return Err(plainly(ErrorCode::BadArgument));
        }
        let admission = match side {
            Side::Dialer => state.manager.check(&node, now).map(|()| None),
            Side::Acceptor => state.manager.admit(now, node, connection.path.route().address().ip()).map(Some),
        };
        // The manager may disconnect another peer for it.
        self.manager_changed.notify_one();
        let admission = admission.map_err(refusal)?;
        match state.table.enter(node, random_tag()) {
            Some(tag) => Ok((tag, admission)),
            None => {
                if let Some(admission) = admission {
                    state.manager.settled(admission);
                }
                Err(plainly(ErrorCode::Busy))
            }
        }
    }

    /// Announces a connection that both sides keep: to the callback, the manager, waiting callers and listeners.
    fn establish(
        self: &Arc<Self>,
        connection: &Connection,
        side: Side,
        source: Source,
        number: u64,
        replaced: Option<Live>,
    ) {
        let node = connection.node;
        self.drop_replaced(&node, replaced);
        (self.on_established)(Established {
            node,
            connection: connection.quic.clone(),
            outgoing: side == Side::Dialer,
            path: connection.path.clone(),
            proved: connection.proved,
        });
        let (waiters, blocked) = {
            let mut state = self.lock();
            let route = connection.path.route();
            let address = match route {
                Route::Direct(address) => Some(address),
                Route::Tunnel { .. } => None,
            };
            let outgoing = side == Side::Dialer;
            state.manager.up(clock::now(), node, route.address().ip(), address, source, outgoing);
            let known = state
                .manager
                .book()
                .get(&node)
                .and_then(|entry| entry.addresses.iter().map(|known| known.source).min());
            // A found node that dialed first counts for the source that found it.
            state.note_found(if source == Source::Incoming { known.unwrap_or(source) } else { source });
            if let Some(dial) = state.dials.get(&node) {
                // The queue is full only if the dial has not read it for long; such a dial ends by itself.
                dial.try_send(DialMessage::Connected).ok();
            }
            (state.table.ready(&node, number), state.manager.book().is_blocked(&node))
        };
        self.manager_changed.notify_one();
        for waiter in waiters {
            waiter.send(Ok(connection.quic.clone())).ok();
        }
        self.events.send(PeerEvent::Up(node)).ok();
        let connection = connection.clone();
        let watching = (side == Side::Dialer).then(|| connection.path.watch());
        self.spawn(move |shared| shared.watch(connection, number, watching));
        if blocked {
            // The operator has blocked the peer in the meantime.
            self.cut_off(&node);
        }
    }

    /// Closes a connection that another one has replaced; the peer has lost it already.
    fn drop_replaced(&self, node: &NodeId, replaced: Option<Live>) {
        let Some(Live { connection, .. }) = replaced else { return };
        self.count(node, &connection.quic);
        self.lock().clocks.handle_gone(node);
        close(&connection.quic, ErrorCode::Superseded);
        let failure = Failure::new(ErrorCode::ConnectionLost, format!("{node} connected anew"));
        self.events.send(PeerEvent::Down(*node, failure)).ok();
    }

    /// Waits for the end of a connection and reports it.
    async fn watch(self: Arc<Self>, connection: Connection, number: u64, watching: Option<Watching>) {
        let reason = connection.quic.closed().await;
        drop(watching);
        let node = connection.node;
        let (was_live, news) = {
            let mut state = self.lock();
            let was_live = state.table.ended(&node, number, random_tag());
            let mut news = None;
            if was_live {
                state.clocks.handle_gone(&node);
                let ending = match is_superseded(&reason) {
                    true => Ending::Taken { before: state.twins.handle_taken(clock::now(), node) },
                    false => ending(&reason),
                };
                state.manager.down(clock::now(), &node, ending);
                news = state.twins.news(clock::now());
            }
            (was_live, news)
        };
        warn(news);
        if was_live {
            self.count(&node, &connection.quic);
            self.manager_changed.notify_one();
            self.events.send(PeerEvent::Down(node, end_failure(&reason))).ok();
        }
        tokio::time::sleep(LINGER).await;
        connection.path.release();
    }

    /// Adds the bytes of an ended connection to the totals of its peer.
    fn count(&self, node: &NodeId, connection: &quinn::Connection) {
        let stats = connection.stats();
        let mut state = self.lock();
        if state.manager.book().get(node).is_some() {
            let total = state.totals.entry(*node).or_default();
            total.0 += stats.udp_tx.bytes;
            total.1 += stats.udp_rx.bytes;
        }
        let State { totals, manager, .. } = &mut *state;
        totals.retain(|node, _| manager.book().get(node).is_some());
    }
}

/// The code and reason with which a connection is refused.
fn refusal(refusal: Refusal) -> (ErrorCode, &'static str) {
    match refusal {
        Refusal::Blocked => (ErrorCode::Blocked, ErrorCode::Blocked.text()),
        Refusal::Banned { .. } => (ErrorCode::PeerMisbehaved, "banned for a while"),
        Refusal::Host => (ErrorCode::Busy, "too many connections with this host"),
        Refusal::Subnet => (ErrorCode::Busy, "too many connections with this subnet"),
        Refusal::Full => (ErrorCode::Busy, "too many peers"),
    }
}

/// Whether the peer closed a connection because it keeps another one with a node of this identity.
fn is_superseded(reason: &ConnectionError) -> bool {
    let code = u64::from(ErrorCode::Superseded.number());
    matches!(reason, ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == code)
}

/// Whether a connection ended on purpose or by accident.
fn ending(reason: &ConnectionError) -> Ending {
    let codes = [ErrorCode::Busy, ErrorCode::Blocked, ErrorCode::PeerMisbehaved, ErrorCode::Refused];
    let let_go = match reason {
        ConnectionError::LocallyClosed => true,
        ConnectionError::ApplicationClosed(close) => {
            codes.iter().any(|code| u64::from(code.number()) == close.error_code.into_inner())
        }
        _ => false,
    };
    if let_go { Ending::Deliberate } else { Ending::Lost }
}

/// The failure that reports the end of a connection.
fn end_failure(reason: &ConnectionError) -> Failure {
    match reason {
        ConnectionError::ApplicationClosed(close) => match u32::try_from(close.error_code.into_inner()) {
            Ok(code) if ErrorCode::from_number(code).is_some() => {
                Failure { code, message: format!("the peer closed the connection: {}", describe(code)) }
            }
            _ => Failure::new(ErrorCode::ConnectionLost, "the peer closed the connection"),
        },
        ConnectionError::TimedOut => Failure::new(ErrorCode::ConnectionLost, "the peer fell silent"),
        ConnectionError::Reset => Failure::new(ErrorCode::ConnectionLost, "the peer restarted"),
        ConnectionError::LocallyClosed => Failure::new(ErrorCode::ConnectionLost, "closed by this node"),
        other => Failure::new(ErrorCode::ConnectionLost, other.to_string()),
    }
}
