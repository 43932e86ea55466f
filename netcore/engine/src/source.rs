//! The sources of peers: name, pace and trust of each. Netcore's `discovery::sources` asks them. The book records which
//! sources named a node, [`crate::discovery::schedule`] decides when each is asked, and
//! [`crate::discovery::crosscheck`] limits what an unverified one can do.

use std::time::Duration;

/// How a node came to know of a peer; the most promising source first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The operator or a plugin named it: a ticket, an address in a request.
    Ticket,
    /// An announcement on the local network.
    Lan,
    /// The node itself named its address, on its link.
    Peer,
    /// The node dialed this one.
    Incoming,
    /// An address record, passed on by another peer.
    Exchange,
    /// An address record, found in the DHT.
    Dht,
    /// An address or a ticket in DNS.
    Dns,
    /// The built-in or the configured list.
    List,
    /// The BitTorrent Mainline DHT.
    Mainline,
    /// The store of an earlier run.
    Remembered,
}

/// How a node was introduced to this one; [`crate::discovery::crosscheck`] trusts it accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduction {
    /// The operator named it, or it is on the local network: verified.
    Trusted,
    /// It dialed this node, or is remembered: it vouches for itself.
    Itself,
    /// It answered at an address that was found without a node id, or with one for which nobody vouches.
    Seed,
    /// Another node named it: [`crate::discovery::crosscheck::CrossCheck::introduced`] knows which.
    Peer,
}

/// How often a source is asked, each with a jitter of a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Interval of a node with too few peers; doubles after each answer that named nobody.
    pub hungry: Duration,
    /// Interval of a node with enough peers.
    pub satisfied: Duration,
}

impl Source {
    /// The sources that can be asked for peers, in the order in which they are asked (docs/design.md, section 4).
    pub const ASKED: [Self; 7] =
        [Self::Remembered, Self::Lan, Self::Dns, Self::List, Self::Exchange, Self::Dht, Self::Mainline];

    /// Its name in `polypeer status` and `polypeer peers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Lan => "lan",
            Self::Peer => "peer",
            Self::Incoming => "incoming",
            Self::Exchange => "exchange",
            Self::Dht => "dht",
            Self::Dns => "dns",
            Self::List => "list",
            Self::Mainline => "mainline",
            Self::Remembered => "remembered",
        }
    }

    /// How often it is asked; `None` if it cannot be asked.
    pub fn pace(self) -> Option<Pace> {
        let (hungry, satisfied) = match self {
            Self::Ticket | Self::Peer | Self::Incoming => return None,
            // The peer manager redials them by itself; asking only counts them.
            Self::Remembered => (10, 600),
            // It runs by itself once begun; a question restarts it after a failure.
            Self::Lan => (15, 600),
            // The servers are other people's, and answers are cached for minutes anyway.
            Self::Dns => (15, 3600),
            Self::List => (15, 3600),
            // Peers answer once a minute.
            Self::Exchange => (15, 600),
            Self::Dht => (10, 900),
            // An announcement expires after about half an hour (BEP 5 leaves the time open).
            Self::Mainline => (60, 900),
        };
        Some(Pace { hungry: Duration::from_secs(hungry), satisfied: Duration::from_secs(satisfied) })
    }

    /// How it introduces a node that it names by id.
    pub fn introduction(self) -> Introduction {
        match self {
            Self::Ticket | Self::Lan | Self::List => Introduction::Trusted,
            Self::Incoming | Self::Remembered => Introduction::Itself,
            Self::Dns | Self::Mainline => Introduction::Seed,
            Self::Exchange | Self::Dht | Self::Peer => Introduction::Peer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_with_a_pace_are_those_that_are_asked() {
        let all = [Source::Ticket, Source::Peer, Source::Incoming].into_iter().chain(Source::ASKED);
        for source in all {
            assert_eq!(source.pace().is_some(), Source::ASKED.contains(&source), "{}", source.name());
        }
    }
}
