//! What is counted while a world goes on.

use std::collections::BTreeMap;

use polypeer_engine::dht::{Ask, Refusal};

use crate::measure::{Deliveries, Lookups};
use crate::node::Machines;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of nodes.
    pub locates: Lookups,
    /// Of records.
    pub gets: Lookups,
    /// Of providers.
    pub providers: Lookups,
    /// Of nodes on the other side of a former cut.
    pub across: Lookups,
    /// Of an attack's victims.
    pub victims: Lookups,
    /// Records and providers that nobody took.
    pub not_stored: u64,
    /// Records and providers put.
    pub stored: u64,
    /// Gossip.
    pub talk: Deliveries,
    /// From start to having joined, milliseconds.
    pub joins_ms: Vec<u64>,
    /// Lies that machines noticed.
    pub lies: u64,
    /// Events by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Query connections made.
    pub handshakes: u64,
    /// Dials for links, and to prove addresses.
    pub dials: u64,
    /// Links that the other end had no room for.
    pub links_refused: u64,
    /// Bytes on the wire, all but gossip's.
    pub bytes: u64,
    /// Records that attackers put.
    pub spam: u64,
    /// Questions that were refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Questions sent, by what they ask.
    pub asked: BTreeMap<&'static str, u64>,
    /// Questions not asked as too many query connections were in use.
    pub full_out: u64,
    /// Questions not asked as the other node had too many query connections.
    pub full_in: u64,
}

impl Tally {
    /// A question is sent: for a lookup that is `measured`, or for upkeep, which is told by what it asks.
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

    /// A question was refused.
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

    /// A node left: its lookups do not count.
    pub(crate) fn left(&mut self, machines: &Machines) {
        self.locates.void += machines.lookups.len() as u64;
    }

    /// All lookups together.
    pub fn lookups(&self) -> Lookups {
        let mut all = self.locates.clone();
        all.add(&self.gets);
        all.add(&self.providers);
        all
    }
}
