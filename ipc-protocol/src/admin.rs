//! Messages of the admin session between the supervisor and the network core: an inherited socket pair, frames as on a
//! control session. Both processes are of the same release, so these messages may change with every version.
//!
//! Start: the supervisor sends [`AdminRequest::Configure`], [`AdminRequest::AddLaunch`] for each running launch, then
//! [`AdminRequest::Start`]; before that netcore accepts nothing, from the network or from a plugin. Netcore exits when
//! the session ends.

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::gateway::{Grants, Path};
use crate::ids::{NodeId, PluginId, Protocol, Secret};
use crate::settings::{DiscoverySettings, NetSettings};
use crate::ticket::Ticket;

/// A request of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminCommand {
    /// Returned in the response.
    pub id: u64,
    pub request: AdminRequest,
}

/// What the supervisor can ask for. `timeout_ms` limits the whole request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Adds a plugin launch. Its listening socket comes with this frame as one `SCM_RIGHTS` descriptor (Unix), attached
    /// to the frame's first byte. → `Done`
    AddLaunch {
        /// Number of the launch, never used twice by one supervisor.
        launch: u64,
        plugin: PluginId,
        /// What its `Hello` must show.
        token: Secret,
        grants: Grants,
    },
    /// Ends a launch: closes its listener, sessions and streams. → `Done`
    RemoveLaunch { launch: u64 },
    /// Replaces the grants of a plugin, for all its launches at once. → `Done`
    SetGrants { plugin: PluginId, grants: Grants },
    /// Opens the network and the gateway: all launches are known. → `Done`
    Start,
    /// → `Status`
    Status,
    /// → `Peers`
    Peers,
    /// → `Ticket`
    Ticket,
    /// Remembers a peer and connects to it. → `Pong`, once connected
    AddPeer { ticket: Ticket, timeout_ms: u32 },
    /// Measures a round trip, dialing if necessary. A ticket without addresses means those known. → `Pong`
    Ping { ticket: Ticket, timeout_ms: u32 },
    /// Disconnects a peer and refuses it until `Unblock`. → `Done`
    Block { node: NodeId },
    /// Undoes `Block`, and lifts a ban. → `Done`
    Unblock { node: NodeId },
    /// Disconnects a peer and deletes everything remembered of it, except a block. → `Done`
    Forget { node: NodeId },
    /// The traces of the latest attempts to reach a peer, and what they mean. → `Explanation`
    Explain { node: NodeId },
    /// Bytes by plugin since netcore started. → `Traffic`
    Traffic,
    /// Stops: refuses new work, gives streams `grace_ms` to end, exits. → `Done`, then the session ends
    Shutdown { grace_ms: u32 },
    /// Protects a peer: keeps it connected whatever happens to others; or ends that. → `Done`
    Protect { node: NodeId, protected: bool },
    /// The first request of a session, and sent only once: binds the sockets. A netcore that cannot use these settings
    /// says why in its log and exits. → `Done`
    Configure(Box<NetSettings>),
    /// Checks that netcore's thread, on which everything runs, is not stuck. → `Done`
    Heartbeat,
    /// Asks the plugin of a launch, on its control session, whether it is alive. → `Done`, once asked; its answer is
    /// [`AdminEvent::SessionAlive`]
    CheckSession { launch: u64 },
    /// Ends the control session of a launch that is being stopped, and refuses another; its streams go on. → `Done`,
    /// once the plugin was told
    EndSession { launch: u64 },
    /// Changes what netcore logs: a filter as its option `--log` takes it. → `Done`
    SetLog { filter: String },
    /// Replaces the nodes to begin with: `dns_seeds`, `builtin` and `list` of these settings; the others are not used.
    /// → `Done`
    SetSeeds(Box<DiscoverySettings>),
}

impl AdminRequest {
    /// Whether the supervisor passes this request on from the control socket as it is: the allow-list of what an
    /// operator's command may ask of netcore directly. What concerns launches and netcore's own life is the
    /// supervisor's alone.
    pub fn is_for_operators(&self) -> bool {
        match self {
            Self::Peers
            | Self::Ticket
            | Self::AddPeer { .. }
            | Self::Ping { .. }
            | Self::Block { .. }
            | Self::Unblock { .. }
            | Self::Forget { .. }
            | Self::Protect { .. } => true,
            Self::Configure(_)
            | Self::AddLaunch { .. }
            | Self::RemoveLaunch { .. }
            | Self::SetGrants { .. }
            | Self::Start
            | Self::Heartbeat
            | Self::CheckSession { .. }
            | Self::EndSession { .. }
            | Self::Shutdown { .. }
            | Self::SetLog { .. }
            | Self::SetSeeds(_)
            // Part of the supervisor's own documents.
            | Self::Status
            | Self::Explain { .. }
            | Self::Traffic => false,
        }
    }
}

/// A frame of netcore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminFrame {
    /// Answers the command of this id.
    Response {
        id: u64,
        response: AdminResponse,
    },
    Event(AdminEvent),
}

/// Answers to [`AdminRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminResponse {
    Failed(Failure),
    /// Success without a result.
    Done,
    Status(NetStatus),
    /// All peers: connected, known and blocked.
    Peers(Vec<PeerRecord>),
    /// This node's ticket.
    Ticket(Ticket),
    /// A peer answered.
    Pong {
        node: NodeId,
        /// Round trip, microseconds.
        rtt_us: u64,
    },
    /// Why a peer may not be reachable.
    Explanation {
        /// Most likely first.
        causes: Vec<Cause>,
        /// Raw trace, one line per attempt.
        trace: Vec<String>,
    },
    Traffic(Vec<PluginTraffic>),
}

/// A likely cause of a failed dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// The network core's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStatus {
    /// This node.
    pub node: NodeId,
    /// Bound addresses, `IP:PORT`.
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
    /// Errors that are counted instead of logged each time: name and count.
    pub counters: Vec<(String, u64)>,
    /// Conditions that the operator should know of: an unreadable peer store that was set aside, a busy port.
    pub warnings: Vec<String>,
    /// Latest first; a few dozen at most.
    pub offenders: Vec<Offender>,
}

/// A peer or address that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offender {
    /// Unknown if the connection was refused before the handshake ended.
    pub node: Option<NodeId>,
    /// Address of the latest offence.
    pub address: Option<String>,
    pub reason: String,
    /// Offences since netcore started.
    pub count: u64,
    /// Seconds since the latest one.
    pub ago_s: u64,
}

/// One discovery source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `remembered`, `lan`, …
    pub name: String,
    pub enabled: bool,
    /// `off`, `idle`, `asking`, `working` or `failing`.
    pub state: String,
    /// Seconds since it last found a peer.
    pub last_success_s: Option<u64>,
    /// Peers found since start.
    pub found: u64,
    /// Why it failed, wholly or in part.
    pub problem: Option<String>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    pub node: NodeId,
    pub state: PeerState,
    /// Present when connected.
    pub path: Option<Path>,
    /// The address in use, or the last one that worked.
    pub address: Option<String>,
    /// Smoothed round trip, microseconds, when connected.
    pub rtt_us: Option<u64>,
    /// Seconds since the connection was made, or since the peer was last seen.
    pub since_s: Option<u64>,
    /// Sources that named it.
    pub sources: Vec<String>,
    /// Whether it is a seed that was found without its node id and that no second source has named.
    pub unverified: bool,
    /// Protocols that it says it serves.
    pub protocols: Vec<Protocol>,
    /// Bytes sent to it since netcore started.
    pub sent_bytes: u64,
    /// Bytes received from it since netcore started.
    pub received_bytes: u64,
    /// Whether the operator protects it.
    pub protected: bool,
    /// -100 to 70, 0 for strangers; below -50 it is banned.
    pub score: i32,
    /// Seconds until its ban ends.
    pub banned_s: Option<u64>,
}

/// State of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerState {
    Connected,
    /// Remembered, not connected.
    Known,
    /// Blocked by the operator.
    Blocked,
}

/// Bytes of one plugin since netcore started: stream and call payload, local streams excluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginTraffic {
    pub plugin: PluginId,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Streams open now, local ones included.
    pub streams: u64,
    /// Requests refused for lack of a grant.
    pub refused: u64,
}

/// Events that netcore reports without a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminEvent {
    /// A launch opened its control session.
    SessionUp { launch: u64 },
    /// A launch's control session ended; `failure` says why if netcore ended it.
    SessionDown { launch: u64, failure: Option<Failure> },
    /// A launch reported that it is ready.
    Ready { launch: u64 },
    /// A peer connected.
    PeerUp { node: NodeId },
    /// A peer disconnected.
    PeerDown { node: NodeId },
    /// The plugin of a launch answered [`AdminRequest::CheckSession`].
    SessionAlive { launch: u64 },
}
