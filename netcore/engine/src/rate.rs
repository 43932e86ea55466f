//! Limits on how often something happens: a bucket that fills evenly and holds one burst. Pure; whoever has one asks it
//! with the time.

use std::time::Instant;

/// How many at once, and how many a second after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a while of nothing.
    pub burst: u32,
    /// Each second.
    pub per_second: u32,
}

/// What is left of a [`Rate`].
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    left: f64,
    filled: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        Self { rate, left: f64::from(rate.burst), filled: None }
    }

    /// Takes one, if there is one. A `now` before an earlier one adds nothing.
    pub fn take(&mut self, now: Instant) -> bool {
        let since = self.filled.map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        self.left = (self.left + since * f64::from(self.rate.per_second)).min(f64::from(self.rate.burst));
        self.filled = self.filled.max(Some(now));
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }

    /// Puts one back that was taken for nothing.
    pub fn give_back(&mut self) {
        self.left = (self.left + 1.0).min(f64::from(self.rate.burst));
    }

    /// Takes all there is.
    pub fn drain(&mut self, now: Instant) {
        self.take(now);
        self.left = 0.0;
    }

    /// Whether it holds all it can, and so says nothing about the past.
    pub fn is_full(&self, now: Instant) -> bool {
        let since = self.filled.map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        self.left + since * f64::from(self.rate.per_second) >= f64::from(self.rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[test]
    fn what_was_taken_for_nothing_can_be_put_back_and_all_of_it_taken() {
        let start = testing::start();
        let mut bucket = Bucket::new(Rate { burst: 3, per_second: 1 });
        assert!(bucket.is_full(start) && bucket.take(start) && !bucket.is_full(start));
        bucket.give_back();
        bucket.give_back();
        assert!(bucket.is_full(start));
        bucket.drain(start);
        assert!(!bucket.take(start) && bucket.is_full(start + Duration::from_secs(3)));
    }

    #[test]
    fn a_burst_is_allowed_and_then_so_many_a_second() {
        let mut bucket = Bucket::new(Rate { burst: 10, per_second: 4 });
        let start = testing::start();
        let taken = |bucket: &mut Bucket, at: Instant| (0..100).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 2);
        assert_eq!(taken(&mut bucket, start), 0, "time that goes back gives nothing");
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 10, "no more than a burst is saved up");
    }
}
