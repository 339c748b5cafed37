//! The CSeq fence: within a dialog numbers only grow, whoever sends. An instance that took a call over starts above the dead
//! one's numbers, and what that one sends late is refused here, because not every far side does it (RFC 3261 §12.2.2).

use crate::sip::{SipRequest, tag_of};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A side of a dialog that said nothing for so long is forgotten; its session timer has ended the call long before.
const LIFE: Duration = Duration::from_secs(2 * 3_600);
/// Sides of dialogs; beyond it the one that has been quiet for longest is forgotten.
const MAX_SIDES: usize = 100_000;

/// Call-ID and the sender's tag.
type Side = (String, String);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fence {
    highest: BTreeMap<Side, (u32, Instant)>,
    by_age: BTreeSet<(Instant, Side)>,
}

impl Fence {
    /// False for a number below one that was seen. The same number is a request that comes a second way.
    pub(super) fn lets_pass(&mut self, request: &SipRequest, now: Instant) -> bool {
        let tag = request.headers.get("From").and_then(tag_of);
        let (Some(call_id), Some(tag), Some(number)) = (request.headers.get("Call-ID"), tag, request.cseq()) else {
            return false;
        };
        let side = (call_id.to_owned(), tag);
        if let Some((highest, seen)) = self.highest.get(&side).copied() {
            if number < highest {
                return false;
            }
            self.by_age.remove(&(seen, side.clone()));
        } else if self.highest.len() >= MAX_SIDES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.highest.remove(&oldest);
        }
        self.by_age.insert((now, side.clone()));
        self.highest.insert(side, (number, now));
        true
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((seen, side)) = self.by_age.first().cloned()
            && now.saturating_duration_since(seen) >= LIFE
        {
            self.by_age.remove(&(seen, side.clone()));
            self.highest.remove(&side);
        }
    }
}
