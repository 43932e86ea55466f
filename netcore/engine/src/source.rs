//! Sources of peers: all that is declared of each one, except how it is asked, which is netcore's `discovery::sources`.
//! The book records which sources named a node, [`crate::discovery::schedule`] says which one is asked when, and
//! [`crate::discovery::crosscheck`] how far what it names is believed.

use std::time::Duration;

/// How a node came to know of a peer; the most promising source first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The operator or a plugin named it: a ticket, an address in a request.
    Ticket,
    /// The local network.
    Lan,
    /// The node told its address itself.
    Peer,
    /// The node dialed this one.
    Incoming,
    /// An address record, told by another peer.
    Exchange,
    /// An address record, found in the DHT.
    Dht,
    /// An address or a ticket in the domain name system.
    Dns,
    /// The built-in or the configured list.
    List,
    /// The BitTorrent Mainline DHT.
    Mainline,
    /// The store of an earlier run.
    Remembered,
}

/// How a node was introduced to this one, by which [`crate::discovery::crosscheck`] judges its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduction {
    /// The operator named it, or it is on the local network: verified.
    Trusted,
    /// It dialed this node, or is known from before: a source of its own.
    Itself,
    /// It answered at an address that was found without a node id, or with one that nobody vouches for.
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
    /// The sources that can be asked for peers, in the order in which they are (docs/design.md, section 4).
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

    /// How often it is asked; nothing for what cannot be asked.
    pub fn pace(self) -> Option<Pace> {
        let (hungry, satisfied) = match self {
            Self::Ticket | Self::Peer | Self::Incoming => return None,
            // The peer manager redials them by itself; asking only counts them.
            Self::Remembered => (10, 600),
            // It goes on by itself once begun; asking again restarts it after a failure.
            Self::Lan => (15, 600),
            // Other people's servers, and answers that are cached for minutes anyway.
            Self::Dns => (15, 3600),
            Self::List => (15, 3600),
            // Peers answer once a minute.
            Self::Exchange => (15, 600),
            Self::Dht => (10, 900),
            // An announcement expires after half an hour (BEP 5 leaves the time open; nodes keep to about that).
            Self::Mainline => (60, 900),
        };
        Some(Pace { hungry: Duration::from_secs(hungry), satisfied: Duration::from_secs(satisfied) })
    }

    /// How it introduces a node whose id it told.
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
