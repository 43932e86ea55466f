//! A short run of every target. `POLYPEER_FUZZ_SEED` sets the random seed, `POLYPEER_FUZZ_ROUNDS` multiplies the number
//! of inputs.

use polypeer_fuzz::{TARGETS, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_target_survives_its_seeds_and_thousands_of_random_inputs() {
    let seed = number("POLYPEER_FUZZ_SEED", 1);
    let factor = number("POLYPEER_FUZZ_ROUNDS", 1);
    println!("POLYPEER_FUZZ_SEED={seed}");
    let mut crashes = Vec::new();
    for target in TARGETS {
        let rounds = u32::try_from(u64::from(target.rounds) * factor).unwrap_or(u32::MAX);
        let started = std::time::Instant::now();
        if let Err(crash) = run::smoke(target, rounds, seed) {
            crashes.push(crash.to_string());
        }
        println!("{}: {:?}", target.name, started.elapsed());
    }
    assert!(crashes.is_empty(), "{}", crashes.join("\n"));
}

#[test]
fn target_names_are_unique_and_seeds_are_there() {
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{} has no seeds", target.name);
    }
}
