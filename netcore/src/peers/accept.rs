//! Incoming handshakes: which are begun, what becomes of those that succeed, and how those that do not are counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::peers::dial_error::DialError;
use polypeer_engine::peers::handshake_gate::{Answer, HandshakeLimit};
use polypeer_engine::socket_address::plain;
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::ErrorCode;

use super::state::{Shared, close};
use super::tie_break::Side;
use crate::clock;
use crate::transport::{Connection, Purpose};

/// Timeout of an incoming handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

impl Shared {
    pub(super) async fn accept_all(self: Arc<Self>) {
        while let Some(incoming) = self.transport.incoming().await {
            let from = plain(incoming.remote_address());
            let half_open = match self.admit_handshake(from, incoming.remote_address_validated()) {
                Answer::Begin => HalfOpen { shared: Arc::clone(&self), ip: from.ip() },
                Answer::Prove => {
                    incoming.retry().ok();
                    continue;
                }
                Answer::Refuse(_) => {
                    incoming.refuse();
                    continue;
                }
            };
            self.spawn(move |shared| async move {
                match tokio::time::timeout(HANDSHAKE, shared.transport.accept(incoming)).await {
                    Ok(Ok(connection)) if connection.purpose == Purpose::Query => shared.answer_questions(connection),
                    Ok(Ok(connection)) => {
                        if let Err(error) = shared.settle(connection, Side::Acceptor, Source::Incoming).await {
                            tracing::debug!(%from, %error, "incoming connection not kept");
                        }
                    }
                    Ok(Err(error)) => shared.handshake_failed(from, &error),
                    Err(_) => {
                        shared.lock().handshakes.unfinished += 1;
                        tracing::debug!(%from, "incoming handshake timed out");
                    }
                }
                drop(half_open);
            });
        }
    }

    /// Passes a query connection on, or refuses it if the peer is blocked or banned.
    fn answer_questions(&self, connection: Connection) {
        let refused = match (self.is_stopping(), self.check(&connection.node), self.on_query.get()) {
            (true, ..) => ErrorCode::ShuttingDown,
            (_, Err(failure), _) => ErrorCode::from_number(failure.code).unwrap_or(ErrorCode::Blocked),
            (.., None) => ErrorCode::Unsupported,
            (false, Ok(()), Some(on_query)) => return on_query(connection),
        };
        close(&connection.quic, refused);
    }

    /// Decides about an incoming handshake from `from`, and counts one that is not begun.
    fn admit_handshake(&self, from: SocketAddr, proven: bool) -> Answer {
        let state = &mut *self.lock();
        let answer = state.handshake_gate.admit(Instant::now(), from.ip(), proven, state.manager.marks());
        match answer {
            Answer::Begin => {}
            Answer::Prove => state.handshakes.to_prove += 1,
            Answer::Refuse(HandshakeLimit::Rate) => {
                state.handshakes.rate += 1;
                state.offenders.add(clock::unix(), None, Some(from), "handshakes over the rate limit");
            }
            Answer::Refuse(HandshakeLimit::HostHalfOpen) => {
                state.handshakes.half_open += 1;
                state.offenders.add(clock::unix(), None, Some(from), "too many unfinished handshakes");
            }
            Answer::Refuse(HandshakeLimit::HalfOpen) => state.handshakes.half_open += 1,
        }
        answer
    }

    /// Counts an incoming handshake that failed; the host is an offender if what it sent is the reason.
    fn handshake_failed(&self, from: SocketAddr, error: &DialError) {
        tracing::debug!(%from, %error, "incoming connection failed");
        let state = &mut *self.lock();
        match error {
            DialError::OtherProtocol { .. } => {
                state.handshakes.failed += 1;
                state.offenders.add(clock::unix(), None, Some(from), "handshake failed");
            }
            _ => state.handshakes.unfinished += 1,
        }
    }
}

/// A handshake in progress; its drop tells the handshake gate that it is over.
struct HalfOpen {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.shared.lock().handshake_gate.ended(self.ip);
    }
}
