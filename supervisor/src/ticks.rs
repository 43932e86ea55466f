//! Moments at which all that looks again and again does so together, so that an idle daemon wakes up once for it.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Ticks at multiples of `period` since the first call in this process; missed ones are left out.
pub(crate) fn ticks(period: Duration) -> Interval {
    static START: OnceLock<Instant> = OnceLock::new();
    let mut ticks = interval_at(next(*START.get_or_init(Instant::now), period, Instant::now()), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// The first multiple of `period` after `start` that is later than `now`.
fn next(start: Instant, period: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(start);
    let into = passed.as_nanos() % period.as_nanos();
    start + passed + period - Duration::from_nanos(u64::try_from(into).expect("less than a period"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_begin_at_different_times_fall_together() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        for begun in [Duration::ZERO, second, second * 2 + Duration::from_nanos(5)] {
            assert_eq!(next(start, 3 * second, start + begun), start + 3 * second);
            assert_eq!(next(start, 6 * second, start + begun), start + 6 * second);
        }
        assert_eq!(next(start, 3 * second, start + 7 * second), start + 9 * second);
        assert_eq!(next(start + second, 3 * second, start), start + 4 * second, "a clock that was paused");
    }
}
