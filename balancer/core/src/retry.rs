//! What happens to a request whose instance did not answer it: which requests may be sent again, and how often.
//!
//! A request that may have acted is only repeated if repeating is harmless; else the client is told that its outcome is unknown.

/// Most further tries after an instance was lost. Refusals that promise that nothing happened don't count: for those every
/// candidate is asked once before a client hears "full".
pub const MAX_MORE_TRIES: u8 = 2;
/// Longest body that is kept for a repetition; a longer one makes a request with `Idempotency-Key` unrepeatable once sent.
pub const MAX_KEPT_BODY_BYTES: usize = 64 * 1024;

/// What repeating a request would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing that the first time did not: a bodiless GET, HEAD or OPTIONS, or a request with `Idempotency-Key`.
    Harmless,
    /// It might act twice.
    MightActTwice,
}

impl Repeat {
    /// For a request with this method. `idempotency_key` only counts while its body is kept.
    #[must_use]
    pub fn of(method: &str, has_body: bool, idempotency_key: bool) -> Self {
        let reads = matches!(method, "GET" | "HEAD" | "OPTIONS") && !has_body;
        if reads || idempotency_key { Self::Harmless } else { Self::MightActTwice }
    }
}

/// How a try ended without an answer that could be passed on. Once a byte of an answer was passed on, nothing is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Nothing was sent: refused, no connection, or a pooled connection that was closed meanwhile.
    Unsent,
    /// A problem that promises that nothing happened (`instance-full`, `not-acted`).
    NothingHappened,
    /// Sent, at least in part, and no byte of an answer came before the connection broke or the instance went down.
    NoAnswer,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send it to another instance, without a pause.
    Again,
    /// 502 `outcome-unknown`: it may have acted.
    OutcomeUnknown,
    /// 503 with Retry-After: it has not acted.
    Unavailable,
}

/// What to do after `failure`, when `lost` earlier tries ended by the loss of an instance (not by a promise).
pub fn after(failure: Failure, repeat: Repeat, lost: u8, budget: &mut Budget) -> Next {
    match failure {
        Failure::NothingHappened => Next::Again,
        Failure::Unsent if lost < MAX_MORE_TRIES && budget.take() => Next::Again,
        Failure::Unsent => Next::Unavailable,
        Failure::NoAnswer if repeat == Repeat::MightActTwice => Next::OutcomeUnknown,
        Failure::NoAnswer if lost < MAX_MORE_TRIES && budget.take() => Next::Again,
        Failure::NoAnswer => Next::OutcomeUnknown,
    }
}

/// Keeps repetitions a small part of the load, so that a struggling cluster is not asked three times as much. One per thread.
#[derive(Debug)]
pub struct Budget {
    /// In fifths of a repetition.
    fifths: u32,
}

impl Budget {
    /// Saved up at most: enough for the requests in flight when an instance dies.
    const MAX_FIFTHS: u32 = 5 * 2_000;

    /// To be called for each request, not for its repetitions: five requests earn one repetition.
    pub fn earn(&mut self) {
        self.fifths = (self.fifths + 1).min(Self::MAX_FIFTHS);
    }

    fn take(&mut self) -> bool {
        let enough = self.fifths >= 5;
        if enough {
            self.fifths -= 5;
        }
        enough
    }
}

impl Default for Budget {
    /// Starts full: an instance may die in the first second.
    fn default() -> Self {
        Self { fifths: Self::MAX_FIFTHS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(failure: Failure, repeat: Repeat, lost: u8) -> Next {
        after(failure, repeat, lost, &mut Budget::default())
    }

    #[test]
    fn what_was_not_sent_is_sent_elsewhere_whatever_it_is() {
        assert_eq!(next(Failure::Unsent, Repeat::MightActTwice, 0), Next::Again);
        assert_eq!(next(Failure::Unsent, Repeat::MightActTwice, MAX_MORE_TRIES), Next::Unavailable);
    }

    #[test]
    fn what_may_have_acted_is_only_repeated_if_that_is_harmless() {
        assert_eq!(next(Failure::NoAnswer, Repeat::MightActTwice, 0), Next::OutcomeUnknown);
        assert_eq!(next(Failure::NoAnswer, Repeat::Harmless, 1), Next::Again);
        assert_eq!(next(Failure::NoAnswer, Repeat::Harmless, MAX_MORE_TRIES), Next::OutcomeUnknown);
    }

    #[test]
    fn every_candidate_is_asked_before_a_client_hears_full() {
        assert_eq!(next(Failure::NothingHappened, Repeat::MightActTwice, 99), Next::Again);
    }

    #[test]
    fn only_reads_without_a_body_and_keyed_requests_are_harmless() {
        assert_eq!(Repeat::of("GET", false, false), Repeat::Harmless);
        assert_eq!(Repeat::of("GET", true, false), Repeat::MightActTwice);
        assert_eq!(Repeat::of("POST", true, true), Repeat::Harmless);
        assert_eq!(Repeat::of("DELETE", false, false), Repeat::MightActTwice);
        assert_eq!(
            Repeat::of("get", false, false),
            Repeat::MightActTwice,
            "methods are case-sensitive (RFC 9110 §9.1)"
        );
    }

    #[test]
    fn repetitions_stay_a_fifth_of_the_requests_once_the_savings_are_spent() {
        let mut budget = Budget::default();
        while budget.take() {}
        for _ in 0..100 {
            budget.earn();
        }
        let again =
            (0..100).filter(|_| after(Failure::Unsent, Repeat::Harmless, 0, &mut budget) == Next::Again).count();
        assert_eq!(again, 20);
    }
}
