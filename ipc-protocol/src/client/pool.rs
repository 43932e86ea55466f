//! Data connections of a session that wait for their next opening, if the session asked netcore to keep them. A
//! [`super::DataStream`] that both sides have ended leaves its connection here; netcore says when it is free.

use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::incoming::Incoming;
use crate::limits::MAX_IDLE_CONNECTIONS;
use crate::session::data::Receiver;
use crate::transport::{self, LocalStream};

/// The connections of one session that are free, or will be soon; at most [`MAX_IDLE_CONNECTIONS`].
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    asked: AtomicBool,
    ending: Mutex<VecDeque<Ending>>,
}

/// A connection whose stream both sides have ended. Netcore's report, and its word that it keeps the connection, may
/// still be on their way.
#[derive(Debug)]
struct Ending {
    io: LocalStream,
    incoming: Incoming,
}

impl Ending {
    /// Whether netcore keeps the connection; pending while it has not said so.
    fn poll_kept(&mut self) -> Poll<bool> {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if self.incoming.kept {
                return Poll::Ready(true);
            }
            if self.incoming.closed.is_some() {
                return Poll::Ready(false);
            }
            std::task::ready!(self.incoming.poll_fill(&mut self.io, &mut cx));
        }
    }
}

impl Pool {
    /// The pool of a session at the gateway socket `path`.
    pub(super) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), asked: AtomicBool::new(false), ending: Mutex::default() })
    }

    /// Whether netcore may keep the connections that are opened from now on. It may as soon as it is asked.
    pub(super) fn set_asked(&self, asked: bool) {
        self.asked.store(asked, Ordering::Relaxed);
    }

    fn ending(&self) -> MutexGuard<'_, VecDeque<Ending>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that waits for its next opening, or a new one.
    pub(super) async fn connection(self: &Arc<Self>) -> io::Result<Connection> {
        let io = match self.take() {
            Some(io) => io,
            None => transport::connect(&self.path).await?,
        };
        let pool = self.asked.load(Ordering::Relaxed).then(|| Arc::clone(self));
        Ok(Connection { io: Some(io), pool })
    }

    fn take(&self) -> Option<LocalStream> {
        let mut ending = self.ending();
        let mut at = 0;
        while let Some(next) = ending.get_mut(at) {
            match next.poll_kept() {
                Poll::Ready(kept) => {
                    let free = ending.remove(at)?;
                    if kept {
                        return Some(free.io);
                    }
                }
                Poll::Pending => at += 1,
            }
        }
        None
    }
}

/// A data connection. It is closed when this is dropped, unless [`Connection::keep`] was called.
#[derive(Debug)]
pub(super) struct Connection {
    /// Empty only after `keep`.
    io: Option<LocalStream>,
    /// Set if netcore may keep the connection.
    pool: Option<Arc<Pool>>,
}

impl Connection {
    /// What decodes the frames of a stream on it.
    pub(super) fn receiver(&self) -> Receiver {
        if self.pool.is_some() { Receiver::keeping() } else { Receiver::default() }
    }

    /// Leaves the connection, whose stream both sides have ended, to the next stream. `incoming` is that direction of it.
    pub(super) fn keep(&mut self, incoming: Incoming) {
        if let (Some(pool), Some(io)) = (self.pool.take(), self.io.take()) {
            let mut ending = pool.ending();
            if ending.len() < MAX_IDLE_CONNECTIONS {
                ending.push_back(Ending { io, incoming });
            }
        }
    }
}

impl Deref for Connection {
    type Target = LocalStream;

    fn deref(&self) -> &LocalStream {
        self.io.as_ref().expect("it is kept only when its stream is dropped")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut LocalStream {
        self.io.as_mut().expect("it is kept only when its stream is dropped")
    }
}
