//! The schedule of the sources: which one is asked when. Pure: time is an argument, randomness comes from a random
//! seed. Netcore's driver asks the sources in a node, the simulator in its world.
//!
//! A node with too few peers asks one source after the other, in the order of [`Source::ASKED`]. It asks the next one
//! soon after the previous one has answered, if there are still too few peers. Each source is then asked again after a
//! wait, which grows each time the source names nobody. A node with enough peers asks each source rarely.
//!
//! ```text
//!  start ──► poll ──► Some(source): ask it ──► answered(source, named or problem) ──┐
//!    ▲                                                                              │
//!    └────── peers(connected) · next_timeout ◄──────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::now::Now;
use crate::source::{Pace, Source};

/// Pause after an answer, for the dials it led to, before the next source is asked.
const SETTLE: Duration = Duration::from_millis(500);
/// Time after which a source without an answer no longer delays the next one.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time after which a source without an answer has failed, whatever its driver waits for.
const GIVE_UP: Duration = Duration::from_secs(120);
/// Longest interval of a node with too few peers: asking costs a few packets, and a network that comes back is found
/// soon.
const LONGEST: Duration = Duration::from_secs(300);
/// Most characters of a problem that are kept.
const MAX_PROBLEM: usize = 300;

/// Configuration of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// Sources that are on.
    pub enabled: Vec<Source>,
    /// Low watermark: with fewer peers the node looks for more.
    pub low: usize,
}

/// State of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// Switched off.
    Off,
    /// Waits for its turn; the last time, if any, it named nobody.
    Idle,
    /// Its answer is pending.
    Asking,
    /// It named somebody the last time.
    Working,
    /// It could not be asked, or its answer was useless; the problem says why.
    Failing,
}

impl SourceState {
    /// The word in `polypeer status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Idle => "idle",
            Self::Asking => "asking",
            Self::Working => "working",
            Self::Failing => "failing",
        }
    }
}

/// A source as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    pub source: Source,
    pub state: SourceState,
    /// Candidates named since start; not all of them answer a dial.
    pub named: u64,
    /// When it last named one.
    pub last: Option<Instant>,
    /// Why it failed, wholly or in part.
    pub problem: Option<String>,
}

/// One source that is on.
#[derive(Debug)]
struct Turn {
    source: Source,
    pace: Pace,
    due: Instant,
    asked: Option<Instant>,
    is_asking: bool,
    /// Consecutive answers that named nobody.
    fruitless: u32,
    named: u64,
    last: Option<Instant>,
    brought: bool,
    problem: Option<String>,
}

impl Turn {
    /// That of a source which is due; `None` for one that cannot be asked.
    fn new(source: Source, now: Now) -> Option<Self> {
        Some(Self {
            source,
            pace: source.pace()?,
            due: now.at,
            asked: None,
            is_asking: false,
            fruitless: 0,
            named: 0,
            last: None,
            brought: false,
            problem: None,
        })
    }
}

/// The schedule of one node.
#[derive(Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    /// In the order of [`Source::ASKED`].
    turns: Vec<Turn>,
    connected: usize,
    /// No source is asked before this moment.
    gate: Instant,
    random: StdRng,
}

impl Schedule {
    /// The schedule of a node without peers that starts at `now`.
    pub fn new(config: ScheduleConfig, now: Now, seed: [u8; 32]) -> Self {
        let on = Source::ASKED.into_iter().filter(|source| config.enabled.contains(source));
        let turns = on.filter_map(|source| Turn::new(source, now)).collect();
        Self { config, turns, connected: 0, gate: now.at, random: StdRng::from_seed(seed) }
    }

    /// Sets the number of connected peers. A node that falls below the low watermark asks all sources that may be
    /// asked.
    pub fn peers(&mut self, now: Now, connected: usize) {
        let was_hungry = self.is_hungry();
        self.connected = connected;
        if self.is_hungry() && !was_hungry {
            for index in 0..self.turns.len() {
                let wait = self.wait(index);
                let turn = &mut self.turns[index];
                let due = turn.asked.map_or(now.at, |asked| asked + wait);
                turn.due = turn.due.min(due.max(now.at));
            }
        }
    }

    /// Brings the turn of a source forward, if there are too few peers: there is something new to ask it.
    pub fn hasten(&mut self, now: Now, source: Source) {
        let is_hungry = self.is_hungry();
        let wait = SETTLE.mul_f64(self.random.random_range(0.5..1.5));
        if let Some(turn) = self.turn(source).filter(|turn| is_hungry && !turn.is_asking) {
            turn.due = turn.due.min(now.at + wait);
        }
    }

    /// Makes every source due: the network changed, or the machine was asleep, so what failed may work now.
    pub fn start_over(&mut self, now: Now) {
        self.gate = now.at;
        for turn in &mut self.turns {
            turn.fruitless = 0;
            turn.due = now.at;
        }
    }

    /// Begins anew with a source whose settings have changed: it is due, or off. An answer that is pending is dropped.
    pub fn renew(&mut self, now: Now, source: Source, is_on: bool) {
        self.turns.retain(|turn| turn.source != source);
        self.turns.extend(Turn::new(source, now).filter(|_| is_on));
        self.turns.sort_by_key(|turn| Source::ASKED.iter().position(|source| *source == turn.source));
    }

    /// Counts candidates that a source named without being asked, as the local network does.
    pub fn named(&mut self, now: Now, source: Source, count: u64) {
        if let Some(turn) = self.turn(source).filter(|_| count > 0) {
            turn.named += count;
            turn.last = Some(now.at);
            turn.brought = true;
            turn.problem = None;
        }
    }

    /// Takes the answer of a source: the number of candidates it named, or why it failed. Further answers to the same
    /// question are dropped.
    pub fn answered(&mut self, now: Now, source: Source, answer: Result<u64, String>) {
        let Some(index) = self.turns.iter().position(|turn| turn.source == source && turn.is_asking) else { return };
        let turn = &mut self.turns[index];
        turn.is_asking = false;
        turn.brought = false;
        turn.problem = None;
        match answer {
            Ok(0) => turn.fruitless += 1,
            Ok(count) => {
                turn.fruitless = 0;
                self.named(now, source, count);
            }
            Err(problem) => {
                turn.fruitless += 1;
                turn.problem = Some(problem.chars().take(MAX_PROBLEM).collect());
            }
        }
        let wait = self.wait(index);
        self.turns[index].due = now.at + wait;
        self.gate = self.gate.min(now.at + SETTLE);
    }

    /// Sets or clears the problem of a source: one that runs on by itself, or whose answer was incomplete.
    pub fn problem(&mut self, source: Source, problem: Option<String>) {
        if let Some(turn) = self.turn(source) {
            turn.problem = problem.map(|text| text.chars().take(MAX_PROBLEM).collect());
        }
    }

    /// The next source to ask now; call it again until there is none.
    pub fn poll(&mut self, now: Now) -> Option<Source> {
        self.give_up(now);
        if self.gate > now.at {
            return None;
        }
        // The one that has been due for longest; at the start all are, and the first one is taken.
        let due = self.turns.iter_mut().filter(|turn| !turn.is_asking && turn.due <= now.at);
        let next = due.min_by_key(|turn| turn.due)?;
        next.is_asking = true;
        next.asked = Some(now.at);
        self.gate = now.at + PATIENCE;
        Some(next.source)
    }

    /// When to poll again if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        let at = |turn: &Turn| match turn.asked.filter(|_| turn.is_asking) {
            Some(asked) => asked + GIVE_UP,
            None => turn.due.max(self.gate),
        };
        self.turns.iter().map(at).min()
    }

    /// Whether there are too few peers.
    pub fn is_hungry(&self) -> bool {
        self.connected < self.config.low
    }

    /// Every source, those that are off included, in order.
    pub fn report(&self) -> Vec<SourceReport> {
        let report = |source| match self.turns.iter().find(|turn| turn.source == source) {
            None => SourceReport { source, state: SourceState::Off, named: 0, last: None, problem: None },
            Some(turn) => SourceReport {
                source,
                state: match (&turn.problem, turn.is_asking, turn.brought) {
                    (_, true, _) => SourceState::Asking,
                    (_, _, true) => SourceState::Working,
                    (Some(_), _, false) => SourceState::Failing,
                    (None, _, false) => SourceState::Idle,
                },
                named: turn.named,
                last: turn.last,
                problem: turn.problem.clone(),
            },
        };
        Source::ASKED.into_iter().map(report).collect()
    }

    fn turn(&mut self, source: Source) -> Option<&mut Turn> {
        self.turns.iter_mut().find(|turn| turn.source == source)
    }

    fn give_up(&mut self, now: Now) {
        let late = |turn: &&Turn| turn.is_asking && turn.asked.is_some_and(|asked| asked + GIVE_UP <= now.at);
        let late: Vec<Source> = self.turns.iter().filter(late).map(|turn| turn.source).collect();
        for source in late {
            self.answered(now, source, Err(format!("no answer within {} s", GIVE_UP.as_secs())));
        }
    }

    /// Interval from the answer of a source to its next turn, with a jitter of a quarter either way, so that nodes that
    /// were started together do not ask together.
    fn wait(&mut self, index: usize) -> Duration {
        let jitter = self.random.random_range(0.75..1.25);
        let turn = &self.turns[index];
        let pace = turn.pace;
        let wait = if self.is_hungry() {
            pace.hungry.saturating_mul(1 << turn.fruitless.min(8)).min(LONGEST.max(pace.hungry))
        } else {
            pace.satisfied
        };
        wait.mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests;
