//! What a [`super::Manager`] decides, as types.

use std::net::SocketAddr;

use polypeer_ipc_protocol::ids::NodeId;

use crate::source::Source;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial, and tell with [`super::Manager::dial_ended`] how it went.
    Dial {
        /// Whom.
        node: NodeId,
        /// Where, best first.
        addresses: Vec<SocketAddr>,
        /// Who knew.
        source: Source,
    },
    /// End the connection.
    Close {
        /// With whom.
        node: NodeId,
        /// Why.
        why: Parting,
    },
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parting {
    /// There are too many, and others are worth more.
    Crowded,
    /// Nobody used it.
    Unused,
    /// It did too much harm.
    Banned,
}

/// Why a connection is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The operator cut the peer off.
    Blocked,
    /// It did too much harm.
    Banned {
        /// For so long, seconds.
        seconds: u64,
    },
    /// Too many with its host.
    Host,
    /// Too many with its subnet.
    Subnet,
    /// The node is full of better ones.
    Full,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// By accident, or the peer stopped: it is worth trying again.
    Lost,
    /// One of both let the other go.
    LetGo,
}

macro_rules! tallies {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What was decided so often.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Tallies { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Tallies {
            /// All of them that are not zero, by name.
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
    /// Connections refused because there are too many with the same address.
    refused_per_ip,
    /// Connections refused because there are too many with the same subnet.
    refused_per_subnet,
    /// Connections refused because the node is full.
    refused_high_water,
    /// Connections let go for better ones.
    let_go_crowded,
    /// Connections let go because nobody used them.
    let_go_unused,
    /// Bans begun.
    banned,
}
