//! Scenarios without attacks: a network whose nodes stay, and one with churn.

use super::{Progress, census, founded, live, lookups};
use crate::event::Task;
use crate::queue::{HOUR, MINUTE};
use crate::report::Figures;
use crate::world::{Settings, World};

/// Measured lookups of each kind: enough to tell 99.9 % from 100 %.
fn lookups_of(nodes: usize) -> usize {
    (2 * nodes).clamp(300, 2000)
}

/// Number of records and of providers that nodes store.
fn records_of(nodes: usize) -> usize {
    (nodes / 2).clamp(30, 500)
}

/// Runs the steady scenario: nodes join and stay; then nodes, records and providers are looked up.
pub(super) fn steady(nodes: usize, seed: u64, progress: Progress<'_>) -> Figures {
    let mut world = founded(Settings::new(seed), nodes, progress);
    publish(&mut world, progress);
    look_up(&mut world, 4 * MINUTE, progress);
    let mut figures = lookups(&world.tally);
    census(&world, &mut figures);
    figures
}

/// Runs the churn scenario: half of the nodes are replaced each hour, for a quarter of an hour before anything is
/// stored, and for half an hour of lookups.
pub(super) fn churn(nodes: usize, seed: u64, progress: Progress<'_>) -> Figures {
    let mut world = founded(Settings::new(seed), nodes, progress);
    world.begin_churn();
    live(&mut world, HOUR / 4, "churning", progress);
    publish(&mut world, progress);
    look_up(&mut world, HOUR / 2, progress);
    let mut figures = lookups(&world.tally);
    census(&world, &mut figures);
    figures
}

/// Stores the records and providers to be looked up.
pub(super) fn publish(world: &mut World, progress: Progress<'_>) {
    let count = records_of(world.population());
    world.plan(Task::Put, count, 2 * MINUTE);
    world.plan(Task::Provide, count, 2 * MINUTE);
    live(world, 3 * MINUTE, "publishing", progress);
}

/// Looks up nodes, records and providers, over `span`.
pub(super) fn look_up(world: &mut World, span: crate::queue::Micros, progress: Progress<'_>) {
    let count = lookups_of(world.population());
    for task in [Task::Locate, Task::Get, Task::Providers] {
        world.plan(task, count, span);
    }
    live(world, span + MINUTE, "looking up", progress);
}
