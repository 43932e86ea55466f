//! Checks of what a plugin's grants cover, and the words for a refusal. Pure; called for each request of a plugin and
//! for each stream or call that arrives for one.

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Grants, Origin, Scope};
use polypeer_ipc_protocol::ids::{Name, NodeId, Pattern, PluginId, Protocol};

/// Something that a plugin does under its grants. It is checked when it begins and at each later change of the grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// Listens for streams and calls of a protocol.
    Listen(Scope, Protocol),
    /// Serves a stream or call that a peer or another plugin opened.
    Serve(Origin, Protocol),
    /// Serves a stream or call that the operator of this node opened to a protocol served to peers.
    ServeOperator(Protocol),
    /// Has a stream or call that it opened to a peer.
    Dial(NodeId, Protocol),
    /// Has a stream or call that it opened to a plugin of this node.
    DialLocal(Protocol),
    /// Sends a datagram to a peer.
    SendDatagram(NodeId, Protocol),
    /// Receives the datagrams of a protocol.
    ReceiveDatagrams(Protocol),
    /// Publishes a message to a topic.
    Publish(Name),
    /// Is subscribed to a topic.
    Subscribe(Name),
    /// Puts or gets a record under a name, begins to provide the name, or finds its providers.
    Record(Name),
    /// Has a record in the DHT that the node republishes.
    Keep(Name),
    /// Provides a name.
    Provide(Name),
    /// Looks up the addresses of a peer.
    Find(NodeId),
    /// Watches the peers that its grants include.
    WatchPeers,
    /// Watches the network: this node, and the paths to the peers that its grants include.
    WatchNetwork,
}

impl Use {
    /// Whether the use lasts until the plugin or its session ends it. Streams, calls and requests end by themselves.
    pub fn is_standing(&self) -> bool {
        match self {
            Self::Listen(..)
            | Self::ReceiveDatagrams(_)
            | Self::Subscribe(_)
            | Self::Keep(_)
            | Self::Provide(_)
            | Self::WatchPeers
            | Self::WatchNetwork => true,
            Self::Serve(..)
            | Self::ServeOperator(_)
            | Self::Dial(..)
            | Self::DialLocal(_)
            | Self::SendDatagram(..)
            | Self::Publish(_)
            | Self::Record(_)
            | Self::Find(_) => false,
        }
    }

    /// Checks that `grants` of `plugin` cover the use. Fails with `not granted` or `peer not allowed`.
    pub fn check(&self, plugin: &PluginId, grants: &Grants) -> Result<(), Failure> {
        match self {
            Self::Listen(scope, protocol) => serve(plugin, grants, *scope, protocol),
            Self::ReceiveDatagrams(protocol) => serve(plugin, grants, Scope::Peers, protocol),
            Self::Serve(Origin::Local(_), protocol) => serve(plugin, grants, Scope::Local, protocol),
            Self::Serve(Origin::Peer(node), protocol) => {
                serve(plugin, grants, Scope::Peers, protocol)?;
                peer(plugin, grants, node)
            }
            Self::ServeOperator(protocol) => serve(plugin, grants, Scope::Peers, protocol),
            Self::Dial(node, protocol) | Self::SendDatagram(node, protocol) => {
                named(plugin, "dial", &grants.dial, protocol.as_str(), "dial")?;
                peer(plugin, grants, node)
            }
            Self::DialLocal(protocol) => named(plugin, "dial", &grants.dial, protocol.as_str(), "dial"),
            Self::Publish(topic) | Self::Subscribe(topic) => {
                named(plugin, "topics", &grants.topics, topic.as_str(), "use topic")
            }
            Self::Record(name) | Self::Keep(name) | Self::Provide(name) => {
                named(plugin, "dht", &grants.dht, name.as_str(), "use record name")
            }
            Self::Find(node) => peer(plugin, grants, node),
            // Each event about a peer is checked on its own.
            Self::WatchPeers | Self::WatchNetwork => Ok(()),
        }
    }
}

fn serve(plugin: &PluginId, grants: &Grants, scope: Scope, protocol: &Protocol) -> Result<(), Failure> {
    match scope {
        Scope::Peers => named(plugin, "serve", &grants.serve, protocol.as_str(), "serve"),
        Scope::Local => named(plugin, "serve_local", &grants.serve_local, protocol.as_str(), "serve_local"),
    }
}

fn named(plugin: &PluginId, grant: &str, patterns: &[Pattern], name: &str, asked: &str) -> Result<(), Failure> {
    if patterns.iter().any(|pattern| pattern.allows(name)) {
        return Ok(());
    }
    let has = match patterns {
        [] => "nothing".to_owned(),
        some => some.iter().take(8).map(Pattern::as_str).collect::<Vec<_>>().join(", "),
    };
    Err(Failure::new(
        ErrorCode::NotGranted,
        format!(
            "plugin {plugin} asked to {asked} {name}, its grant {grant:?} allows {has}; \
             see: `polypeer plugin grants {plugin}`"
        ),
    ))
}

fn peer(plugin: &PluginId, grants: &Grants, node: &NodeId) -> Result<(), Failure> {
    if grants.peers.allows(node) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::PeerNotAllowed,
        format!(
            "the grant \"peers\" of plugin {plugin} does not include {node}; see: `polypeer plugin grants {plugin}`"
        ),
    ))
}

/// The failure that a peer may see. A refusal for lack of a grant does not reveal the grants of this node's plugins.
pub fn told_to_peer(failure: &Failure) -> Failure {
    match ErrorCode::from_number(failure.code) {
        Some(ErrorCode::NotGranted) => Failure::from(ErrorCode::NotServed),
        Some(code @ ErrorCode::PeerNotAllowed) => Failure::new(code, "the other node's operator does not allow it"),
        _ => failure.clone(),
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::gateway::PeerScope;

    use super::*;

    fn grants() -> (PluginId, Grants) {
        let grants = Grants {
            serve: vec!["chat/*".parse().unwrap()],
            dial: vec!["chat/1".parse().unwrap()],
            serve_local: vec!["chat-control/1".parse().unwrap()],
            peers: PeerScope::List(vec![NodeId([1; 32])]),
            topics: vec!["chat/*".parse().unwrap()],
            dht: vec!["chat/profile".parse().unwrap()],
            ..Grants::default()
        };
        ("chat".parse().unwrap(), grants)
    }

    fn code(used: Use) -> Option<ErrorCode> {
        let (plugin, grants) = grants();
        used.check(&plugin, &grants).err().and_then(|failure| ErrorCode::from_number(failure.code))
    }

    #[test]
    fn each_use_needs_its_own_grant() {
        let protocol = |text: &str| text.parse::<Protocol>().unwrap();
        let (friend, stranger) = (NodeId([1; 32]), NodeId([2; 32]));
        assert_eq!(code(Use::Listen(Scope::Peers, protocol("chat/2"))), None);
        assert_eq!(code(Use::Listen(Scope::Local, protocol("chat/2"))), Some(ErrorCode::NotGranted));
        assert_eq!(code(Use::Listen(Scope::Local, protocol("chat-control/1"))), None);
        assert_eq!(code(Use::Listen(Scope::Peers, protocol("chat-control/1"))), Some(ErrorCode::NotGranted));
        assert_eq!(code(Use::Dial(friend, protocol("chat/1"))), None);
        assert_eq!(code(Use::Dial(friend, protocol("chat/2"))), Some(ErrorCode::NotGranted));
        assert_eq!(code(Use::Dial(stranger, protocol("chat/1"))), Some(ErrorCode::PeerNotAllowed));
        assert_eq!(code(Use::DialLocal(protocol("chat/1"))), None);
        assert_eq!(code(Use::Serve(Origin::Peer(friend), protocol("chat/2"))), None);
        assert_eq!(code(Use::Serve(Origin::Peer(stranger), protocol("chat/2"))), Some(ErrorCode::PeerNotAllowed));
        let name = |text: &str| text.parse::<Name>().unwrap();
        for used in [Use::Publish, Use::Subscribe] {
            assert_eq!(code(used(name("chat/room"))), None);
            assert_eq!(code(used(name("news"))), Some(ErrorCode::NotGranted));
        }
        for used in [Use::Record, Use::Keep, Use::Provide] {
            assert_eq!(code(used(name("chat/profile"))), None);
            assert_eq!(code(used(name("chat/room"))), Some(ErrorCode::NotGranted));
        }
        assert_eq!(code(Use::Find(friend)), None);
        assert_eq!(code(Use::Find(stranger)), Some(ErrorCode::PeerNotAllowed));
        let operator = Origin::Local("operator".parse().unwrap());
        assert_eq!(code(Use::Serve(operator.clone(), protocol("chat-control/1"))), None);
        assert_eq!(code(Use::Serve(operator, protocol("chat/1"))), Some(ErrorCode::NotGranted));
        assert_eq!(code(Use::ServeOperator(protocol("chat/1"))), None, "whatever the grant `peers` says");
        assert_eq!(code(Use::ServeOperator(protocol("chat-control/1"))), Some(ErrorCode::NotGranted));
    }

    #[test]
    fn a_refusal_names_the_grant_its_present_value_and_the_command() {
        let (plugin, grants) = grants();
        let used = Use::Dial(NodeId([1; 32]), "files/1".parse().unwrap());
        let failure = used.check(&plugin, &grants).unwrap_err();
        for part in ["chat", "files/1", "\"dial\"", "chat/1", "polypeer plugin grants chat"] {
            assert!(failure.message.contains(part), "{part:?} in {:?}", failure.message);
        }
        assert_eq!(told_to_peer(&failure), Failure::from(ErrorCode::NotServed));
    }
}
