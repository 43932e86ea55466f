//! Attacks, each run with defences off and on.

use polypeer_engine::dht::Key;
use polypeer_ipc_protocol::ids::NodeId;
use serde_json::Value;

use super::quiet::{look_up, publish};
use super::{Progress, Scenario, census, founded, live, lookups};
use crate::event::Task;
use crate::node::Conduct;
use crate::queue::{MINUTE, Micros};
use crate::report::Figures;
use crate::world::{Settings, World};

/// Share of liars among all nodes.
const LIARS: f64 = 0.2;
/// Subnets (/24) of the attacker that surrounds one node.
const SUBNETS: u8 = 4;
/// Number of lookups of the victim.
const VICTIM_LOOKUPS: usize = 500;

/// Runs an attack with defences off and on. The figures are those with defences; the others are in `without_defences`.
pub(super) fn compare(scenario: Scenario, nodes: usize, seed: u64, progress: Progress<'_>) -> Figures {
    let (without, mut with) = std::thread::scope(|scope| {
        let without = scope.spawn(|| attack(scenario, nodes, seed, false, &mut |_, _| {}));
        let with = attack(scenario, nodes, seed, true, progress);
        (without.join().expect("the run without defences does not panic"), with)
    });
    let mut fields = serde_json::Map::new();
    fields.insert("lookup_success".to_owned(), Value::from(without.lookup_success));
    fields.insert("messages_per_lookup".to_owned(), Value::from(without.messages_per_lookup));
    fields.insert("table_bytes_mean".to_owned(), Value::from(without.table_bytes_mean));
    fields.extend(without.more);
    with.also("without_defences", Value::Object(fields));
    with
}

fn attack(scenario: Scenario, nodes: usize, seed: u64, defences: bool, progress: Progress<'_>) -> Figures {
    let mut settings = Settings::new(seed);
    settings.dht.defences = defences;
    let span = 5 * MINUTE;
    let mut world = match scenario {
        Scenario::Liars => among_liars(settings, nodes, progress),
        _ => founded(settings, nodes, progress),
    };
    if scenario != Scenario::Liars {
        publish(&mut world, progress);
    }
    match scenario {
        Scenario::Sybil => {
            world.sybils(nodes, 1, &[], span);
            live(&mut world, span + 3 * MINUTE, "flooding", progress);
        }
        Scenario::Eclipse => {
            surround(&mut world, span, progress);
        }
        Scenario::Spam => fill(&mut world, span, progress),
        _ => publish(&mut world, progress),
    }
    if scenario == Scenario::Eclipse {
        world.plan(Task::Victim, VICTIM_LOOKUPS, 4 * MINUTE);
    }
    look_up(&mut world, 4 * MINUTE, progress);
    let mut figures = lookups(&world.tally);
    census(&world, &mut figures);
    figures.also("attackers", world.attacker_count());
    figures.also("contacts_are_attackers", Value::from(world.share_of_attackers()));
    match scenario {
        Scenario::Eclipse => {
            let victims = &world.tally.victims;
            figures.lookup_success = victims.success();
            figures.also("others_found", Value::from(world.tally.lookups().success()));
            figures.also("subnets", u64::from(SUBNETS));
        }
        Scenario::Spam => {
            figures.lookup_success = world.tally.gets.success();
            figures.also("spam", world.tally.spam);
        }
        _ => {}
    }
    figures
}

/// Founds a network in which liars join along with honest nodes.
fn among_liars(settings: Settings, nodes: usize, progress: Progress<'_>) -> World {
    let mut world = World::new(settings);
    let span = super::founding(nodes);
    world.liars((nodes as f64 * LIARS) as usize, span);
    world.populate(nodes - (nodes as f64 * LIARS) as usize, span);
    live(&mut world, span + super::SETTLING, "founding", progress);
    world
}

/// Attackers choose ids around the victim's and wait; then the victim joins. They are four times as many as a lookup
/// returns.
fn surround(world: &mut World, span: Micros, progress: Progress<'_>) {
    const ATTACKERS: usize = 80;
    let id = NodeId(crate::world::seed(&mut world.rng));
    world.sybils(ATTACKERS, SUBNETS, &[Key::of_node(id)], span / 2);
    live(world, span, "surrounding", progress);
    let victim = world.spawn(true, Conduct::Honest, Some(id), None);
    world.victims = vec![victim];
    live(world, 3 * MINUTE, "joining", progress);
}

/// Attackers fill the stores of the nodes around one key; then honest nodes store records there.
fn fill(world: &mut World, span: Micros, progress: Progress<'_>) {
    const ATTACKERS: usize = 40;
    const PER_SECOND: u64 = 10;
    const RECORDS: usize = 100;
    let place = Key(crate::world::seed(&mut world.rng));
    world.forget_records();
    world.spammers(place, ATTACKERS, PER_SECOND, span);
    live(world, span + MINUTE, "spamming", progress);
    world.plan(Task::PutNear(place), RECORDS, MINUTE);
    live(world, 2 * MINUTE, "putting", progress);
}
