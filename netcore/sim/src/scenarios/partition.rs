//! The network is cut in two for a while, and healed.

use serde_json::Value;

use super::quiet::publish;
use super::{Told, census, founded, live, lookups};
use crate::event::Task;
use crate::queue::{MINUTE, Micros, SECOND};
use crate::report::Figures;
use crate::tally::Tally;
use crate::world::{Settings, World};

/// How long the two halves are apart.
const APART: Micros = 10 * MINUTE;
/// Lookups across the former cut in each step after it.
const LOOKUPS: usize = 200;
/// A step.
const STEP: Micros = 30 * SECOND;
/// Steps at most.
const STEPS: usize = 60;
/// The network is one again when this part of lookups across succeeds.
const WHOLE: f64 = 0.99;

/// Cut, apart, healed: when do lookups across the former cut succeed again, and how do all fare after that?
pub(super) fn partition(nodes: usize, seed: u64, told: Told<'_>) -> Figures {
    let mut world = founded(Settings::new(seed), nodes, told);
    publish(&mut world, told);
    world.cut(true);
    world.plan(Task::Locate, LOOKUPS, APART - MINUTE);
    live(&mut world, APART, "apart", told);
    let apart = std::mem::take(&mut world.tally);
    world.cut(false);
    let healed = world.time();
    let mut converged = None;
    let mut first = None;
    for _ in 0..STEPS {
        world.tally.across = crate::measure::Lookups::default();
        world.plan(Task::Across, LOOKUPS, STEP);
        live(&mut world, STEP, "healing", told);
        let success = world.tally.across.success().unwrap_or(0.0);
        first.get_or_insert(success);
        if success >= WHOLE {
            converged = Some((world.time() - healed) / SECOND);
            break;
        }
    }
    let joins = apart.joins_ms;
    world.tally = Tally { joins_ms: joins, ..Tally::default() };
    after(&mut world, told);
    let mut figures = lookups(&world.tally);
    figures.also("apart_s", APART / SECOND);
    figures.also("lookups_while_apart", Value::from(apart.locates.success()));
    figures.also("across_at_once", Value::from(first));
    figures.also("convergence_s", Value::from(converged));
    census(&world, &mut figures);
    figures
}

fn after(world: &mut World, told: Told<'_>) {
    super::quiet::look(world, 3 * MINUTE, told);
}
