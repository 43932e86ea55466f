//! Requests of a plugin.

use serde::{Deserialize, Serialize};

use super::info::Target;
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

/// How a listener receives calls (request/response).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallMode {
    /// As streams: the payload, then the end. What the listener writes until its end is the reply.
    Streams,
    /// As [`Event::Call`] on the control session.
    Events,
}

/// What a plugin can ask for. A `timeout_ms` covers the whole request; 0 means 30 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Serves a protocol until [`Request::Unlisten`] or the end of the session. A repeated request changes `calls`.
    /// → [`Response::Done`]
    Listen { protocol: Protocol, scope: Scope, calls: CallMode },
    /// Stops serving; claimed streams continue. → [`Response::Done`]
    Unlisten { protocol: Protocol, scope: Scope },
    /// Sends one message to a peer or local plugin and receives one reply. → [`Response::Reply`]
    Call {
        target: Target,
        protocol: Protocol,
        /// At most 64 KiB.
        payload: Payload,
        timeout_ms: u32,
    },
    /// Refuses an announced stream. → [`Response::Done`]
    RefuseStream {
        stream: u64,
        /// Reaches the opener; Polypeer's own codes become `refused`.
        failure: Failure,
    },
    /// Asks for the connected peers that the grants include. → [`Response::Peers`]
    Peers,
    /// Asks about this node. → [`Response::Node`]
    Node,
    /// Turns [`Event::PeerUp`] and [`Event::PeerDown`] on or off; a session starts with them off. → [`Response::Done`]
    WatchPeers { on: bool },
    /// Reports that the plugin is ready (`health.ready = "notify"`). → [`Response::Done`]
    Ready,
    /// Checks that netcore responds. → [`Response::Done`]
    Ping,
    /// Sends a message, signed by this node, to all subscribers of a topic; needs no subscription. Grant `topics`.
    /// → [`Response::Published`]
    Publish {
        topic: Name,
        /// At most 64 KiB.
        payload: Payload,
    },
    /// Receives a topic's messages as [`Event::Message`] until [`Request::Unsubscribe`] or the end of the session. A
    /// repeated request changes `validation`. Grant `topics`. → [`Response::Done`]
    Subscribe { topic: Name, validation: Validation },
    /// Ends [`Request::Subscribe`]. → [`Response::Done`]
    Unsubscribe { topic: Name },
    /// Gives the verdict on an [`Event::Message`] of a topic with [`Validation::Plugin`]. → [`Response::Done`]
    Judge { topic: Name, message: Hash, verdict: Verdict },
    /// Asks for the statistics of a subscribed topic. → [`Response::Topic`]
    Topic { topic: Name },
    /// Stores a value in the DHT under a name and the value's hash. Grant `dht`. → [`Response::Stored`]
    PutImmutable {
        name: Name,
        /// At most 3,072 bytes.
        value: Payload,
        timeout_ms: u32,
    },
    /// Finds a value that [`Request::PutImmutable`] stored. Grant `dht`. → [`Response::Value`]
    GetImmutable {
        name: Name,
        /// The hash in [`Response::Stored`].
        hash: Hash,
        timeout_ms: u32,
    },
    /// Stores a value under this node's key and a name. Netcore signs it, with a sequence number higher than all
    /// earlier ones of the name, and republishes it until it expires. Grant `dht`. → [`Response::Stored`]
    PutOwn {
        name: Name,
        /// At most 3,072 bytes.
        value: Payload,
        /// Seconds until it expires: at most 86,400; 0 means 86,400.
        lifetime_s: u32,
        timeout_ms: u32,
    },
    /// Stores a record that is already signed, with the plugin's own key or somebody else's. Grant `dht`.
    /// → [`Response::Stored`]
    PutSigned { record: SignedRecord, timeout_ms: u32 },
    /// Finds the newest record of a key under a name. Grant `dht`. → [`Response::Record`]
    GetSigned {
        /// A node id or any other Ed25519 public key.
        key: NodeId,
        name: Name,
        timeout_ms: u32,
    },
    /// Publishes in the DHT that this node provides what the name stands for, and republishes it until
    /// [`Request::Unprovide`] or the end of the session. Grant `dht`. → [`Response::Stored`], after the first
    /// publication
    Provide {
        name: Name,
        /// For the first publication.
        timeout_ms: u32,
    },
    /// Ends [`Request::Provide`]. → [`Response::Done`]
    Unprovide { name: Name },
    /// Finds nodes that provide what the name stands for. Grant `dht`. → [`Response::Providers`]
    FindProviders {
        name: Name,
        /// The number of providers that ends the search, at most 64; 0 means 16.
        limit: u32,
        /// After this time the answer contains the providers found by then.
        timeout_ms: u32,
    },
    /// Finds a peer's addresses in its own signed record. The grant `peers` must include it. → [`Response::Found`]
    FindPeer { node: NodeId, timeout_ms: u32 },
    /// Sends a datagram to a connected peer; it arrives once or never. Grant `dial`. → [`Response::Done`], once queued
    SendDatagram {
        node: NodeId,
        protocol: Protocol,
        /// At most 1,024 bytes.
        payload: Payload,
    },
    /// Turns [`Event::Datagram`] of a protocol on or off; one session of a node receives a protocol's datagrams. Grant
    /// `serve`. → [`Response::Done`]
    ReceiveDatagrams { protocol: Protocol, on: bool },
    /// Turns [`Event::Network`] on or off; a session starts with it off. With `on`, two events report the present
    /// reachability and addresses. → [`Response::Done`]
    WatchNetwork { on: bool },
    /// Keeps the session's data connections that are opened from now on: when a stream is over, its connection waits
    /// for the next opening. Netcore then also knows [`Opening::AcceptNext`](super::Opening::AcceptNext). →
    /// [`Response::Done`]
    KeepConnections,
}

/// Who validates a topic's messages before they are forwarded to other peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Validation {
    /// Netcore alone: it forwards a message with a valid signature at once.
    Signature,
    /// The plugin, with [`Request::Judge`] within 10 s of the event.
    Plugin,
}

/// A plugin's verdict on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Drop it without blame; also the verdict when the plugin gives none in time.
    Ignore,
    /// Drop it, and lower the author's score if the author sent it.
    Reject,
}
