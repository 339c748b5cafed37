//! How late the load test's own threads run: times that a report must not put down to Holdfast.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One sample is kept for so long, the worst.
const STEP: Duration = Duration::from_millis(10);
/// Nearly three hours; later samples are not kept.
const MAX_SAMPLES: usize = 1_000_000;

/// How late one thread did what was due.
#[derive(Debug, Default)]
pub struct Lag(Mutex<Vec<(Instant, Duration)>>);

impl Lag {
    /// Something due was done so `late`.
    pub fn note(&self, now: Instant, late: Duration) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = samples.last_mut().filter(|(since, _)| now.saturating_duration_since(*since) < STEP);
        if let Some((_, worst)) = last {
            *worst = late.max(*worst);
        } else if samples.len() < MAX_SAMPLES {
            samples.push((now, late));
        }
    }

    /// The samples of a time.
    #[must_use]
    pub fn within(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, late)| *late).collect()
    }

    /// Notes the current thread's lag, again and again.
    pub async fn watch(&self) {
        loop {
            let due = Instant::now() + STEP;
            tokio::time::sleep_until(due.into()).await;
            let now = Instant::now();
            self.note(now, now.saturating_duration_since(due));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_step_is_kept() {
        let (lag, start, ms) = (Lag::default(), Instant::now(), Duration::from_millis);
        for (at, late) in [(0, 1), (4, 7), (9, 2), (10, 3)] {
            lag.note(start + ms(at), ms(late));
        }
        assert_eq!(lag.within(start, start + ms(9)), [ms(7)]);
        assert_eq!(lag.within(start, start + ms(20)), [ms(7), ms(3)]);
    }
}
