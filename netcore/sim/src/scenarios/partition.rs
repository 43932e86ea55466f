//! Partition scenario: the network is cut in two for a while and healed.

use serde_json::Value;

use super::quiet::publish;
use super::{Progress, census, founded, live, lookups};
use crate::event::Task;
use crate::queue::{MINUTE, Micros, SECOND};
use crate::report::Figures;
use crate::tally::Tally;
use crate::world::{Settings, World};

/// Time for which the two halves are apart.
const APART: Micros = 10 * MINUTE;
/// Lookups across the former partition in each step after it.
const LOOKUPS: usize = 200;
/// Length of a step.
const STEP: Micros = 30 * SECOND;
/// Steps after which the network counts as not healed.
const STEPS: usize = 60;
/// Share of lookups across that must succeed for the network to count as healed.
const WHOLE: f64 = 0.99;

/// Runs the scenario: measures when lookups across the former partition succeed again, and how all lookups fare after
/// that.
pub(super) fn partition(nodes: usize, seed: u64, progress: Progress<'_>) -> Figures {
    let mut world = founded(Settings::new(seed), nodes, progress);
    publish(&mut world, progress);
    world.cut(true);
    world.plan(Task::Locate, LOOKUPS, APART - MINUTE);
    live(&mut world, APART, "apart", progress);
    let apart = std::mem::take(&mut world.tally);
    world.cut(false);
    let healed = world.time();
    let mut converged = None;
    let mut first = None;
    for _ in 0..STEPS {
        world.tally.across = crate::measure::Lookups::default();
        world.plan(Task::Across, LOOKUPS, STEP);
        live(&mut world, STEP, "healing", progress);
        let success = world.tally.across.success().unwrap_or(0.0);
        first.get_or_insert(success);
        if success >= WHOLE {
            converged = Some((world.time() - healed) / SECOND);
            break;
        }
    }
    let joins = apart.joins_ms;
    world.tally = Tally { joins_ms: joins, ..Tally::default() };
    after(&mut world, progress);
    let mut figures = lookups(&world.tally);
    figures.also("apart_s", APART / SECOND);
    figures.also("lookups_while_apart", Value::from(apart.locates.success()));
    figures.also("across_at_once", Value::from(first));
    figures.also("convergence_s", Value::from(converged));
    census(&world, &mut figures);
    figures
}

fn after(world: &mut World, progress: Progress<'_>) {
    super::quiet::look_up(world, 3 * MINUTE, progress);
}
