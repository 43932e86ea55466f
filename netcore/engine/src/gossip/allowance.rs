//! How much of something a peer may do: so much at once, and so much a second (a token bucket).

use std::time::Instant;

/// What is left.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    left: f64,
    at: Instant,
}

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// A second.
    pub rate: f64,
    /// At once.
    pub burst: f64,
}

impl Allowance {
    /// All of it.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// Takes `amount`, if it is there.
    pub fn take(&mut self, rate: Rate, amount: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * rate.rate).min(rate.burst);
        let amount = amount as f64;
        if self.left < amount {
            return false;
        }
        self.left -= amount;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[test]
    fn what_is_used_up_comes_back_with_time_and_never_beyond_the_burst() {
        let (rate, start) = (Rate { rate: 10.0, burst: 20.0 }, testing::start());
        let mut allowance = Allowance::new(rate, start);
        assert!(allowance.take(rate, 20, start) && !allowance.take(rate, 1, start));
        assert!(!allowance.take(rate, 6, start + Duration::from_millis(500)), "five are back");
        assert!(allowance.take(rate, 5, start + Duration::from_millis(500)));
        let later = start + Duration::from_secs(3600);
        assert!(allowance.take(rate, 20, later) && !allowance.take(rate, 1, later));
        assert!(!allowance.take(rate, 1, start), "time that goes back gives nothing");
    }
}
