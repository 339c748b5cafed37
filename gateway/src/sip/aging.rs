//! A map whose entries all live equally long.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// Most entries; beyond it the oldest goes early.
const MAX_ENTRIES: usize = 100_000;

#[derive(Debug)]
pub(super) struct Aging<K, V> {
    entries: HashMap<K, V>,
    /// In the order of their end. A key may stand here twice; the first one ends it.
    ends: VecDeque<(Instant, K)>,
    life: Duration,
}

impl<K: Clone + Eq + Hash, V> Aging<K, V> {
    pub(super) fn new(life: Duration) -> Self {
        Self { entries: HashMap::new(), ends: VecDeque::new(), life }
    }

    pub(super) fn insert(&mut self, key: K, value: V, now: Instant) {
        self.drop_old(now);
        if self.ends.len() >= MAX_ENTRIES
            && let Some((_, oldest)) = self.ends.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.ends.push_back((now + self.life, key.clone()));
        self.entries.insert(key, value);
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(super) fn drop_old(&mut self, now: Instant) {
        while let Some((end, _)) = self.ends.front()
            && *end <= now
            && let Some((_, key)) = self.ends.pop_front()
        {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_in_time_and_in_number() {
        let start = Instant::now();
        let mut map = Aging::new(Duration::from_secs(1));
        map.insert(0, "a", start);
        map.insert(1, "b", start + Duration::from_millis(500));
        map.drop_old(start + Duration::from_secs(1));
        assert_eq!(map.get_mut(&0), None);
        assert_eq!(map.get_mut(&1), Some(&mut "b"));
        for key in 2..=MAX_ENTRIES {
            map.insert(key, "c", start + Duration::from_secs(1));
        }
        assert_eq!(map.entries.len(), MAX_ENTRIES);
        map.insert(0, "d", start + Duration::from_secs(1));
        assert_eq!(map.entries.len(), MAX_ENTRIES);
        assert_eq!(map.get_mut(&1), None);
    }
}
