//! Scenarios: each builds a world, runs it and reports its figures.

mod attacks;
mod gossip;
mod partition;
mod quiet;

use std::str::FromStr;
use std::time::Instant;

use serde_json::Value;

use crate::measure::percentile;
use crate::queue::{MINUTE, Micros, SECOND};
use crate::report::Figures;
use crate::tally::Tally;
use crate::world::{Settings, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nodes join and stay; nodes, records and providers are looked up.
    Steady,
    /// Half of the nodes are replaced each hour.
    Churn,
    /// The network is cut in two and healed.
    Partition,
    /// A fifth of the nodes lie.
    Liars,
    /// As many attackers as nodes, from one subnet.
    Sybil,
    /// Attackers surround one node.
    Eclipse,
    /// Attackers send a flood of records.
    Spam,
    /// Messages are published to topics under churn and loss.
    Gossip,
}

impl Scenario {
    /// All scenarios, in the order of the documentation.
    pub const ALL: [Self; 8] =
        [Self::Steady, Self::Churn, Self::Partition, Self::Liars, Self::Sybil, Self::Eclipse, Self::Spam, Self::Gossip];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Churn => "churn",
            Self::Partition => "partition",
            Self::Liars => "liars",
            Self::Sybil => "sybil",
            Self::Eclipse => "eclipse",
            Self::Spam => "spam",
            Self::Gossip => "gossip",
        }
    }

    /// Runs the scenario, reporting to `progress`.
    pub fn run(self, nodes: usize, seed: u64, progress: Progress<'_>) -> Figures {
        let begun = Instant::now();
        let mut figures = match self {
            Self::Steady => quiet::steady(nodes, seed, progress),
            Self::Churn => quiet::churn(nodes, seed, progress),
            Self::Partition => partition::partition(nodes, seed, progress),
            Self::Liars | Self::Sybil | Self::Eclipse | Self::Spam => attacks::compare(self, nodes, seed, progress),
            Self::Gossip => gossip::gossip(nodes, seed, progress),
        };
        self.name().clone_into(&mut figures.scenario);
        figures.nodes = nodes as u64;
        figures.seed = seed;
        figures.wall_s = begun.elapsed().as_secs_f64();
        figures
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == text);
        found.ok_or_else(|| format!("there is no scenario {text:?}; there are {}", names()))
    }
}

/// Called with the present phase and the world, once in each simulated minute.
pub type Progress<'a> = &'a mut dyn FnMut(&str, &World);

/// Time in which `nodes` nodes are started: at most 50 per second.
fn founding(nodes: usize) -> Micros {
    (nodes as Micros * SECOND / 50).max(MINUTE)
}

/// Runs the world for `span`, reporting every simulated minute.
fn live(world: &mut World, span: Micros, what: &str, progress: Progress<'_>) {
    let end = world.time() + span;
    while world.time() < end {
        world.run_for(MINUTE.min(end - world.time()));
        progress(what, world);
    }
}

/// Time to settle after the last node has started.
const SETTLING: Micros = 4 * MINUTE;

/// Makes a network of `nodes` nodes that has settled.
fn founded(settings: Settings, nodes: usize, progress: Progress<'_>) -> World {
    let mut world = World::new(settings);
    let span = founding(nodes);
    world.populate(nodes, span);
    live(&mut world, span + SETTLING, "founding", progress);
    world
}

/// Figures of lookups and joins.
fn lookups(tally: &Tally) -> Figures {
    let all = tally.lookups();
    let mut figures = Figures {
        lookup_success: all.success(),
        hops_mean: all.hops(),
        messages_per_lookup: all.messages(),
        handshakes_per_lookup: all.handshakes(),
        bytes_per_lookup: all.bytes(),
        join_ms_p99: percentile(tally.joins_ms.clone(), 0.99),
        ..Figures::default()
    };
    figures.also("lookups", all.done);
    figures.also("lookups_void", all.void);
    figures.also("lookup_failures_mean", Value::from(all.failures()));
    figures.also("lookup_ms_p50", Value::from(all.took_ms(0.5)));
    figures.also("lookup_ms_p99", Value::from(all.took_ms(0.99)));
    figures.also("nodes_located", Value::from(tally.locates.success()));
    figures.also("records_found", Value::from(tally.gets.success()));
    figures.also("providers_found", Value::from(tally.providers.success()));
    figures.also("not_stored", tally.not_stored);
    figures.also("lies_noticed", tally.lies);
    figures.also("refused_by_quota", tally.refusals.get("quota").copied().unwrap_or(0));
    figures.also("joined", tally.joins_ms.len());
    figures
}

/// Adds the census of live nodes and the counters of events.
fn census(world: &World, figures: &mut Figures) {
    let census = world.census();
    figures.table_bytes_mean = census.table_bytes;
    figures.also("contacts_mean", Value::from(census.contacts));
    figures.also("links_mean", Value::from(census.links));
    figures.also("record_bytes_max", census.record_bytes_max);
    figures.also("not_joined", census.not_joined);
    figures.also("events", world.events());
    for (name, count) in &world.tally.events {
        figures.also(&format!("events_{name}"), *count);
    }
    figures.also("links_refused", world.tally.links_refused);
    figures.also("dials", world.tally.dials);
    figures.also("query_connections", world.tally.handshakes);
    for (name, count) in &world.tally.asked {
        figures.also(&format!("asked_{name}"), *count);
    }
    for (name, count) in &world.tally.refusals {
        figures.also(&format!("refused_{name}"), *count);
    }
    figures.also("full_out", world.tally.full_out);
    figures.also("full_in", world.tally.full_in);
}
