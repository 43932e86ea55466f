//! What a plugin says on its control session.

use serde::{Deserialize, Serialize};

use super::opening::Target;
use crate::error::Failure;
use crate::ids::{Hash, Name, NodeId, Protocol};
use crate::payload::Payload;
use crate::record::SignedRecord;

#[cfg(doc)]
use super::event::Event;
#[cfg(doc)]
use super::response::Response;

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
    /// Turns [`Event::Network`] on or off; at the start it is off. On tells the reach and the addresses as they are.
    /// → [`Response::Done`]
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
    /// It is not passed on, and counts against its author, if it came from there.
    Reject,
}
