//! The one clock of the process.

use balancer_core::Time;
use std::time::Instant;

/// Tells the time since it was made. Copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time that decisions are given.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.elapsed()
    }
}
