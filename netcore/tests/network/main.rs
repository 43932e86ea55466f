//! Fifty real network cores on this machine, started from one DNS seed: they find each other and each other's records,
//! go on without the seed and half of the others, and take back one that has nothing but its store.
//!
//! Every wait has a deadline, far beyond what it takes on an idle machine; the times are printed.

#![allow(unreachable_pub, dead_code, reason = "the harness serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/names.rs"]
mod names;
mod world;

use std::time::Instant;

use world::World;

const NODES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_processes_live_through_the_loss_of_their_seed_and_of_half() {
    let begun = Instant::now();
    let mut world = World::start(NODES).await;
    world.say(begun, "all processes run");
    world.all_connected().await;
    world.say(begun, "all are connected");
    world.put_records().await;
    world.every_record_is_found().await;
    world.say(begun, "every record is found");

    let begun = Instant::now();
    let survivors = world.kill_seed_and_half();
    world.say(begun, "the seed and half of the others are gone");
    world.all_connected().await;
    world.say(begun, "the others are connected");
    world.survivors_find_each_other(&survivors).await;
    world.say(begun, "they find each other and each other's records");

    let begun = Instant::now();
    let restarted = world.restart_from_store(survivors[0]).await;
    world.rejoined(restarted).await;
    world.say(begun, "one that has nothing but its store is back");
}
