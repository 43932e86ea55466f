//! Small runs of the scenarios: they are reproducible, and the network keeps its promises. `docs/scale.md` has figures
//! of large networks.

use polypeer_sim::report::Figures;
use polypeer_sim::scenarios::Scenario;
use serde_json::Value;

fn run(scenario: Scenario, nodes: usize, seed: u64) -> Figures {
    println!("{} with {nodes} nodes, seed {seed}", scenario.name());
    let figures = scenario.run(nodes, seed, &mut |_, _| {});
    println!("{}", figures.table());
    figures
}

/// The figures as JSON without the wall clock, which always differs.
fn replayable(figures: Figures) -> String {
    Figures { wall_s: 0.0, ..figures }.json()
}

fn at_least(value: Option<f64>, least: f64) -> bool {
    value.is_some_and(|value| value >= least)
}

#[test]
fn the_same_seed_gives_the_same_figures_and_another_one_others() {
    let first = replayable(run(Scenario::Gossip, 20, 7));
    assert_eq!(first, replayable(run(Scenario::Gossip, 20, 7)));
    assert_ne!(first, replayable(run(Scenario::Gossip, 20, 8)));
}

#[test]
fn everything_is_found_in_a_network_that_stays() {
    let figures = run(Scenario::Steady, 60, 1);
    assert!(at_least(figures.lookup_success, 0.999), "{:?}", figures.lookup_success);
    assert!(figures.join_ms_p99.is_some_and(|join| join < 60_000), "{:?}", figures.join_ms_p99);
    assert_eq!(figures.more["not_joined"], Value::from(0));
    assert!(figures.messages_per_lookup.is_some_and(|messages| messages > 1.0));
    assert!(figures.table_bytes_mean.is_some_and(|bytes| bytes > 1000.0));
}

#[test]
fn nearly_everything_is_found_while_half_of_the_nodes_are_replaced_each_hour() {
    let figures = run(Scenario::Churn, 40, 1);
    assert!(at_least(figures.lookup_success, 0.99), "{:?}", figures.lookup_success);
}

#[test]
fn a_fifth_of_liars_does_no_harm_with_the_measures_against_them() {
    let figures = run(Scenario::Liars, 60, 1);
    let without = figures.more["without_defences"]["lookup_success"].as_f64();
    assert!(without.is_some_and(|without| at_least(figures.lookup_success, without)), "{without:?} without");
    assert!(at_least(figures.lookup_success, 0.98), "{:?}", figures.lookup_success);
}

#[test]
fn a_cut_network_grows_together() {
    let figures = run(Scenario::Partition, 40, 1);
    assert!(figures.more["convergence_s"].is_number(), "{:?}", figures.more);
    assert!(at_least(figures.lookup_success, 0.99), "{:?}", figures.lookup_success);
}

#[test]
fn messages_reach_all_live_subscribers() {
    let figures = run(Scenario::Gossip, 60, 1);
    assert!(at_least(figures.gossip_delivery, 0.999), "{:?}", figures.gossip_delivery);
    assert!(
        figures.gossip_payload_overhead.is_some_and(|copies| copies <= 2.0),
        "{:?}",
        figures.gossip_payload_overhead
    );
    assert!(figures.gossip_control_bytes.is_some_and(|bytes| bytes > 0.0));
}
