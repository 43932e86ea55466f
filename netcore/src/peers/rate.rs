//! Token buckets: how often something may happen, per whoever does it. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At once, after a quiet time.
    pub burst: u32,
    /// In the long run, each second.
    pub per_second: f64,
}

/// What is left of a [`Rate`].
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(f64::from(rate.burst));
        self.at = self.at.max(now);
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Puts one back that was taken for nothing.
    pub fn give_back(&mut self, rate: Rate) {
        self.tokens = (self.tokens + 1.0).min(f64::from(rate.burst));
    }

    /// Takes all there is.
    pub fn drain(&mut self) {
        self.tokens = 0.0;
    }

    fn is_full(&self, rate: Rate, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens + passed * rate.per_second >= f64::from(rate.burst)
    }
}

/// How often full ones are looked for, which say nothing: with many strangers that is the cost of one look a second.
const SWEEP: Duration = Duration::from_secs(1);

/// A bucket for each of many, in bounded memory: those beyond `limit` share one.
#[derive(Debug)]
pub struct Buckets<K> {
    limit: usize,
    of: BTreeMap<K, (Rate, Bucket)>,
    shared: Option<Bucket>,
    swept: Option<Instant>,
}

impl<K: Ord + Copy> Buckets<K> {
    /// At most `limit` of their own.
    pub fn new(limit: usize) -> Self {
        Self { limit, of: BTreeMap::new(), shared: None, swept: None }
    }

    fn of(&mut self, key: K, rate: Rate, now: Instant) -> &mut Bucket {
        if !self.of.contains_key(&key) && self.of.len() >= self.limit {
            if self.swept.is_none_or(|swept| now >= swept + SWEEP) {
                self.swept = Some(now);
                self.of.retain(|_, (rate, bucket)| !bucket.is_full(*rate, now));
            }
            if self.of.len() >= self.limit {
                return self.shared.get_or_insert_with(|| Bucket::new(rate, now));
            }
        }
        &mut self.of.entry(key).or_insert_with(|| (rate, Bucket::new(rate, now))).1
    }

    /// Takes one from the bucket of `key`, if there is one.
    pub fn take(&mut self, key: K, rate: Rate, now: Instant) -> bool {
        self.of(key, rate, now).take(rate, now)
    }

    /// Leaves nothing in the bucket of `key`.
    pub fn drain(&mut self, key: K, rate: Rate, now: Instant) {
        if self.of.contains_key(&key) || self.of.len() < self.limit {
            self.of(key, rate, now).drain();
        }
    }

    /// Buckets held.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_second: 2.0 };

    #[test]
    fn burst_then_the_rate_and_never_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        let taken = |bucket: &mut Bucket, at| (0..10).filter(|_| bucket.take(RATE, at)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1000)), 3);
        bucket.give_back(RATE);
        assert_eq!(taken(&mut bucket, start), 1, "time does not go back");
    }

    #[test]
    fn buckets_are_bounded_those_beyond_share_one_and_full_ones_make_room() {
        let start = Instant::now();
        let mut buckets = Buckets::new(100);
        for key in 0..100 {
            assert!(buckets.take(key, RATE, start));
        }
        let taken = (100..10_000).filter(|key| buckets.take(*key, RATE, start)).count();
        assert_eq!((taken, buckets.len()), (3, 100));
        assert!(buckets.take(5, RATE, start), "whoever has one keeps it");
        let later = start + Duration::from_secs(60);
        assert!((0..3).all(|_| buckets.take(100_000, RATE, later)) && !buckets.take(100_000, RATE, later));
        assert_eq!(buckets.len(), 1);
    }
}
