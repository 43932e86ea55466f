//! Delivery among many nodes, under loss and churn.

use std::time::Duration;

use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::ids::Name;
use rand::RngExt;

use super::world::World;

fn report(world: &World, name: &str) -> (u64, u64, f64) {
    let (missed, all) = world.missed();
    let copies = world.traffic.pushes as f64 / world.deliveries() as f64;
    println!(
        "{name}: {missed} of {all} missed, {copies:.3} copies, {:.0} control bytes a delivery {:?}",
        world.traffic.control_bytes as f64 / world.deliveries() as f64,
        world.by_kind,
    );
    (missed, all, copies)
}

#[test]
fn under_loss_and_churn_every_subscriber_gets_every_message_about_once() {
    let mut world = World::new(7, 0.05);
    let topics: Vec<Name> = (0..4).map(|n| format!("topic/{n}").parse().unwrap()).collect();
    for _ in 0..60 {
        let node = world.add();
        for topic in &topics {
            if world.rng.random_bool(0.5) {
                world.subscribe(node, topic, Validation::Signature);
            }
        }
        world.run(Duration::from_millis(100));
    }
    world.run(Duration::from_secs(60));
    world.traffic = Default::default();
    world.by_kind.clear();
    // Half of sixty nodes per hour is one node every two minutes; this churn is seventeen times as fast.
    for second in 0..200 {
        if second % 7 == 0 {
            let gone = world.random();
            world.crash(gone);
            let node = world.add();
            for topic in &topics {
                if world.rng.random_bool(0.5) {
                    world.subscribe(node, topic, Validation::Signature);
                }
            }
        }
        let author = world.random();
        let topic = &topics[second % topics.len()];
        world.publish(author, topic, 1024);
        world.run(Duration::from_secs(1));
    }
    world.run(Duration::from_secs(60));
    let (missed, all, copies) = report(&world, "churn");
    assert!(all > 3_000, "{all} deliveries count");
    assert!(missed * 10_000 <= all, "{missed} of {all} missed");
    assert!(copies < 1.8, "{copies} copies of each");
}

#[test]
#[ignore = "for tuning: run it by name"]
fn tuning() {
    let get = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (nodes, every, seconds) = (get("NODES", 100), get("EVERY", 72), get("SECONDS", 400));
    let mut world = World::new(get("SEED", 7), 0.05);
    let topics: Vec<Name> = (0..get("TOPICS", 4)).map(|n| format!("topic/{n}").parse().unwrap()).collect();
    let join = |world: &mut World| {
        let node = world.add();
        for topic in &topics {
            if world.rng.random_bool(0.5) {
                world.subscribe(node, topic, Validation::Signature);
            }
        }
    };
    for _ in 0..nodes {
        join(&mut world);
        world.run(Duration::from_millis(50));
    }
    world.run(Duration::from_secs(60));
    world.traffic = Default::default();
    world.by_kind.clear();
    for second in 0..seconds {
        if second % every == 0 {
            let gone = world.random();
            world.crash(gone);
            join(&mut world);
        }
        let author = world.random();
        world.publish(author, &topics[second as usize % topics.len()], 1024);
        world.run(Duration::from_secs(1));
        if second == seconds / 2 {
            report(&world, "after half the time");
        }
    }
    world.run(Duration::from_secs(60));
    report(&world, "tuning");
    world.sum();
}
