//! Lines of the log for peers that come and go.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use polypeer_engine::rate::{Bucket, Rate};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::ids::NodeId;

/// Rate limit of the lines: a busy node, or a peer that connects and goes all the time, does not fill the log.
const LINES: Rate = Rate { burst: 100, per_second: 1 };

/// Writes the lines, and counts those that the rate limit leaves out.
#[derive(Debug)]
pub(super) struct PeerLog(Mutex<(Bucket, u64)>);

impl Default for PeerLog {
    fn default() -> Self {
        Self(Mutex::new((Bucket::new(LINES), 0)))
    }
}

impl PeerLog {
    pub(super) fn up(&self, peer: NodeId, from: Option<(Source, SocketAddr)>) {
        match from {
            Some((Source::Incoming, address)) => self.line(&format!("peer {peer} connected from {address}")),
            Some((source, address)) => {
                self.line(&format!("peer {peer} connected at {address}, found by {}", source.name()));
            }
            None => self.line(&format!("peer {peer} connected")),
        }
    }

    pub(super) fn down(&self, peer: NodeId, why: &Failure) {
        self.line(&format!("peer {peer} lost: {}", why.message));
    }

    fn line(&self, text: &str) {
        let left_out = {
            let (bucket, left_out) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !bucket.take(1, Instant::now()) {
                *left_out += 1;
                return;
            }
            std::mem::take(left_out)
        };
        if left_out > 0 {
            tracing::info!("{left_out} lines about peers that came and went were left out");
        }
        tracing::info!("{text}");
    }
}
