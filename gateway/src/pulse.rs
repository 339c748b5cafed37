//! A sign of life: what keeps beating moves, and health can see it from another thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When something last moved.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    /// One that has just moved.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// It moves.
    pub fn beat(&self) {
        self.last_ms.store(self.age_ms(), Ordering::Relaxed);
    }

    /// Whether it moved within `span`.
    #[must_use]
    pub fn moved_within(&self, span: Duration) -> bool {
        u128::from(self.age_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed))) <= span.as_millis()
    }

    fn age_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}
