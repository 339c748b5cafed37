//! Decides when a thread should sleep a moment so that more datagrams share a system call.

use std::time::{Duration, Instant};

/// How long a busy thread sleeps between batches. The price is latency, at most this much per hop.
const PAUSE: Duration = Duration::from_millis(2);
/// Arrivals are counted over this span.
const WINDOW: Duration = Duration::from_millis(10);
/// Arrivals per window from which on a thread is busy: 800 datagrams a second, some 16 audio calls, so that a pause
/// gathers more than one.
const BUSY_FROM: usize = 8;

/// Counts arrivals; while they are many, [`Pace::pause`] says how long to sleep instead of waiting for the socket.
#[derive(Debug)]
pub struct Pace {
    window_start: Instant,
    arrived: usize,
    busy: bool,
}

impl Pace {
    /// An idle pace.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { window_start: now, arrived: 0, busy: false }
    }

    /// Notes that `count` datagrams were received.
    pub fn arrived(&mut self, count: usize, now: Instant) {
        self.arrived += count;
        if now.duration_since(self.window_start) >= WINDOW {
            self.busy = self.arrived >= BUSY_FROM;
            self.arrived = 0;
            self.window_start = now;
        }
    }

    /// How long to sleep before the next batch; `None` means wait for the socket.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.busy.then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_only_while_many_arrive() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.arrived(7, start + WINDOW);
        assert_eq!(pace.pause(), None);
        pace.arrived(8, start + WINDOW * 2);
        assert_eq!(pace.pause(), Some(PAUSE));
        pace.arrived(0, start + WINDOW * 3);
        assert_eq!(pace.pause(), None);
    }
}
