//! What the tests of the data path share: instances that do as they are told, a raw HTTP client, and a balancer in front.

pub(crate) mod balancer;
pub(crate) mod client;
pub(crate) mod fake;

use std::time::{Duration, Instant};

/// Waits for something that another thread brings about; fails loudly after five seconds.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(5), "never: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
