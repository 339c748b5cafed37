//! Ids of sessions that are over, so that a late client hears "closed here" and not "never heard of".

use gateway_protocol::SessionId;
use std::collections::{BTreeSet, VecDeque};

/// A bounded set of closed sessions; at the limit the oldest is forgotten.
#[derive(Debug)]
pub struct Tombstones {
    limit: usize,
    order: VecDeque<SessionId>,
    set: BTreeSet<SessionId>,
}

impl Tombstones {
    /// Room for `limit` sessions.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, order: VecDeque::new(), set: BTreeSet::new() }
    }

    /// Remembers that `id` is over.
    pub fn add(&mut self, id: SessionId) {
        if self.set.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }

    /// True if `id` was closed here, and not too long ago.
    #[must_use]
    pub fn contains(&self, id: &SessionId) -> bool {
        self.set.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let ids: Vec<SessionId> = ["a", "b", "c"].iter().map(|id| id.parse().expect("an id")).collect();
        let mut tombstones = Tombstones::new(2);
        ids.iter().for_each(|id| tombstones.add(id.clone()));
        assert!(!tombstones.contains(&ids[0]) && tombstones.contains(&ids[1]) && tombstones.contains(&ids[2]));
    }
}
