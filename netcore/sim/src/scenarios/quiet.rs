//! No attack: a network that stays, and one half of which is replaced each hour.

use super::{Told, census, founded, live, lookups};
use crate::event::Task;
use crate::queue::{HOUR, MINUTE};
use crate::report::Figures;
use crate::world::{Settings, World};

/// Lookups of each kind that are measured: enough to tell 99.9 % of all of them.
fn lookups_of(nodes: usize) -> usize {
    (2 * nodes).clamp(300, 2000)
}

/// Records and providers there are to be found.
fn records_of(nodes: usize) -> usize {
    (nodes / 2).clamp(30, 500)
}

/// Nodes join and stay; then nodes, records and providers are looked up.
pub(super) fn steady(nodes: usize, seed: u64, told: Told<'_>) -> Figures {
    let mut world = founded(Settings::new(seed), nodes, told);
    publish(&mut world, told);
    look(&mut world, 4 * MINUTE, told);
    let mut figures = lookups(&world.tally);
    census(&world, &mut figures);
    figures
}

/// The same while half of the nodes are replaced each hour: for a quarter of an hour before anything is put, and then for
/// half an hour in which everything is looked up.
pub(super) fn churn(nodes: usize, seed: u64, told: Told<'_>) -> Figures {
    let mut world = founded(Settings::new(seed), nodes, told);
    world.begin_churn();
    live(&mut world, HOUR / 4, "churning", told);
    publish(&mut world, told);
    look(&mut world, HOUR / 2, told);
    let mut figures = lookups(&world.tally);
    census(&world, &mut figures);
    figures
}

/// Puts what is to be found.
pub(super) fn publish(world: &mut World, told: Told<'_>) {
    let count = records_of(world.population());
    world.plan(Task::Put, count, 2 * MINUTE);
    world.plan(Task::Provide, count, 2 * MINUTE);
    live(world, 3 * MINUTE, "publishing", told);
}

/// Looks everything up, over `span`.
pub(super) fn look(world: &mut World, span: crate::queue::Micros, told: Told<'_>) {
    let count = lookups_of(world.population());
    for task in [Task::Locate, Task::Get, Task::Providers] {
        world.plan(task, count, span);
    }
    live(world, span + MINUTE, "looking up", told);
}
