//! Smoke runs: a target over its seeds, mutations of them and random bytes, all from one random seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use data_encoding::HEXLOWER;

use crate::Target;

/// Longest random input, bytes.
const LONGEST: usize = 4096;

/// Random numbers from a random seed (splitmix64, public domain).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }
}

/// An input on which a target panicked.
#[derive(Debug)]
pub struct Crash {
    pub target: &'static str,
    pub input: Vec<u8>,
}

impl std::fmt::Display for Crash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = HEXLOWER.encode(&self.input);
        write!(f, "target {} panicked; again with: polypeer-fuzz input {} {hex}", self.target, self.target)
    }
}

/// Runs `target` over its seeds and `rounds` more inputs derived from `seed`. Fails at the first crash.
pub fn smoke(target: &Target, rounds: u32, seed: u64) -> Result<(), Crash> {
    let seeds = (target.seeds)();
    for input in &seeds {
        feed(target, input)?;
    }
    let mut random = Random::new(seed);
    for _ in 0..rounds {
        let input = input(&mut random, &seeds);
        feed(target, &input)?;
    }
    Ok(())
}

/// Runs `target` on one input.
pub fn feed(target: &Target, input: &[u8]) -> Result<(), Crash> {
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    run.map_err(|_| Crash { target: target.name, input: input.to_vec() })
}

/// Random bytes, or a mutated seed.
fn input(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if seeds.is_empty() || random.below(4) == 0 {
        let length = [16, 256, LONGEST][random.below(3)];
        let length = random.below(length + 1);
        return random.bytes(length);
    }
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        mutate(&mut input, random, seeds);
    }
    input.truncate(64 << 10);
    input
}

fn mutate(input: &mut Vec<u8>, random: &mut Random, seeds: &[Vec<u8>]) {
    let at = random.below(input.len() + 1);
    match random.below(8) {
        0 => input.truncate(at),
        1 => drop(input.splice(at..at, [random.number() as u8])),
        2 => input.extend_from_slice(&seeds[random.below(seeds.len())]),
        3 if at < input.len() => input[at] = random.number() as u8,
        4 if at < input.len() => input[at] ^= 1 << random.below(8),
        5 if at < input.len() => drop(input.remove(at)),
        6 if at + 8 <= input.len() => {
            // Lengths and counts take eight bytes: the ends of their range reveal most faults.
            let number = [0, 1, u64::MAX, u64::MAX / 2, 1 << 32, 1 << 20][random.below(6)];
            input[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let part = other[from..].to_vec();
            input.truncate(at);
            input.extend(part);
        }
    }
}
