//! A token bucket without a timer (the generic cell rate algorithm, as in ITU-T I.371).

use std::time::{Duration, Instant};

/// Lets `burst` things through at once and then one each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    period: Duration,
    slack: Duration,
    /// When the bucket is full again; `None`: it is.
    full_at: Option<Instant>,
}

impl RateLimit {
    /// `count` things (at least one) within `span`, all of them at once if need be.
    #[must_use]
    pub fn new(count: u32, span: Duration) -> Self {
        let period = span / count.max(1);
        Self { period, slack: period * (count.max(1) - 1), full_at: None }
    }

    /// Lets one thing through, or says how long to wait for it.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let debt = full_at.duration_since(now);
        if debt > self.slack {
            return Err(debt - self.slack);
        }
        self.full_at = Some(full_at + self.period);
        Ok(())
    }

    /// True if nothing is remembered, so that a fresh limit would behave the same.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::test_clock;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_the_rate() {
        let now = test_clock();
        let mut limit = RateLimit::new(3, Duration::from_secs(3));
        assert!((0..3).all(|_| limit.take(now).is_ok()));
        assert_eq!(limit.take(now), Err(Duration::from_secs(1)));
        assert_eq!(limit.take(now + Duration::from_secs(1)), Ok(()));
        assert!(limit.is_full(now + Duration::from_secs(4)));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_in_any_span(pauses in prop::collection::vec(0_u64..400, 1..200)) {
            let (mut now, span) = (test_clock(), Duration::from_secs(1));
            let mut limit = RateLimit::new(10, span);
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                if limit.take(now).is_ok() {
                    taken.push(now);
                }
                // A full bucket plus what drips in while the span lasts.
                prop_assert!(taken.iter().filter(|at| now.duration_since(**at) < span).count() <= 20);
            }
        }
    }
}
