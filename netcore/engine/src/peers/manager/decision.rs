//! The decisions of a [`super::Manager`], as types.

use std::net::SocketAddr;

use polypeer_ipc_protocol::ids::NodeId;

use crate::source::Source;

/// What the manager asks its driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial a node, and report the end with [`super::Manager::dial_ended`].
    Dial {
        node: NodeId,
        /// Best first.
        addresses: Vec<SocketAddr>,
        /// The source of the best address.
        source: Source,
    },
    /// Disconnect a peer.
    Close { node: NodeId, why: CloseReason },
}

/// Why the manager disconnects a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// There are too many connections, and others are worth more.
    Crowded,
    /// The connection was unused for long.
    Unused,
    /// The peer is banned.
    Banned,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The operator has blocked the peer.
    Blocked,
    /// The peer is banned.
    Banned {
        /// Seconds until the ban ends.
        seconds: u64,
    },
    /// The limit on links with its host is reached.
    Host,
    /// The limit on links with its subnet is reached.
    Subnet,
    /// The node is full, and has no connection that is worth less.
    Full,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// By accident, or because the peer stopped: it is dialed again soon.
    Lost,
    /// One of both sides disconnected the other on purpose.
    Deliberate,
    /// The peer keeps a connection with another node of this node's identity instead ([`super::super::twins`]).
    Taken {
        /// How often it did so lately before.
        before: u32,
    },
}

macro_rules! tallies {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters of decisions; their names are those in `polypeer status --json`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Tallies { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Tallies {
            /// The counters that are not zero, by name.
            pub fn list(&self) -> impl Iterator<Item = (String, u64)> {
                let all = [$((stringify!($name), self.$name),)*];
                all.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count))
            }
        }
    };
}

tallies! {
    /// Connections refused because of a block.
    refused_blocked,
    /// Connections refused because of a ban.
    refused_banned,
    /// Connections refused because the limit per host is reached.
    refused_per_ip,
    /// Connections refused because the limit per subnet is reached.
    refused_per_subnet,
    /// Connections refused because the node is full.
    refused_high_water,
    /// Peers disconnected to make room for better ones.
    let_go_crowded,
    /// Peers disconnected because their connection was unused.
    let_go_unused,
    /// Bans imposed.
    banned,
}
