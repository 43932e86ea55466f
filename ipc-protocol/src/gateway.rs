//! What a plugin and the network core say to each other. Enum tags are their order here: only ever append. A message
//! that needs a new field becomes a new variant.
//!
//! A plugin connects to its socket; the first frame, an [`Opening`], says what the connection is: a control session,
//! or a data connection that opens a stream or claims one that was announced. The answer is an [`OpeningReply`]. From
//! then on a control session carries [`ClientFrame`] and [`ServerFrame`]; a data connection carries data frames
//! ([`crate::frame`]).

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::list;
use crate::error::Failure;
use crate::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use crate::record::SignedRecord;
use crate::ticket::Ticket;

/// Opaque bytes. On the wire: a `u64` length and the bytes; in JSON: hex.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(pub bytes::Bytes);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&HEXLOWER.encode(&self.0))
        } else {
            serializer.serialize_newtype_struct("Payload", serde_bytes::Bytes::new(&self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Payload")]
        struct Raw(serde_bytes::ByteBuf);
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let bytes = HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)?;
            Ok(Self(bytes.into()))
        } else {
            Raw::deserialize(deserializer).map(|raw| Self(raw.0.into_vec().into()))
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// First frame of every connection to a gateway socket. `Hello` never changes, in any version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// Starts the control session of this launch; replaces an earlier one, which is told `superseded`.
    Hello {
        /// Versions the plugin speaks, best first; at most 32.
        #[serde(deserialize_with = "list")]
        versions: Vec<u32>,
        /// `POLYPEER_TOKEN`.
        token: Secret,
    },
    /// Opens a stream.
    Open {
        /// From `Welcome`.
        secret: Secret,
        /// Where to.
        target: Target,
        /// What is spoken on it.
        protocol: Protocol,
        /// How long finding, dialing and being accepted may take together; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Claims a stream announced by [`Event::Stream`].
    Accept {
        /// From `Welcome`.
        secret: Secret,
        /// The number in the announcement.
        stream: u64,
    },
}

/// Whom a stream or a call goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// A peer, found by what this node knows of it.
    Node(NodeId),
    /// A peer, with addresses to try beside those known.
    Ticket(Ticket),
    /// The plugin of this node that serves the protocol locally.
    Local,
}

/// Answer to an [`Opening`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpeningReply {
    /// No; the connection is closed after this.
    Refused(Failure),
    /// The control session stands.
    Welcome(Welcome),
    /// The stream is open: data frames follow in both directions.
    Opened {
        /// Who is at the other end.
        origin: Origin,
        /// What is spoken.
        protocol: Protocol,
    },
}

/// What a plugin learns at the start of its control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both now speak: the highest one both know.
    pub version: u32,
    /// This node.
    pub node: NodeId,
    /// The name this plugin was installed under.
    pub plugin: PluginId,
    /// What the operator allowed.
    pub grants: Grants,
    /// Opens data connections, for as long as this session is the launch's newest.
    pub secret: Secret,
}

/// What the operator allowed one plugin. Everything absent is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// Protocols it may serve to peers.
    #[serde(deserialize_with = "list")]
    pub serve: Vec<Pattern>,
    /// Protocols it may open, to peers and to plugins of this node.
    #[serde(deserialize_with = "list")]
    pub dial: Vec<Pattern>,
    /// Protocols it may serve to plugins of this node and the operator.
    #[serde(deserialize_with = "list")]
    pub serve_local: Vec<Pattern>,
    /// The peers it may deal with, in both directions.
    pub peers: PeerScope,
    /// Gossip topics.
    #[serde(deserialize_with = "list")]
    pub topics: Vec<Pattern>,
    /// Names of DHT records.
    #[serde(deserialize_with = "list")]
    pub dht: Vec<Pattern>,
    /// Key-based routing names.
    #[serde(deserialize_with = "list")]
    pub routes: Vec<Pattern>,
}

/// The peers a plugin may deal with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerScope {
    /// Only these. The default is a list of none.
    List(#[serde(deserialize_with = "list")] Vec<NodeId>),
    /// Every peer.
    Any,
}

impl Default for PeerScope {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl PeerScope {
    /// Whether the plugin may deal with `peer`.
    pub fn allows(&self, peer: &NodeId) -> bool {
        match self {
            Self::Any => true,
            Self::List(peers) => peers.contains(peer),
        }
    }
}

/// Who is at the other end of a stream or call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A peer, authenticated by its key.
    Peer(NodeId),
    /// A plugin of this node; the operator's commands are the plugin `operator`.
    Local(PluginId),
}

/// What a plugin sends on its control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// Asks for something; answered by exactly one [`ServerFrame::Response`] with this id, in any order.
    Request {
        /// Chosen by the plugin; not in use by another request of this session that is unanswered.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// Gives up on a request. It is still answered: with `cancelled`, or with its result if that was first.
    Cancel {
        /// Of the request.
        id: u64,
    },
    /// Answers [`Event::Call`].
    Answer {
        /// Of the call.
        call: u64,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// Declines [`Event::Call`].
    Decline {
        /// Of the call.
        call: u64,
        /// What the caller sees; codes of Polypeer's own become `refused`.
        failure: Failure,
    },
}

/// Who may reach a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Peers; needs the grant `serve`.
    Peers,
    /// Plugins of this node and the operator; needs the grant `serve_local`.
    Local,
}

/// How a listener wants to receive calls (request/response).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallMode {
    /// As streams: the payload, then the end; what is written back until the end is the reply.
    Streams,
    /// As [`Event::Call`] on the control session.
    Events,
}

/// What a plugin can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Serves a protocol until [`Request::Unlisten`] or the end of the session. Asking again changes `calls`.
    /// → [`Response::Done`]
    Listen {
        /// What is served.
        protocol: Protocol,
        /// To whom.
        scope: Scope,
        /// How calls arrive.
        calls: CallMode,
    },
    /// Stops serving; streams already claimed go on. → [`Response::Done`]
    Unlisten {
        /// What was served.
        protocol: Protocol,
        /// To whom.
        scope: Scope,
    },
    /// One message to a peer or local plugin and one back. → [`Response::Reply`]
    Call {
        /// Whom to ask.
        target: Target,
        /// What is spoken.
        protocol: Protocol,
        /// At most 64 KiB.
        payload: Payload,
        /// For all of it together; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Turns down an announced stream. → [`Response::Done`]
    RefuseStream {
        /// The number in the announcement.
        stream: u64,
        /// What the opener sees; codes of Polypeer's own become `refused`.
        failure: Failure,
    },
    /// Asks who is connected, as far as the grants let this plugin see. → [`Response::Peers`]
    Peers,
    /// Asks about this node. → [`Response::Node`]
    Node,
    /// Turns [`Event::PeerUp`] and [`Event::PeerDown`] on or off; at the start they are off. → [`Response::Done`]
    WatchPeers {
        /// Whether to send them.
        on: bool,
    },
    /// Says the plugin is ready to work (`health.ready = "notify"`). → [`Response::Done`]
    Ready,
    /// Asks whether netcore is there. → [`Response::Done`]
    Ping,
    /// Sends a message to all subscribers of a topic, signed by this node; needs no subscription. Grant `topics`.
    /// → [`Response::Published`]
    Publish {
        /// To whom.
        topic: Name,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// Receives a topic's messages as [`Event::Message`] until [`Request::Unsubscribe`] or the end of the session. Asking
    /// again changes `validation`. Grant `topics`. → [`Response::Done`]
    Subscribe {
        /// What.
        topic: Name,
        /// Who decides what is passed on.
        validation: Validation,
    },
    /// Ends [`Request::Subscribe`]. → [`Response::Done`]
    Unsubscribe {
        /// What.
        topic: Name,
    },
    /// Decides on an [`Event::Message`] of a topic with [`Validation::Plugin`]. → [`Response::Done`]
    Judge {
        /// Of which topic.
        topic: Name,
        /// Which.
        message: Hash,
        /// What becomes of it.
        verdict: Verdict,
    },
    /// Asks how a subscribed topic fares. → [`Response::Topic`]
    Topic {
        /// Which.
        topic: Name,
    },
    /// Puts a value into the DHT under a name and its own hash. Grant `dht`. → [`Response::Stored`]
    PutImmutable {
        /// Under which name.
        name: Name,
        /// At most 3,072 bytes.
        value: Payload,
        /// For all of it; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Finds what was put by [`Request::PutImmutable`]. Grant `dht`. → [`Response::Value`]
    GetImmutable {
        /// Under which name.
        name: Name,
        /// The hash in [`Response::Stored`].
        hash: Hash,
        /// For all of it; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Puts a value under this node's key and a name, signed by netcore, with a sequence number above all it gave that name
    /// before; netcore puts it again until it expires. Grant `dht`. → [`Response::Stored`]
    PutOwn {
        /// Under which name.
        name: Name,
        /// At most 3,072 bytes.
        value: Payload,
        /// How long it is good, seconds; at most and by default (0) a day.
        lifetime_s: u32,
        /// For all of it; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Puts a record that the plugin signed with a key of its own. Grant `dht`. → [`Response::Stored`]
    PutSigned {
        /// What.
        record: SignedRecord,
        /// For all of it; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Finds the newest record of a key under a name. Grant `dht`. → [`Response::Record`]
    GetSigned {
        /// Whose: a node's id or another key.
        key: NodeId,
        /// Under which name.
        name: Name,
        /// For all of it; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Says in the DHT that this node provides what the name stands for, again and again until
    /// [`Request::Unprovide`] or the end of the session. Grant `dht`. → [`Response::Stored`], after the first time
    Provide {
        /// What.
        name: Name,
        /// For the first time; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Ends [`Request::Provide`]. → [`Response::Done`]
    Unprovide {
        /// What.
        name: Name,
    },
    /// Finds nodes that provide what the name stands for. Grant `dht`. → [`Response::Providers`]
    FindProviders {
        /// What.
        name: Name,
        /// How many are enough, at most 64; 0 means 16.
        limit: u32,
        /// For all of it; 0 means 30 s. Those found by then are the answer.
        timeout_ms: u32,
    },
    /// Finds where a peer can be reached, by what it signed itself. The peer must be among those granted. → [`Response::Found`]
    FindPeer {
        /// Whom.
        node: NodeId,
        /// For all of it; 0 means 30 s.
        timeout_ms: u32,
    },
    /// Sends a datagram to a connected peer: it arrives once, or never. Grant `dial`. → [`Response::Done`], once it is queued
    SendDatagram {
        /// To whom.
        node: NodeId,
        /// What is spoken.
        protocol: Protocol,
        /// At most 1,024 bytes.
        payload: Payload,
    },
    /// Turns [`Event::Datagram`] of a protocol on or off. One session of a node has a protocol's datagrams. Grant `serve`.
    /// → [`Response::Done`]
    ReceiveDatagrams {
        /// What is spoken.
        protocol: Protocol,
        /// Whether to send them.
        on: bool,
    },
    /// Turns [`Event::Network`] on or off; at the start it is off. → [`Response::Done`]
    WatchNetwork {
        /// Whether to send them.
        on: bool,
    },
}

/// Who decides whether a topic's messages are passed on to other peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Validation {
    /// Nobody: a message whose signature is right is passed on at once.
    Signature,
    /// The plugin, by [`Request::Judge`], within 10 s of the event.
    Plugin,
}

/// What becomes of a message a plugin was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// It is passed on.
    Accept,
    /// It is not passed on; nobody is blamed. Also the verdict of a plugin that is silent.
    Ignore,
    /// It is not passed on, and counts against the peer that it came from.
    Reject,
}

/// What netcore sends on a control session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answers a request.
    Response {
        /// Of the request.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Tells something nobody asked for.
    Event(Event),
}

/// Answers to [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It did not work.
    Failed(Failure),
    /// It worked, and there is nothing more to say.
    Done,
    /// What the other side answered to a call.
    Reply {
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The peers this plugin may see.
    Peers(#[serde(deserialize_with = "list")] Vec<PeerInfo>),
    /// This node.
    Node(NodeInfo),
    /// A message is on its way.
    Published {
        /// Its name.
        message: Hash,
        /// Peers it was sent to at once; 0: nobody else is known to be subscribed yet, and it is kept a while for those
        /// who come.
        peers: u32,
    },
    /// How a topic fares.
    Topic(TopicInfo),
    /// A record is in the DHT.
    Stored {
        /// The hash of an immutable value; otherwise the record's place in the DHT.
        key: Hash,
        /// The sequence number of a signed record; otherwise 0.
        sequence: u64,
        /// Nodes that hold it.
        copies: u32,
    },
    /// An immutable value, if there is one.
    Value(Option<Payload>),
    /// A signed record, if there is one.
    Record(Option<SignedRecord>),
    /// Who provides; only those the plugin may deal with.
    Providers(#[serde(deserialize_with = "list")] Vec<NodeId>),
    /// Where a peer can be reached.
    Found(Ticket),
}

/// How a subscribed topic fares; counts are since the node subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// Subscribed peers this node exchanges the topic with.
    pub neighbours: u32,
    /// Messages delivered, each once.
    pub delivered: u64,
    /// Further copies received of messages known already.
    pub duplicates: u64,
    /// Messages dropped: a wrong signature, rejected, too old, no room.
    pub dropped: u64,
    /// Messages this node had missed and pulled from a neighbour.
    pub pulled: u64,
}

/// What a node can say of how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Not found out yet.
    Unknown,
    /// Peers have dialed an address of it back.
    Public,
    /// Peers tried and could not.
    Private,
}

/// What changed about the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkChange {
    /// Packets to a peer travel another way, or to another address of it.
    Path {
        /// To whom.
        node: NodeId,
        /// How.
        path: Path,
    },
    /// This node is reached otherwise.
    Reach(Reach),
    /// This node has other addresses.
    Addresses(Ticket),
}

/// A connected peer, as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Who.
    pub node: NodeId,
    /// How packets travel.
    pub path: Path,
    /// Smoothed round trip, microseconds.
    pub rtt_us: u64,
    /// How long the connection has stood, milliseconds.
    pub connected_ms: u64,
    /// What the peer says it serves.
    #[serde(deserialize_with = "list")]
    pub protocols: Vec<Protocol>,
}

/// How packets to a peer travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Path {
    /// Straight to its address.
    Direct,
    /// Through another peer.
    Relayed,
}

/// This node, as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Who.
    pub node: NodeId,
    /// Lets a stranger dial this node.
    pub ticket: Ticket,
    /// Version of the network core, semver.
    pub version: String,
    /// How long it has run, milliseconds.
    pub uptime_ms: u64,
}

/// What netcore tells a plugin by itself. An unknown event is skipped and counted, never an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Somebody opened a stream: claim it with [`Opening::Accept`] within 30 s or turn it down.
    Stream {
        /// Names it in `Accept` and `RefuseStream`.
        stream: u64,
        /// Who opened it.
        origin: Origin,
        /// What is spoken.
        protocol: Protocol,
    },
    /// An announced stream is gone before it was claimed.
    StreamGone {
        /// The number in the announcement.
        stream: u64,
        /// Why.
        failure: Failure,
    },
    /// Somebody calls: answer with [`ClientFrame::Answer`] or [`ClientFrame::Decline`].
    Call {
        /// Names it in the answer.
        call: u64,
        /// Who asks.
        origin: Origin,
        /// What is spoken.
        protocol: Protocol,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// The caller gave up or went away; an answer is ignored.
    CallGone {
        /// Of the call.
        call: u64,
    },
    /// A peer the plugin may see is connected.
    PeerUp(PeerInfo),
    /// A peer the plugin may see is not connected any more.
    PeerDown {
        /// Who.
        node: NodeId,
        /// Why.
        failure: Failure,
    },
    /// The operator changed the grants. Streams and listeners they no longer cover are ended.
    GrantsChanged(Grants),
    /// Events were dropped because the plugin did not read.
    Dropped {
        /// How many since the last time.
        count: u64,
    },
    /// The session ends after this, for this reason.
    Closing(Failure),
    /// A message of a subscribed topic; its signature is right.
    Message {
        /// Of which topic.
        topic: Name,
        /// Its name.
        message: Hash,
        /// Who published it.
        author: NodeId,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// A datagram of a protocol that the session receives.
    Datagram {
        /// Who sent it.
        node: NodeId,
        /// What is spoken.
        protocol: Protocol,
        /// At most 1,024 bytes.
        payload: Payload,
    },
    /// The network changed.
    Network(NetworkChange),
}
