//! Scores and bans of peers. Pure.
//!
//! A score is between [`WORST`] and [`BEST`] and halves every [`HALF_LIFE`]; a stranger's is 0. Rewards are small and
//! penalties large, so that an attacker cannot save up good will. A peer with the best score that breaches the protocol
//! has nothing left of it, and is banned when it does so again. At or below [`BAN_AT`] a peer is banned: disconnected
//! and refused for [`FIRST_BAN`]. Each further ban lasts twice as long, up to [`LONGEST_BAN`]; after [`FORGIVEN`]
//! without a ban the next one lasts [`FIRST_BAN`] again.

use std::time::Duration;

/// The highest score.
pub const BEST: f64 = 50.0;
/// The lowest score.
pub const WORST: f64 = -100.0;
/// The score at or below which a peer is banned.
pub const BAN_AT: f64 = -50.0;
/// Seconds in which a score halves.
pub const HALF_LIFE: u64 = 3600;
/// Seconds of the first ban: long enough to make a nuisance rare, short enough for an honest mistake.
pub const FIRST_BAN: u64 = 600;
/// Seconds of the longest ban.
pub const LONGEST_BAN: u64 = 24 * 3600;
/// Seconds after the end of a ban from which the next one counts as the first.
pub const FORGIVEN: u64 = 7 * 24 * 3600;
/// Points for an hour of connection. They count at once when peers are compared, and are added to the score when the
/// connection ends.
const PER_HOUR: f64 = 6.0;
/// Most points for the uptime of one connection.
const MOST_UPTIME: f64 = 20.0;

/// An action of a peer that changes its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreEvent {
    /// It gave a useful answer.
    Useful,
    /// It passed on gossip messages that were new and valid.
    ValidGossip,
    /// It did not answer in time.
    Timeout,
    /// It published gossip messages that a plugin rejected, or announced some and did not send them.
    InvalidGossip,
    /// It exceeded a rate limit for long.
    Flood,
    /// It sent something provably untrue: a record with a wrong signature, an answer that breaks the rules.
    Lie,
    /// It breached the protocol.
    Misbehaved,
}

impl ScoreEvent {
    /// The points that it adds to the score.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Useful => 0.5,
            Self::ValidGossip => 0.05,
            // Packets get lost and peers leave. A dozen timeouts in an hour are those of a peer that does not serve.
            Self::Timeout => -2.0,
            Self::InvalidGossip => -10.0,
            Self::Flood => -15.0,
            Self::Lie => -25.0,
            Self::Misbehaved => -60.0,
        }
    }

    /// The offence as the operator reads it; `None` if it is none.
    pub const fn offence(self) -> Option<&'static str> {
        match self {
            Self::Useful | Self::ValidGossip | Self::Timeout => None,
            Self::InvalidGossip => Some("invalid gossip"),
            Self::Flood => Some("flood"),
            Self::Lie => Some("lie"),
            Self::Misbehaved => Some("broke the protocol"),
        }
    }
}

/// A peer's score and bans. Times are Unix seconds; a clock that goes back makes no score worse and no ban longer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Standing {
    score: f64,
    at: u64,
    bans: u32,
    banned_until: u64,
}

impl Standing {
    /// Restores a standing from its stored parts; brings numbers that are out of range into it.
    pub fn restore(score: f64, at: u64, bans: u32, banned_until: u64) -> Self {
        let score = if score.is_finite() { score.clamp(WORST, BEST) } else { 0.0 };
        Self { score, at, bans, banned_until }
    }

    /// The parts to store: the score, the Unix seconds that it is of, the number of bans, the Unix seconds at which the
    /// last one ends.
    pub fn parts(&self) -> (f64, u64, u32, u64) {
        (self.score, self.at, self.bans, self.banned_until)
    }

    /// The score at Unix second `unix`.
    pub fn score(&self, unix: u64) -> f64 {
        if self.at > unix.saturating_add(LONGEST_BAN) {
            return 0.0; // stored by a clock that was far ahead: it would not halve before that time
        }
        let halves = unix.saturating_sub(self.at) as f64 / HALF_LIFE as f64;
        self.score * (-halves).exp2()
    }

    /// Whether there is nothing worth remembering: no ban, and a score near 0.
    pub fn is_clean(&self, unix: u64) -> bool {
        self.bans == 0 && self.score(unix).abs() < 0.5
    }

    /// Seconds until its ban ends; `None` if it is not banned at Unix second `unix`.
    pub fn banned_for(&self, unix: u64) -> Option<u64> {
        // No ban is longer than that. A longer one was written or is read by a wrong clock, and must not last for
        // years.
        self.banned_until.checked_sub(unix).filter(|left| (1..=LONGEST_BAN).contains(left))
    }

    /// Whether it was ever banned and not pardoned since.
    pub fn was_banned(&self) -> bool {
        self.bans > 0
    }

    fn add(&mut self, unix: u64, points: f64) {
        self.score = (self.score(unix) + points).clamp(WORST, BEST);
        self.at = unix;
    }

    /// Adds the points of `event`; returns `true` if that bans the peer.
    pub fn count(&mut self, unix: u64, event: ScoreEvent) -> bool {
        self.add(unix, event.weight());
        if event.weight() >= 0.0 || self.score > BAN_AT || self.banned_for(unix).is_some() {
            return false;
        }
        if unix > self.banned_until.saturating_add(FORGIVEN) {
            self.bans = 0;
        }
        let length = FIRST_BAN.saturating_mul(1 << self.bans.min(16)).min(LONGEST_BAN);
        self.bans = self.bans.saturating_add(1);
        self.banned_until = unix.saturating_add(length);
        // On probation: from here 25 points less lead to the next ban, not 50.
        self.score = BAN_AT / 2.0;
        true
    }

    /// Adds the points for a connection that lasted `uptime` and has ended.
    pub fn was_up(&mut self, unix: u64, uptime: Duration) {
        self.add(unix, uptime_points(uptime));
    }

    /// The score with the points for a connection that has lasted `uptime` so far.
    pub fn worth(&self, unix: u64, uptime: Duration) -> f64 {
        self.score(unix) + uptime_points(uptime)
    }

    /// Resets score and bans.
    pub fn pardon(&mut self) {
        *self = Self::default();
    }
}

fn uptime_points(uptime: Duration) -> f64 {
    (uptime.as_secs_f64() / 3600.0 * PER_HOUR).min(MOST_UPTIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    #[test]
    fn strangers_have_nothing_and_a_score_halves_each_hour() {
        let mut standing = Standing::default();
        assert_eq!(standing.score(START), 0.0);
        standing.count(START, ScoreEvent::Flood);
        let full = standing.score(START);
        assert!((standing.score(START + HALF_LIFE) - full / 2.0).abs() < 1e-9);
        assert!(standing.is_clean(START + 10 * HALF_LIFE));
        assert_eq!(standing.score(START - 50), full, "a clock that goes back makes nothing worse");
    }

    #[test]
    fn a_clock_that_was_years_ahead_bans_for_no_longer_than_any_other() {
        let ahead = START + 5 * 365 * 24 * 3600;
        let mut standing = Standing::default();
        while !standing.count(ahead, ScoreEvent::Misbehaved) {}
        assert!(standing.banned_for(ahead).is_some());
        assert_eq!((standing.banned_for(START), standing.score(START)), (None, 0.0));
        while !standing.count(START, ScoreEvent::Misbehaved) {}
        assert!(
            standing.banned_for(START).is_some_and(|left| left <= LONGEST_BAN),
            "it can be banned by the right clock"
        );
        assert!(standing.banned_for(START + LONGEST_BAN).is_none());
    }

    #[test]
    fn good_will_saved_up_pays_for_one_breach_and_not_for_two() {
        let mut standing = Standing::default();
        for _ in 0..1000 {
            assert!(!standing.count(START, ScoreEvent::Useful));
        }
        assert_eq!(standing.score(START), BEST);
        assert!(!standing.count(START, ScoreEvent::Misbehaved));
        assert!(standing.count(START, ScoreEvent::Misbehaved));
        assert_eq!(standing.banned_for(START), Some(FIRST_BAN));
    }

    #[test]
    fn bans_grow_to_a_day_and_start_anew_after_a_clean_week() {
        let mut standing = Standing::default();
        let mut unix = START;
        let mut lengths = Vec::new();
        for _ in 0..10 {
            assert!(standing.count(unix, ScoreEvent::Misbehaved));
            assert!(!standing.count(unix, ScoreEvent::Misbehaved), "banned is banned");
            let length = standing.banned_for(unix).expect("banned");
            lengths.push(length);
            unix += length;
            assert_eq!(standing.banned_for(unix), None);
        }
        assert_eq!(lengths[..3], [FIRST_BAN, 2 * FIRST_BAN, 4 * FIRST_BAN]);
        assert_eq!(lengths[9], LONGEST_BAN);
        unix += FORGIVEN + 1;
        assert!(standing.count(unix, ScoreEvent::Misbehaved));
        assert_eq!(standing.banned_for(unix), Some(FIRST_BAN));
    }

    #[test]
    fn timeouts_alone_ban_only_who_never_answers() {
        let mut standing = Standing::default();
        let rarely = (0..100).any(|hour| standing.count(START + hour * HALF_LIFE, ScoreEvent::Timeout));
        assert!(!rarely);
        let mut standing = Standing::default();
        assert!((0..100).any(|second| standing.count(START + second, ScoreEvent::Timeout)));
    }

    #[test]
    fn stored_nonsense_is_brought_into_range() {
        let standing = Standing::restore(f64::NAN, u64::MAX, u32::MAX, u64::MAX);
        assert_eq!(standing.score(START), 0.0);
        assert_eq!(standing.banned_for(START), None, "no ban is so long");
        let mut standing = Standing::restore(-1e300, 0, u32::MAX, 0);
        assert!(standing.count(START, ScoreEvent::Misbehaved) || standing.score(START) > BAN_AT);
    }
}
