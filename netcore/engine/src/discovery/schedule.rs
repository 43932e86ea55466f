//! Which source is asked when. Pure: time is given, randomness comes from a seed; the driver does the asking in a
//! node, the simulator in its world.
//!
//! A node with too few peers asks one source after the other, in the order of [`Way`]: the next one soon after the former
//! has ended and did not bring enough. Each source then waits, longer every time it brought nothing, and takes its turn
//! again. A node with enough peers asks each of them rarely.
//!
//! ```text
//!  start ──► poll ──► Some(way): ask it ──► answered(way, found or problem) ──┐
//!    ▲                                                                        │
//!    └────── peers(connected) · next_timeout ◄────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::now::Now;
use crate::peers::book;

/// After an answer: time for the dials it led to, before the next source is asked.
const SETTLE: Duration = Duration::from_millis(500);
/// A source that has not answered after this long does not hold up the next one.
const PATIENCE: Duration = Duration::from_secs(3);
/// A source that has not answered after this long has failed, whatever its driver waits for.
const GIVE_UP: Duration = Duration::from_secs(120);
/// Longest wait of a node with too few peers: it costs a few packets, and a network that comes back is found in time.
const LONGEST: Duration = Duration::from_secs(300);
/// Characters of a problem that are kept.
const MAX_PROBLEM: usize = 300;

/// A way to find peers; the order is that in which they are tried (docs/design.md, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Peers known from before.
    Remembered,
    /// The local network.
    Lan,
    /// DNS seeds.
    Dns,
    /// The built-in and the configured list.
    List,
    /// What connected peers tell.
    Exchange,
    /// Our DHT.
    Dht,
    /// The BitTorrent Mainline DHT.
    Mainline,
}

impl Way {
    /// All, in order.
    pub const ALL: [Self; 7] =
        [Self::Remembered, Self::Lan, Self::Dns, Self::List, Self::Exchange, Self::Dht, Self::Mainline];

    /// The name in `config.toml` and `polypeer status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Remembered => "remembered",
            Self::Lan => "lan",
            Self::Dns => "dns",
            Self::List => "list",
            Self::Exchange => "exchange",
            Self::Dht => "dht",
            Self::Mainline => "mainline",
        }
    }

    fn pace(self) -> Pace {
        let (hungry, satisfied) = match self {
            // They redial by themselves; this only looks at how they do.
            Self::Remembered => (10, 600),
            // It goes on by itself once begun; asking again begins it anew if it failed.
            Self::Lan => (15, 600),
            // Somebody else's servers, and answers that are cached for minutes anyway.
            Self::Dns => (15, 3600),
            Self::List => (15, 3600),
            // Peers answer once a minute.
            Self::Exchange => (15, 600),
            Self::Dht => (10, 900),
            // An announcement is forgotten after half an hour (BEP 5 leaves the time open; nodes keep to about that).
            Self::Mainline => (60, 900),
        };
        Pace { hungry: Duration::from_secs(hungry), satisfied: Duration::from_secs(satisfied) }
    }

    /// What the peer book calls it.
    pub fn source(self) -> book::Source {
        match self {
            Self::Remembered => book::Source::Remembered,
            Self::Lan => book::Source::Lan,
            Self::Dns => book::Source::Dns,
            Self::List => book::Source::List,
            Self::Exchange => book::Source::Exchange,
            Self::Dht => book::Source::Dht,
            Self::Mainline => book::Source::Mainline,
        }
    }
}

/// How often one is asked.
struct Pace {
    /// With too few peers, after an answer that brought some; doubles with each one that did not.
    hungry: Duration,
    /// With enough.
    satisfied: Duration,
}

/// What the schedule is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// The sources that are on.
    pub enabled: Vec<Way>,
    /// Peers below which a node looks for more.
    pub low: usize,
}

/// Where a source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// Switched off.
    Off,
    /// Not asked at the moment; the last time, if any, it found nobody.
    Idle,
    /// Being asked.
    Asking,
    /// It found somebody when it was asked last.
    Working,
    /// It could not be asked, or nothing came of it: the problem says why.
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

/// One source, as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// Which.
    pub way: Way,
    /// Where it stands.
    pub state: SourceState,
    /// How many candidates it named since start; not all of them are there.
    pub named: u64,
    /// When it last named one.
    pub last: Option<Instant>,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
}

#[derive(Debug)]
struct Source {
    way: Way,
    due: Instant,
    asked: Option<Instant>,
    is_asking: bool,
    /// Answers in a row without anybody.
    fruitless: u32,
    named: u64,
    last: Option<Instant>,
    brought: bool,
    problem: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    /// Those that are on, in order.
    sources: Vec<Source>,
    connected: usize,
    /// No source is asked before.
    gate: Instant,
    random: StdRng,
}

impl Schedule {
    /// A node without peers that begins to look at `now`.
    pub fn new(config: ScheduleConfig, now: Now, seed: [u8; 32]) -> Self {
        let on = Way::ALL.into_iter().filter(|way| config.enabled.contains(way));
        let source = |way| Source {
            way,
            due: now.at,
            asked: None,
            is_asking: false,
            fruitless: 0,
            named: 0,
            last: None,
            brought: false,
            problem: None,
        };
        let sources = on.map(source).collect();
        Self { config, sources, connected: 0, gate: now.at, random: StdRng::from_seed(seed) }
    }

    /// How many peers are connected now. One that loses them looks for others at once.
    pub fn peers(&mut self, now: Now, connected: usize) {
        let was_hungry = self.is_hungry();
        self.connected = connected;
        if self.is_hungry() && !was_hungry {
            for index in 0..self.sources.len() {
                let wait = self.wait(index);
                let source = &mut self.sources[index];
                let due = source.asked.map_or(now.at, |asked| asked + wait);
                source.due = source.due.min(due.max(now.at));
            }
        }
    }

    /// There is something new to ask of a source: a node with too few peers does not let it wait for its turn.
    pub fn hasten(&mut self, now: Now, way: Way) {
        let is_hungry = self.is_hungry();
        let wait = SETTLE.mul_f64(self.random.random_range(0.5..1.5));
        if let Some(source) = self.source(way).filter(|source| is_hungry && !source.is_asking) {
            source.due = source.due.min(now.at + wait);
        }
    }

    /// The network changed, or the machine was asleep: whatever did not work may work now.
    pub fn start_over(&mut self, now: Now) {
        self.gate = now.at;
        for source in &mut self.sources {
            source.fruitless = 0;
            source.due = now.at;
        }
    }

    /// A source named `count` candidates without having been asked, as the local network does.
    pub fn named(&mut self, now: Now, way: Way, count: u64) {
        if let Some(source) = self.source(way).filter(|_| count > 0) {
            source.named += count;
            source.last = Some(now.at);
            source.brought = true;
            source.problem = None;
        }
    }

    /// A source answered: how many candidates it named, or why it could not. What comes after that for the same question
    /// is ignored.
    pub fn answered(&mut self, now: Now, way: Way, answer: Result<u64, String>) {
        let Some(index) = self.sources.iter().position(|source| source.way == way && source.is_asking) else { return };
        let source = &mut self.sources[index];
        source.is_asking = false;
        source.brought = false;
        source.problem = None;
        match answer {
            Ok(0) => source.fruitless += 1,
            Ok(count) => {
                source.fruitless = 0;
                self.named(now, way, count);
            }
            Err(problem) => {
                source.fruitless += 1;
                source.problem = Some(problem.chars().take(MAX_PROBLEM).collect());
            }
        }
        let wait = self.wait(index);
        self.sources[index].due = now.at + wait;
        self.gate = self.gate.min(now.at + SETTLE);
    }

    /// Something does not work, or `None`: it works again. Of use for a source that runs on by itself, and after an answer
    /// that was not whole.
    pub fn problem(&mut self, way: Way, problem: Option<String>) {
        if let Some(source) = self.source(way) {
            source.problem = problem.map(|text| text.chars().take(MAX_PROBLEM).collect());
        }
    }

    /// A source to ask now; call again until there is none.
    pub fn poll(&mut self, now: Now) -> Option<Way> {
        self.give_up(now);
        if self.gate > now.at {
            return None;
        }
        // The one that is due for longest; at the start all are, and the order decides.
        let due = self.sources.iter_mut().filter(|source| !source.is_asking && source.due <= now.at);
        let next = due.min_by_key(|source| (source.due, source.way))?;
        next.is_asking = true;
        next.asked = Some(now.at);
        self.gate = now.at + PATIENCE;
        Some(next.way)
    }

    /// When to poll again if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        let at = |source: &Source| match source.asked.filter(|_| source.is_asking) {
            Some(asked) => asked + GIVE_UP,
            None => source.due.max(self.gate),
        };
        self.sources.iter().map(at).min()
    }

    /// Whether there are too few peers.
    pub fn is_hungry(&self) -> bool {
        self.connected < self.config.low
    }

    /// Every source, those that are off included, in order.
    pub fn report(&self) -> Vec<SourceReport> {
        let report = |way| match self.sources.iter().find(|source| source.way == way) {
            None => SourceReport { way, state: SourceState::Off, named: 0, last: None, problem: None },
            Some(source) => SourceReport {
                way,
                state: match (&source.problem, source.is_asking, source.brought) {
                    (_, true, _) => SourceState::Asking,
                    (_, _, true) => SourceState::Working,
                    (Some(_), _, false) => SourceState::Failing,
                    (None, _, false) => SourceState::Idle,
                },
                named: source.named,
                last: source.last,
                problem: source.problem.clone(),
            },
        };
        Way::ALL.into_iter().map(report).collect()
    }

    fn source(&mut self, way: Way) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.way == way)
    }

    fn give_up(&mut self, now: Now) {
        let late = |source: &&Source| source.is_asking && source.asked.is_some_and(|asked| asked + GIVE_UP <= now.at);
        let late: Vec<Way> = self.sources.iter().filter(late).map(|source| source.way).collect();
        for way in late {
            self.answered(now, way, Err(format!("no answer within {} s", GIVE_UP.as_secs())));
        }
    }

    /// From the answer of a source to its next turn, with a jitter of a quarter either way, so that nodes that were
    /// started together do not ask together.
    fn wait(&mut self, index: usize) -> Duration {
        let jitter = self.random.random_range(0.75..1.25);
        let source = &self.sources[index];
        let pace = source.way.pace();
        let wait = if self.is_hungry() {
            pace.hungry.saturating_mul(1 << source.fruitless.min(8)).min(LONGEST.max(pace.hungry))
        } else {
            pace.satisfied
        };
        wait.mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests;
