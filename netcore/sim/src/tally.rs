//! Counters of a run.

use std::collections::BTreeMap;

use polypeer_engine::dht::{Ask, Refusal};

use crate::measure::{Deliveries, Lookups};
use crate::node::Machines;

/// Counters of a run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub locates: Lookups,
    pub gets: Lookups,
    pub providers: Lookups,
    /// Lookups of nodes on the other side of a former partition.
    pub across: Lookups,
    /// Lookups of an attack's victims.
    pub victims: Lookups,
    /// Records and providers that no node stored.
    pub not_stored: u64,
    /// Records and providers stored by at least one node.
    pub stored: u64,
    /// Gossip messages and deliveries.
    pub talk: Deliveries,
    /// Time from start to having joined of each honest node, milliseconds.
    pub joins_ms: Vec<u64>,
    /// Misbehaviour that engines noticed.
    pub lies: u64,
    /// Events handled, by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Query connections opened.
    pub handshakes: u64,
    /// Dials for links and peer exchange, and probes of addresses.
    pub dials: u64,
    /// Links refused by the other end, which was full.
    pub links_refused: u64,
    /// Bytes on the wire, gossip's excepted.
    pub bytes: u64,
    /// Records that attackers sent.
    pub spam: u64,
    /// Requests refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Requests sent, by kind; those of measured lookups as `measured`.
    pub asked: BTreeMap<&'static str, u64>,
    /// Requests not sent because this node had too many query connections.
    pub full_out: u64,
    /// Requests not sent because the other node had too many query connections.
    pub full_in: u64,
}

impl Tally {
    /// Counts a request: under its kind, or as `measured` if a measured lookup sends it.
    pub(crate) fn asked(&mut self, ask: &Ask, measured: bool) {
        let name = match ask {
            _ if measured => "measured",
            Ask::Ping => "ping",
            Ask::FindNode { .. } => "find_node",
            Ask::Get { .. } => "get",
            Ask::Put { .. } => "put",
            Ask::Pass { .. } => "pass",
            Ask::Providers { .. } => "providers",
            Ask::Provide { .. } => "provide",
        };
        *self.asked.entry(name).or_default() += 1;
    }

    /// Counts a refused request.
    pub(crate) fn refused(&mut self, why: Refusal) {
        let name = match why {
            Refusal::NotServing => "not_serving",
            Refusal::Busy => "busy",
            Refusal::TooFar => "too_far",
            Refusal::Superseded => "superseded",
            Refusal::Quota => "quota",
            Refusal::Full => "full",
            Refusal::Invalid => "invalid",
        };
        *self.refusals.entry(name).or_default() += 1;
    }

    /// Counts a leaving node's measured lookups as void.
    pub(crate) fn left(&mut self, machines: &Machines) {
        self.locates.void += machines.lookups.len() as u64;
    }

    /// Sum of the lookups of nodes, records and providers.
    pub fn lookups(&self) -> Lookups {
        let mut all = self.locates.clone();
        all.add(&self.gets);
        all.add(&self.providers);
        all
    }
}
