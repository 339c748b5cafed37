//! One deadline per key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Deadlines of many sub-machines, so that driving one of thousands does not look at the others.
#[derive(Debug)]
pub struct Timers<K> {
    queue: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, (Instant, &'static str)>,
}

impl<K: Copy + Ord> Timers<K> {
    /// No deadline.
    #[must_use]
    pub fn new() -> Self {
        Self { queue: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Replaces the deadline of `key`.
    pub fn set(&mut self, key: K, deadline: Option<(Instant, &'static str)>) {
        let previous = match deadline {
            Some(deadline) => self.by_key.insert(key, deadline),
            None => self.by_key.remove(&key),
        };
        if previous.map(|(at, _)| at) == deadline.map(|(at, _)| at) {
            return;
        }
        if let Some((at, _)) = previous {
            self.queue.remove(&(at, key));
        }
        if let Some((at, _)) = deadline {
            self.queue.insert((at, key));
        }
    }

    /// The earliest deadline and its reason.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, &'static str)> {
        let (_, key) = self.queue.first()?;
        self.by_key.get(key).copied()
    }

    /// A key whose deadline has come, the earliest first; its deadline is removed.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

impl<K: Copy + Ord> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::test_clock;
    use std::time::Duration;

    #[test]
    fn the_earliest_comes_first_and_a_replaced_one_not_at_all() {
        let now = test_clock();
        let at = |ms| Some((now + Duration::from_millis(ms), "test"));
        let mut timers = Timers::new();
        timers.set('a', at(10));
        timers.set('b', at(5));
        timers.set('a', at(1));
        timers.set('b', None);
        timers.set('c', at(3));
        assert_eq!(timers.next(), at(1));
        assert_eq!(timers.pop_due(now), None);
        let later = now + Duration::from_millis(20);
        assert_eq!([timers.pop_due(later), timers.pop_due(later), timers.pop_due(later)], [Some('a'), Some('c'), None]);
    }
}
