//! Connections as they come: handshakes accepted, one connection a pair kept and told of, its end noticed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::error::{ErrorCode, Failure, describe};
use polypeer_ipc_protocol::ids::NodeId;
use quinn::{Connection, ConnectionError};
use tokio::sync::Semaphore;

use super::book::Source;
use super::settle::{self, Side};
use super::shared::{DialMessage, Live, Shared, State, close, jitter, random_tag, unix_now};
use super::table::Verdict;
use super::{Established, PeerEvent};
use crate::transport::{DialError, Link, Route};

/// Handshakes with strangers at once; the next ones must first prove their address, then are refused.
const MAX_HANDSHAKES: usize = 256;
/// For a stranger's handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the path of an ended connection is kept for its last packets.
const LINGER: Duration = Duration::from_secs(3);

impl Shared {
    pub(super) async fn accept_all(self: Arc<Self>) {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        while let Some(incoming) = self.transport.incoming().await {
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            // Under load an address is made to prove itself before anything is computed for it.
            if handshakes.available_permits() < MAX_HANDSHAKES / 2 && !incoming.remote_address_validated() {
                incoming.retry().ok();
                continue;
            }
            self.spawn(|shared| async move {
                let from = incoming.remote_address();
                match tokio::time::timeout(HANDSHAKE, shared.transport.accept(incoming)).await {
                    Ok(Ok(link)) => {
                        if let Err(error) = shared.settle(link, Side::Acceptor, Source::Incoming).await {
                            tracing::debug!(%from, %error, "incoming connection not kept");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%from, %error, "incoming connection failed"),
                    Err(_) => tracing::debug!(%from, "incoming connection took too long"),
                }
                drop(permit);
            });
        }
    }

    /// Agrees with the peer on keeping this connection, then puts it to use. The error is what a dial's trace shows;
    /// `Refused` with `superseded`: another connection is the one kept.
    pub(super) async fn settle(self: &Arc<Self>, link: Link, side: Side, source: Source) -> Result<(), DialError> {
        let node = link.node;
        let entered = {
            let mut state = self.lock();
            if self.is_stopping() {
                Err(ErrorCode::ShuttingDown)
            } else if node == self.me {
                Err(ErrorCode::BadArgument)
            } else if state.book.is_blocked(&node) {
                Err(ErrorCode::Blocked)
            } else {
                state.table.enter(node, random_tag()).ok_or(ErrorCode::Busy)
            }
        };
        let tag = entered.map_err(|code| {
            close(&link.connection, code);
            DialError::Refused { code: code.number().into() }
        })?;
        let decider = self.me < node;
        let mut kept = None;
        let live = Live { link: link.clone(), since: Instant::now(), source };
        let decide = |peer_tag| {
            let mut state = self.lock();
            let verdict = if decider {
                let alive = |live: &Live| live.link.connection.close_reason().is_none();
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
        let exchange = settle::settle(&link.connection, side, decider, tag, decide);
        let result = tokio::time::timeout(settle::LIMIT, exchange).await.unwrap_or(Err(DialError::NoAnswer));
        let outcome = match (result, kept) {
            (Ok(true), Some((number, replaced))) => {
                self.establish(&link, side, source, number, replaced);
                Ok(())
            }
            (Ok(_), _) => {
                close(&link.connection, ErrorCode::Superseded);
                Err(DialError::Refused { code: ErrorCode::Superseded.number().into() })
            }
            (Err(error), kept) => {
                close(&link.connection, ErrorCode::TimedOut);
                if let Some((number, replaced)) = kept {
                    self.lock().table.ended(&node, number, random_tag());
                    self.drop_replaced(&node, replaced);
                }
                Err(error)
            }
        };
        self.lock().table.leave(&node);
        outcome
    }

    /// Tells everybody of a connection that both sides keep.
    fn establish(self: &Arc<Self>, link: &Link, side: Side, source: Source, number: u64, replaced: Option<Live>) {
        let node = link.node;
        self.drop_replaced(&node, replaced);
        (self.on_established)(Established {
            node,
            connection: link.connection.clone(),
            outgoing: side == Side::Dialer,
            path: link.path.clone(),
        });
        let (waiters, blocked) = {
            let mut state = self.lock();
            let address = match link.path.route() {
                Route::Direct(address) => Some(address),
                Route::Tunnel { .. } => None,
            };
            state.book.connected(node, address, source, unix_now());
            if let Some(entry) = state.book.get(&node) {
                self.store.put(node, entry.clone());
            }
            state.redial.remove(&node);
            let known = state.book.get(&node).and_then(|entry| entry.addresses.iter().map(|known| known.source).min());
            // One that was found and dialed first is found nevertheless.
            state.note_found(if source == Source::Incoming { known.unwrap_or(source) } else { source });
            if let Some(dial) = state.dials.get(&node) {
                // Full only if it has not looked for a long time, and then it will end by itself.
                dial.try_send(DialMessage::Connected).ok();
            }
            (state.table.ready(&node, number), state.book.is_blocked(&node))
        };
        for waiter in waiters {
            waiter.send(Ok(link.connection.clone())).ok();
        }
        self.events.send(PeerEvent::Up(node)).ok();
        let link = link.clone();
        self.spawn(move |shared| shared.watch(link, number));
        if blocked {
            // The operator was faster than the peer.
            self.cut_off(&node);
        }
    }

    /// Ends the connection that another one took the place of; its peer has lost it already.
    fn drop_replaced(&self, node: &NodeId, replaced: Option<Live>) {
        let Some(Live { link, .. }) = replaced else { return };
        self.count(node, &link.connection);
        close(&link.connection, ErrorCode::Superseded);
        let failure = Failure::new(ErrorCode::ConnectionLost, format!("{node} connected anew"));
        self.events.send(PeerEvent::Down(*node, failure)).ok();
    }

    /// Waits for the end of a connection and tells of it.
    async fn watch(self: Arc<Self>, link: Link, number: u64) {
        let reason = link.connection.closed().await;
        let node = link.node;
        let was_live = {
            let mut state = self.lock();
            let was_live = state.table.ended(&node, number, random_tag());
            if was_live && state.book.get(&node).is_some_and(|entry| entry.remembered && !entry.blocked) {
                state.redial.schedule(node, Instant::now(), jitter());
            }
            was_live
        };
        if was_live {
            self.count(&node, &link.connection);
            self.redial_changed.notify_one();
            self.events.send(PeerEvent::Down(node, why(&reason))).ok();
        }
        tokio::time::sleep(LINGER).await;
        link.path.release();
    }

    /// Adds the bytes of an ended connection to its peer's.
    fn count(&self, node: &NodeId, connection: &Connection) {
        let stats = connection.stats();
        let mut state = self.lock();
        if state.book.get(node).is_some() {
            let total = state.totals.entry(*node).or_default();
            total.0 += stats.udp_tx.bytes;
            total.1 += stats.udp_rx.bytes;
        }
        let State { totals, book, .. } = &mut *state;
        totals.retain(|node, _| book.get(node).is_some());
    }
}

/// The end of a connection, as a failure.
fn why(reason: &ConnectionError) -> Failure {
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
