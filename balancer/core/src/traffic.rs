//! The few counters that the data path and the pool share for one run, so that neither waits for the other.

use crate::Time;
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// What the data path tells the pool about one run without a message: when it was last heard, and how many sign-ins are under
/// way to it. All counters wrap; only differences count.
#[derive(Debug, Default)]
pub struct Traffic {
    heard_ms: AtomicU64,
    begun: AtomicU32,
    answered: AtomicU32,
}

impl Traffic {
    /// To be called when any byte from the instance arrived on any connection.
    pub fn heard(&self, now: Time) {
        let now_ms = now.as_millis() as u64;
        // A load is cheaper than a store that takes the cache line from the other threads.
        if self.heard_ms.load(Relaxed) < now_ms {
            self.heard_ms.store(now_ms, Relaxed);
        }
    }

    /// When the last byte arrived, to the millisecond.
    #[must_use]
    pub fn last_heard(&self) -> Time {
        Time::from_millis(self.heard_ms.load(Relaxed))
    }

    /// To be called before a sign-in is sent; dropped when it was answered or given up.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        self.begun.fetch_add(1, Relaxed);
        Reservation(Arc::clone(self))
    }

    /// Sign-ins that were answered or given up so far.
    pub(crate) fn answered(&self) -> u32 {
        self.answered.load(Relaxed)
    }

    /// Places that a report can't show yet: sign-ins begun, less those that were `answered` before the report was asked for.
    pub(crate) fn reserved_since(&self, answered: u32) -> u32 {
        self.begun.load(Relaxed).wrapping_sub(answered)
    }
}

/// A sign-in under way: a place taken until a report that was asked for after its end.
#[derive(Debug)]
#[must_use = "a reservation counts until it is dropped"]
pub struct Reservation(Arc<Traffic>);

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_counts_until_a_report_asked_for_after_its_answer() {
        let traffic = Arc::new(Traffic::default());
        let asked_before = traffic.answered();
        let sign_in = traffic.reserve();
        assert_eq!(traffic.reserved_since(asked_before), 1);
        let asked_meanwhile = traffic.answered();
        drop(sign_in);
        assert_eq!(traffic.reserved_since(asked_meanwhile), 1, "the report may be from before the session was made");
        assert_eq!(traffic.reserved_since(traffic.answered()), 0);
    }
}
