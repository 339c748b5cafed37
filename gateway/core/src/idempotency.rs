//! 201s that can be repeated: a sign-in sent twice with one `Idempotency-Key` reserves one place.

use crate::limits::{REPEATABLE_FOR, REPEATABLE_SIGN_INS};
use crate::user::User;
use gateway_protocol::{ClientId, SignedIn};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Whose key it is: a key of one client says nothing about another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepeatKey {
    /// Who signed in.
    pub user: User,
    /// From which tab.
    pub client_id: ClientId,
    /// The header's value.
    pub key: String,
}

/// The last [`REPEATABLE_SIGN_INS`] answers, none older than [`REPEATABLE_FOR`].
#[derive(Debug, Default)]
pub struct RepeatableSignIns {
    answers: BTreeMap<RepeatKey, SignedIn>,
    order: VecDeque<(Instant, RepeatKey)>,
}

impl RepeatableSignIns {
    /// The answer that was given for `key`.
    pub fn find(&mut self, key: &RepeatKey, now: Instant) -> Option<&SignedIn> {
        self.forget(now);
        self.answers.get(key)
    }

    /// Keeps an answer for repetition.
    pub fn keep(&mut self, key: RepeatKey, answer: SignedIn, now: Instant) {
        if self.answers.insert(key.clone(), answer).is_none() {
            self.order.push_back((now, key));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, key)) = self.order.front()
            && (now.duration_since(*at) >= REPEATABLE_FOR || self.order.len() > REPEATABLE_SIGN_INS)
        {
            self.answers.remove(key);
            self.order.pop_front();
        }
    }
}
