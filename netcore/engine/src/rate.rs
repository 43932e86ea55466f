//! Token buckets for rate limits: a single [`Bucket`], and [`Buckets`] for many keys in bounded memory. A bucket
//! refills evenly and holds at most one burst. The caller passes the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Shortest time between two searches for full buckets, which can be forgotten: a search looks at all buckets, and many
/// unknown keys would cause one for each of them.
const SWEEP: Duration = Duration::from_secs(1);

/// Size and refill rate of a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens in a full bucket: how many events may happen at once.
    pub burst: u32,
    /// Tokens added per second.
    pub per_second: u32,
}

/// A token bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    left: f64,
    filled: Option<Instant>,
}

impl Bucket {
    /// Creates a full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, left: f64::from(rate.burst), filled: None }
    }

    /// The tokens in it at `now`. A `now` that goes back adds none.
    fn tokens(&self, now: Instant) -> f64 {
        let since = self.filled.map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        (self.left + since * f64::from(self.rate.per_second)).min(f64::from(self.rate.burst))
    }

    fn refill(&mut self, now: Instant) {
        self.left = self.tokens(now);
        self.filled = self.filled.max(Some(now));
    }

    /// Takes `cost` tokens. If there are fewer, takes none and returns `false`.
    pub fn take(&mut self, cost: usize, now: Instant) -> bool {
        self.refill(now);
        let enough = self.left >= cost as f64;
        if enough {
            self.left -= cost as f64;
        }
        enough
    }

    /// Whether [`Self::take`] would succeed at `now`.
    pub fn has(&self, cost: usize, now: Instant) -> bool {
        self.tokens(now) >= cost as f64
    }

    /// Puts back one token, taken for an event that did not happen.
    pub fn give_back(&mut self) {
        self.left = (self.left + 1.0).min(f64::from(self.rate.burst));
    }

    /// Takes all tokens.
    pub fn drain(&mut self, now: Instant) {
        self.refill(now);
        self.left = 0.0;
    }

    /// Whether it is full, and thus equal to a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.tokens(now) >= f64::from(self.rate.burst)
    }
}

/// A token bucket for each of at most `limit` keys; further keys share one.
#[derive(Debug)]
pub struct Buckets<K> {
    limit: usize,
    of: BTreeMap<K, Bucket>,
    shared: Option<Bucket>,
    swept: Option<Instant>,
}

impl<K: Ord + Copy> Buckets<K> {
    /// Creates a set without buckets, for at most `limit` keys.
    pub fn new(limit: usize) -> Self {
        Self { limit, of: BTreeMap::new(), shared: None, swept: None }
    }

    /// The bucket of `key`, created with `rate` if there is none; the shared bucket if `limit` is reached.
    fn of(&mut self, key: K, rate: Rate, now: Instant) -> &mut Bucket {
        if !self.of.contains_key(&key) && self.of.len() >= self.limit {
            if self.swept.is_none_or(|swept| now >= swept + SWEEP) {
                self.swept = Some(now);
                self.forget_full(now);
            }
            if self.of.len() >= self.limit {
                return self.shared.get_or_insert_with(|| Bucket::new(rate));
            }
        }
        self.of.entry(key).or_insert_with(|| Bucket::new(rate))
    }

    /// Takes `cost` tokens from the bucket of `key`. If there are fewer, takes none and returns `false`.
    pub fn take(&mut self, key: K, rate: Rate, cost: usize, now: Instant) -> bool {
        self.of(key, rate, now).take(cost, now)
    }

    /// Whether [`Self::take`] may succeed.
    pub fn has(&self, key: &K, cost: usize, now: Instant) -> bool {
        let shared = || self.shared.as_ref().filter(|_| self.of.len() >= self.limit);
        self.of.get(key).or_else(shared).is_none_or(|bucket| bucket.has(cost, now))
    }

    /// Takes all tokens from the bucket of `key`. Does nothing where that is the shared bucket: other keys need its
    /// tokens.
    pub fn drain(&mut self, key: K, rate: Rate, now: Instant) {
        if self.of.contains_key(&key) || self.of.len() < self.limit {
            self.of(key, rate, now).drain(now);
        }
    }

    /// Forgets the keys whose bucket is full.
    pub fn forget_full(&mut self, now: Instant) {
        self.of.retain(|_, bucket| !bucket.is_full(now));
    }

    /// The number of keys with a bucket of their own.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether no key has a bucket of its own.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_was_taken_for_nothing_can_be_put_back_and_all_of_it_taken() {
        let start = testing::start();
        let mut bucket = Bucket::new(Rate { burst: 3, per_second: 1 });
        assert!(bucket.is_full(start) && bucket.take(1, start) && !bucket.is_full(start));
        bucket.give_back();
        bucket.give_back();
        assert!(bucket.is_full(start));
        bucket.drain(start);
        assert!(!bucket.take(1, start) && bucket.is_full(start + Duration::from_secs(3)));
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let mut bucket = Bucket::new(Rate { burst: 10, per_second: 4 });
        let start = testing::start();
        let taken = |bucket: &mut Bucket, at: Instant| (0..100).filter(|_| bucket.take(1, at)).count();
        assert_eq!(taken(&mut bucket, start), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 2);
        assert_eq!(taken(&mut bucket, start), 0, "time that goes back gives nothing");
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 10, "no more than a burst is saved up");
    }

    #[test]
    fn a_cost_is_taken_as_a_whole_or_not_at_all() {
        let (mut bucket, start) = (Bucket::new(Rate { burst: 20, per_second: 10 }), testing::start());
        assert!(bucket.take(20, start) && !bucket.take(1, start));
        let later = start + Duration::from_millis(500);
        assert!(!bucket.has(6, later) && !bucket.take(6, later), "five are back");
        assert!(bucket.has(5, later) && bucket.take(5, later));
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(20, later) && !bucket.take(1, later));
        assert!(!bucket.take(1, start), "time that goes back gives nothing");
    }

    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    #[test]
    fn buckets_are_bounded_those_beyond_share_one_and_full_ones_make_room() {
        let start = testing::start();
        let mut buckets = Buckets::new(100);
        for key in 0..100 {
            assert!(buckets.take(key, RATE, 1, start));
        }
        assert!(buckets.has(&100, 4, start), "nothing is known of those beyond yet");
        let taken = (100..10_000).filter(|key| buckets.take(*key, RATE, 1, start)).count();
        assert_eq!((taken, buckets.len()), (3, 100));
        assert!(!buckets.has(&100, 1, start) && buckets.has(&5, 2, start) && !buckets.has(&5, 3, start));
        assert!(buckets.take(5, RATE, 1, start), "a key with a bucket keeps it");
        buckets.drain(20_000, RATE, start);
        assert_eq!(buckets.len(), 100);
        let later = start + Duration::from_secs(60);
        assert!((0..3).all(|_| buckets.take(100_000, RATE, 1, later)) && !buckets.take(100_000, RATE, 1, later));
        assert_eq!(buckets.len(), 1);
        buckets.forget_full(later + Duration::from_secs(1));
        assert_eq!(buckets.len(), 1);
        buckets.forget_full(later + Duration::from_secs(2));
        assert!(buckets.is_empty());
    }
}
