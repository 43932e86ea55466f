//! What the supervisor and the network core say on the admin session: an inherited socket pair, frames as on a control
//! session. Both come from the same release, so these messages may change with every version.
//!
//! Start: the supervisor sends [`AdminRequest::AddLaunch`] for everything that runs, then [`AdminRequest::Start`];
//! before that netcore accepts nothing, from the network or from a plugin. Netcore exits when the session ends.

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::gateway::{Grants, Path};
use crate::ids::{NodeId, PluginId, Protocol, Secret};
use crate::ticket::Ticket;

/// What the supervisor sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminCommand {
    /// Returned in the answer.
    pub id: u64,
    /// What is asked.
    pub request: AdminRequest,
}

/// What the supervisor can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// A plugin launch: its listening socket comes with this frame as one `SCM_RIGHTS` descriptor (Unix), attached to
    /// the frame's first byte.
    AddLaunch {
        /// Number of the launch, never used twice by one supervisor.
        launch: u64,
        /// Whose.
        plugin: PluginId,
        /// What its `Hello` must show.
        token: Secret,
        /// What it may do.
        grants: Grants,
    },
    /// The launch is over: close its listener, sessions and streams.
    RemoveLaunch {
        /// Which.
        launch: u64,
    },
    /// The operator changed what a plugin may do; applies to all its launches at once.
    SetGrants {
        /// Whose.
        plugin: PluginId,
        /// The new ones, whole.
        grants: Grants,
    },
    /// Everything is known: open the network and the gateway. → `Done`
    Start,
    /// → `Status`
    Status,
    /// → `Peers`
    Peers,
    /// → `Ticket`
    Ticket,
    /// Remembers a peer and connects to it. → `Pong`, once connected
    AddPeer {
        /// Whom, and where.
        ticket: Ticket,
        /// For all of it.
        timeout_ms: u32,
    },
    /// Measures a round trip, dialing if need be. → `Pong`
    Ping {
        /// Whom; a ticket without addresses means what is known.
        ticket: Ticket,
        /// For all of it.
        timeout_ms: u32,
    },
    /// Cuts a peer off for good. → `Done`
    Block {
        /// Whom.
        node: NodeId,
    },
    /// Undoes `Block`. → `Done`
    Unblock {
        /// Whom.
        node: NodeId,
    },
    /// Drops the connection and everything remembered of a peer, but a block. → `Done`
    Forget {
        /// Whom.
        node: NodeId,
    },
    /// The traces of the latest attempts to reach a peer, and what they mean. → `Explanation`
    Explain {
        /// Whom.
        node: NodeId,
    },
    /// Bytes by plugin since netcore started. → `Traffic`
    Traffic,
    /// Stop: tell peers and plugins, give streams this long to end, exit. → `Done`, then the session ends
    Shutdown {
        /// How long.
        grace_ms: u32,
    },
    /// Keeps a peer connected whatever else is, or stops doing so. → `Done`
    Protect {
        /// Whom.
        node: NodeId,
        /// Whether to.
        protected: bool,
    },
}

/// What netcore sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminFrame {
    /// Answers a command.
    Response {
        /// Of the command.
        id: u64,
        /// The answer.
        response: AdminResponse,
    },
    /// Tells something nobody asked for.
    Event(AdminEvent),
}

/// Answers to [`AdminRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminResponse {
    /// It did not work.
    Failed(Failure),
    /// It worked.
    Done,
    /// The network core's state.
    Status(NetStatus),
    /// All peers: connected, known and blocked.
    Peers(Vec<PeerRecord>),
    /// This node's ticket.
    Ticket(Ticket),
    /// A peer answered.
    Pong {
        /// Who.
        node: NodeId,
        /// Round trip, microseconds.
        rtt_us: u64,
    },
    /// Ranked causes, each with what to do; then the raw trace.
    Explanation {
        /// Most likely first.
        causes: Vec<Cause>,
        /// One line an attempt.
        trace: Vec<String>,
    },
    /// Bytes by plugin.
    Traffic(Vec<PluginTraffic>),
}

/// A likely cause of a failed dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What is likely wrong.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// The network core's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStatus {
    /// This node.
    pub node: NodeId,
    /// Addresses bound, `IP:PORT`.
    pub listen: Vec<String>,
    /// `public`, `mapped`, `punchable`, `relayed` or `unknown`.
    pub reach: String,
    /// Connected peers.
    pub connected: u64,
    /// Peers remembered, connected ones included.
    pub known: u64,
    /// Discovery sources in the order they are tried.
    pub sources: Vec<SourceStatus>,
    /// UDP payload bytes sent since start.
    pub sent_bytes: u64,
    /// UDP payload bytes received since start.
    pub received_bytes: u64,
    /// Things that went wrong and were counted rather than logged each time: name and count.
    pub counters: Vec<(String, u64)>,
    /// What the operator should know: a set-aside peer store, a port that was busy.
    pub warnings: Vec<String>,
    /// Who did harm lately, the latest first; a few dozen at most.
    pub offenders: Vec<Offender>,
}

/// Somebody who did harm, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offender {
    /// Who; unknown when it was turned away before it proved who it is.
    pub node: Option<NodeId>,
    /// From where, the latest time.
    pub address: Option<String>,
    /// What it did.
    pub reason: String,
    /// How often since netcore started.
    pub count: u64,
    /// Seconds since the latest time.
    pub ago_s: u64,
}

/// One discovery source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `remembered`, `lan`, …
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
    /// `off`, `idle`, `asking`, `working` or `failing`.
    pub state: String,
    /// Seconds since it last found somebody.
    pub last_success_s: Option<u64>,
    /// Peers it found since start.
    pub found: u64,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub state: PeerState,
    /// How packets travel, when connected.
    pub path: Option<Path>,
    /// The address in use, or the last one that worked.
    pub address: Option<String>,
    /// Smoothed round trip, microseconds, when connected.
    pub rtt_us: Option<u64>,
    /// Seconds since the connection was made, or since the peer was last seen.
    pub since_s: Option<u64>,
    /// Which sources know it.
    pub sources: Vec<String>,
    /// Whether it is a seed that was found without its node id, and nobody else has named it so far.
    pub unverified: bool,
    /// What it says it serves.
    pub protocols: Vec<Protocol>,
    /// Bytes sent to it since netcore started.
    pub sent_bytes: u64,
    /// Bytes received from it since netcore started.
    pub received_bytes: u64,
    /// Whether the operator wants it to be connected whatever else is.
    pub protected: bool,
    /// What it did, good and bad: from -100 to 70, 0 for strangers; below -50 it is banned.
    pub score: i32,
    /// For how long it is refused for what it did, seconds.
    pub banned_s: Option<u64>,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerState {
    /// A connection stands.
    Connected,
    /// Remembered.
    Known,
    /// Cut off by the operator.
    Blocked,
}

/// Bytes of one plugin since netcore started: stream and call payload, local streams excluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginTraffic {
    /// Whose.
    pub plugin: PluginId,
    /// Sent to peers.
    pub sent_bytes: u64,
    /// Received from peers.
    pub received_bytes: u64,
    /// Streams open now, local ones included.
    pub streams: u64,
    /// Requests refused for lack of a grant since netcore started.
    pub refused: u64,
}

/// What netcore tells the supervisor by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminEvent {
    /// A launch opened its control session.
    SessionUp {
        /// Which.
        launch: u64,
    },
    /// A launch's control session ended.
    SessionDown {
        /// Which.
        launch: u64,
        /// Why, when netcore ended it.
        failure: Option<Failure>,
    },
    /// A launch said it is ready.
    Ready {
        /// Which.
        launch: u64,
    },
    /// A peer connected.
    PeerUp {
        /// Who.
        node: NodeId,
    },
    /// A peer's connection ended.
    PeerDown {
        /// Who.
        node: NodeId,
    },
}
