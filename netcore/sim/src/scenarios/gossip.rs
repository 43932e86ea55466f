//! Gossip scenario: messages of 1 KiB to many topics, while half of the nodes are replaced each hour and 5 % of all
//! messages are lost.

use polypeer_engine::gossip::GossipConfig;
use serde_json::Value;

use super::{Progress, census, founded, live, lookups};
use crate::event::Task;
use crate::measure::percentile;
use crate::net::Loss;
use crate::queue::{MINUTE, Micros, SECOND};
use crate::report::Figures;
use crate::world::Settings;

/// Share of messages lost.
const LOSS: f64 = 0.05;
/// Nodes for each topic; as each node has three, the mean topic has 75.
const NODES_PER_TOPIC: usize = 25;
/// Time for which messages are published.
const SPAN: Micros = 10 * MINUTE;
/// Messages published in each topic, on average.
const PER_TOPIC: usize = 10;

/// Runs the scenario.
pub(super) fn gossip(nodes: usize, seed: u64, progress: Progress<'_>) -> Figures {
    let mut settings = Settings::new(seed);
    settings.loss = Loss::Dropped(LOSS);
    settings.gossip = Some(GossipConfig::default());
    settings.topics = (nodes / NODES_PER_TOPIC).max(4);
    let topics = settings.topics;
    let mut world = founded(settings, nodes, progress);
    world.begin_churn();
    live(&mut world, 10 * MINUTE, "churning", progress);
    world.sweep_subscribers();
    world.tally.talk = crate::measure::Deliveries::default();
    world.plan(Task::Publish, topics * PER_TOPIC, SPAN);
    world.plan(Task::Locate, 1000, SPAN);
    live(&mut world, SPAN + 2 * MINUTE, "publishing", progress);
    let talk = &world.tally.talk;
    let mut figures = lookups(&world.tally);
    figures.gossip_delivery = talk.delivery();
    let first = talk.first.max(1) as f64;
    figures.gossip_payload_overhead = Some(talk.payloads as f64 / first);
    figures.gossip_control_bytes = Some(talk.control_bytes as f64 / first);
    figures.also("topics", topics);
    figures.also("published", talk.published);
    figures.also("deliveries_expected", talk.expected);
    figures.also("deliveries_missed", talk.expected - talk.delivered);
    let took = |part| percentile(talk.took_ms.iter().map(|took| u64::from(*took)).collect(), part);
    figures.also("delivery_ms_p50", Value::from(took(0.5)));
    figures.also("delivery_ms_p99", Value::from(took(0.99)));
    let seconds = ((SPAN + 2 * MINUTE) / SECOND) as f64;
    let nodes_alive = world.population().max(1) as f64;
    figures.also("control_bytes_per_node_second", talk.control_bytes as f64 / seconds / nodes_alive);
    census(&world, &mut figures);
    figures
}
