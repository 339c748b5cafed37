//! 201s that can be repeated: a sign-in sent twice with one `Idempotency-Key` reserves one place.

use crate::limits::{REPEATABLE_FOR, REPEATABLE_SIGN_INS};
use crate::user::User;
use gateway_protocol::{ClientId, SignedIn};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// What a sign-in asked for: the fingerprint that tells a repetition from another request with the same key. A capsule or
/// token that was renewed meanwhile does not make it another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who signs in.
    pub user: User,
    /// From which tab.
    pub client_id: ClientId,
}

/// The key was used for another sign-in (draft-ietf-httpapi-idempotency-key-header).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyReused;

/// The last [`REPEATABLE_SIGN_INS`] answers, none older than [`REPEATABLE_FOR`].
#[derive(Debug, Default)]
pub struct RepeatableSignIns {
    answers: BTreeMap<String, (Asked, SignedIn)>,
    order: VecDeque<(Instant, String)>,
}

impl RepeatableSignIns {
    /// The answer that was given for `key`.
    pub fn find(&mut self, key: &str, asked: &Asked, now: Instant) -> Result<Option<&SignedIn>, KeyReused> {
        self.forget(now);
        match self.answers.get(key) {
            Some((before, answer)) if before == asked => Ok(Some(answer)),
            Some(_) => Err(KeyReused),
            None => Ok(None),
        }
    }

    /// Keeps an answer for repetition.
    pub fn keep(&mut self, key: String, asked: Asked, answer: SignedIn, now: Instant) {
        if self.answers.insert(key.clone(), (asked, answer)).is_none() {
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
