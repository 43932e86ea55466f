//! A token bucket for each of many, in bounded memory. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::rate::{Bucket, Rate};

/// How often full ones are looked for, which say nothing: with many strangers that is the cost of one look a second.
const SWEEP: Duration = Duration::from_secs(1);

/// See the module. Those beyond `limit` share one.
#[derive(Debug)]
pub struct Buckets<K> {
    limit: usize,
    of: BTreeMap<K, Bucket>,
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
                self.of.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.of.len() >= self.limit {
                return self.shared.get_or_insert_with(|| Bucket::new(rate));
            }
        }
        self.of.entry(key).or_insert_with(|| Bucket::new(rate))
    }

    /// Takes one from the bucket of `key`, if there is one.
    pub fn take(&mut self, key: K, rate: Rate, now: Instant) -> bool {
        self.of(key, rate, now).take(now)
    }

    /// Leaves nothing in the bucket of `key`; one without its own is let be, as others would pay.
    pub fn drain(&mut self, key: K, rate: Rate, now: Instant) {
        if self.of.contains_key(&key) || self.of.len() < self.limit {
            self.of(key, rate, now).drain(now);
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
    use crate::testing;

    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    #[test]
    fn buckets_are_bounded_those_beyond_share_one_and_full_ones_make_room() {
        let start = testing::start();
        let mut buckets = Buckets::new(100);
        for key in 0..100 {
            assert!(buckets.take(key, RATE, start));
        }
        let taken = (100..10_000).filter(|key| buckets.take(*key, RATE, start)).count();
        assert_eq!((taken, buckets.len()), (3, 100));
        assert!(buckets.take(5, RATE, start), "whoever has one keeps it");
        buckets.drain(20_000, RATE, start);
        assert_eq!(buckets.len(), 100);
        let later = start + Duration::from_secs(60);
        assert!((0..3).all(|_| buckets.take(100_000, RATE, later)) && !buckets.take(100_000, RATE, later));
        assert_eq!(buckets.len(), 1);
    }
}
