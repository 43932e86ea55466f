//! The state of all nodes: launches, sessions, unclaimed streams and pending calls. One thread owns it; the tasks of
//! `connection` borrow it between awaits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, Grants, Origin, Payload, Reach, Request, Response, Scope, Validation};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::limits::DEFAULT_TIMEOUT;
use polypeer_ipc_protocol::record::SignedRecord;
use polypeer_ipc_protocol::session::server::ServerSession;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::splice::{End, Output};

/// Frames queued for a plugin that does not read; tests send a few thousand at once. Further ones are dropped with a
/// complaint, which no test expects.
pub(crate) const OUTBOX: usize = 1 << 14;

/// The world, as tasks hold it.
pub(crate) type Shared = Rc<RefCell<World>>;

pub(crate) struct World {
    pub(crate) launches: BTreeMap<usize, Launch>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) table: Table,
    pub(crate) unclaimed: BTreeMap<u64, Unclaimed>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) numbers: u64,
    pub(crate) this: Weak<RefCell<World>>,
}

/// One plugin launch.
pub(crate) struct Launch {
    pub(crate) node: NodeId,
    pub(crate) plugin: PluginId,
    pub(crate) grants: Grants,
    pub(crate) reach: Reach,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) hellos: u64,
    pub(crate) heartbeats: u64,
    pub(crate) requests: Vec<Request>,
    pub(crate) session: Option<Session>,
    pub(crate) token: Secret,
    pub(crate) streams: Vec<Weak<Output>>,
    /// Counts kills and starts of its node: even while the node runs, odd while it is killed.
    pub(crate) life: watch::Sender<u64>,
}

/// A launch's control session.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) secret: Secret,
    pub(crate) listeners: HashMap<(Protocol, Scope), CallMode>,
    pub(crate) topics: BTreeMap<Name, Validation>,
    pub(crate) datagrams: BTreeSet<Protocol>,
    pub(crate) watches_peers: bool,
    pub(crate) watches_network: bool,
    pub(crate) machine: ServerSession,
    pub(crate) outbox: mpsc::Sender<Vec<u8>>,
}

/// An exception to what a netcore answers; see `Command::Answer`.
pub(crate) struct Rule {
    pub(crate) launch: Option<usize>,
    pub(crate) requests: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) times: u64,
    pub(crate) with: Option<Response>,
}

/// A stream that is announced and not yet claimed.
pub(crate) struct Unclaimed {
    pub(crate) acceptor: usize,
    /// The session it was announced to.
    pub(crate) session: u64,
    pub(crate) claim: oneshot::Sender<Result<End, Failure>>,
}

/// The same stream for its opener.
pub(crate) struct Announced {
    pub(crate) number: u64,
    pub(crate) acceptor: usize,
    /// The opener, as the acceptor sees it.
    pub(crate) near: Origin,
    /// The acceptor, as the opener sees it.
    pub(crate) far: Origin,
    pub(crate) claimed: oneshot::Receiver<Result<End, Failure>>,
}

/// The plugin that serves a protocol.
pub(crate) struct Found {
    pub(crate) acceptor: usize,
    pub(crate) session: u64,
    /// The opener or caller, as that plugin sees it.
    pub(crate) near: Origin,
    /// That plugin, as the opener or caller sees it.
    pub(crate) far: Origin,
    pub(crate) calls: CallMode,
}

/// A pending call.
pub(crate) struct Call {
    pub(crate) caller: Asked,
    pub(crate) acceptor: usize,
    /// The session that serves it.
    pub(crate) session: u64,
    pub(crate) mode: CallMode,
    /// Applies its timeout, and carries its stream.
    pub(crate) task: AbortHandle,
}

/// The DHT.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) values: HashMap<Hash, Payload>,
    pub(crate) records: HashMap<(NodeId, Name), SignedRecord>,
    pub(crate) providers: BTreeMap<Name, Vec<NodeId>>,
}

/// A request to be answered.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) launch: usize,
    pub(crate) session: u64,
    pub(crate) id: u64,
}

/// What `timeout_ms` of a request means.
pub(crate) fn timeout(timeout_ms: u32) -> Duration {
    if timeout_ms == 0 { DEFAULT_TIMEOUT } else { Duration::from_millis(timeout_ms.into()) }
}

pub(crate) fn failure(code: ErrorCode, text: impl Into<String>) -> Failure {
    Failure::new(code, text)
}

pub(crate) fn allows(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.allows(name))
}

impl Launch {
    pub(crate) fn life(&self) -> watch::Receiver<u64> {
        self.life.subscribe()
    }

    pub(crate) fn open_streams(&self) -> Vec<Rc<Output>> {
        self.streams.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Session {
    /// Queues frames; see [`OUTBOX`].
    pub(crate) fn push(&mut self, frames: Vec<u8>) {
        if !frames.is_empty() && self.outbox.try_send(frames).is_err() {
            eprintln!("polypeer-fake-netcore: a plugin left {OUTBOX} frames unread");
        }
    }
}
