//! What became of every user and call while instances die: facts in, windows out. Pure; times are those of the run.

use crate::user::Now;
use std::collections::BTreeMap;
use std::time::Duration;

/// A call that rings within this time reached the user as its caller expects.
const IN_TIME: Duration = Duration::from_secs(3);

/// One user.
#[derive(Debug, Clone, Default)]
struct User {
    instance: String,
    signed_in: Option<Now>,
    /// Its instance died then, and nobody has reached it since.
    unreachable: Option<Now>,
    /// The newest death of an instance that it was at.
    died: Now,
    rang: bool,
}

/// One call of a phone.
#[derive(Debug, Clone)]
struct Call {
    user: usize,
    placed: Now,
    /// Placed while the user could not be reached.
    in_gap: bool,
    rang: Option<Now>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Book {
    users: Vec<User>,
    calls: BTreeMap<u64, Call>,
    windows: Vec<Duration>,
    refused: BTreeMap<u16, u64>,
}

impl Book {
    /// Of so many users.
    #[must_use]
    pub(super) fn new(users: usize) -> Self {
        Self { users: vec![User::default(); users], ..Self::default() }
    }

    /// A user attached at an instance, for the first time or again.
    pub(super) fn signed_in(&mut self, user: usize, instance: &str, at: Now) {
        if let Some(user) = self.users.get_mut(user) {
            (user.instance, user.signed_in) = (instance.to_owned(), Some(at));
        }
    }

    /// An instance is killed; gives its users.
    pub(super) fn killed(&mut self, instance: &str, at: Now) -> Vec<usize> {
        let hit: Vec<usize> =
            self.users.iter().enumerate().filter(|(_, user)| user.instance == instance).map(|(at, _)| at).collect();
        for user in &hit {
            self.users[*user].unreachable.get_or_insert(at);
            self.users[*user].died = at;
        }
        hit
    }

    /// A phone calls a user.
    pub(super) fn placed(&mut self, call: u64, user: usize, at: Now) {
        let in_gap = self.is_unreachable(user);
        self.calls.insert(call, Call { user, placed: at, in_gap, rang: None });
    }

    /// The user's browser was told of the call. What a dead instance sent before its end, and is read only now, is no sign of
    /// life: the user must have signed in since.
    pub(super) fn rang(&mut self, call: u64, user: usize, at: Now) {
        let Some(call) = self.calls.get_mut(&call).filter(|call| call.user == user) else { return };
        let user = &mut self.users[user];
        if user.unreachable.is_some() && user.signed_in.is_none_or(|signed_in| signed_in <= user.died) {
            return;
        }
        call.rang.get_or_insert(at);
        user.rang = true;
        if let Some(since) = user.unreachable.take() {
            self.windows.push(at.saturating_sub(since));
        }
    }

    /// The SIP side refused the call; gives the user if it is still to be reached.
    pub(super) fn refused(&mut self, call: u64, status: u16) -> Option<usize> {
        let call = self.calls.get(&call).filter(|call| call.rang.is_none())?;
        *self.refused.entry(status).or_default() += 1;
        Some(call.user).filter(|user| self.is_unreachable(*user))
    }

    /// Whether it is to be reached again.
    #[must_use]
    pub(super) fn is_unreachable(&self, user: usize) -> bool {
        self.users.get(user).is_some_and(|user| user.unreachable.is_some())
    }

    /// How many are to be reached again.
    #[must_use]
    pub(super) fn unreachable(&self) -> usize {
        self.users.iter().filter(|user| user.unreachable.is_some()).count()
    }

    /// How many were reached at least once.
    #[must_use]
    pub(super) fn reached(&self) -> usize {
        self.users.iter().filter(|user| user.rang).count()
    }

    /// Those not reached yet.
    #[must_use]
    pub(super) fn never_reached(&self) -> Vec<usize> {
        self.users.iter().enumerate().filter(|(_, user)| !user.rang).map(|(at, _)| at).collect()
    }

    /// The instance with most users, and how many.
    #[must_use]
    pub(super) fn fullest(&self) -> Option<(String, usize)> {
        let mut counts = BTreeMap::<&str, usize>::new();
        self.users.iter().for_each(|user| *counts.entry(&user.instance).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, count)| (name.to_owned(), count))
    }

    /// From each death to the first ring after it, for each user that it hit.
    #[must_use]
    pub(super) fn windows(&self) -> &[Duration] {
        &self.windows
    }

    /// Calls to users that could not be reached when they were placed, and how many of them rang in time.
    #[must_use]
    pub(super) fn gap_calls(&self) -> (u64, u64) {
        let in_gap = self.calls.values().filter(|call| call.in_gap);
        in_gap.fold((0, 0), |(all, rang), call| {
            let in_time = call.rang.is_some_and(|at| at.saturating_sub(call.placed) <= IN_TIME);
            (all + 1, rang + u64::from(in_time))
        })
    }

    /// All calls, and how many of them rang.
    #[must_use]
    pub(super) fn calls(&self) -> (u64, u64) {
        let rang = self.calls.values().filter(|call| call.rang.is_some()).count();
        (self.calls.len() as u64, rang as u64)
    }

    /// Calls that did not ring, by the status that ended them.
    #[must_use]
    pub(super) fn refusals(&self) -> &BTreeMap<u16, u64> {
        &self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Now {
        Duration::from_millis(ms)
    }

    fn two() -> Book {
        let mut book = Book::new(2);
        book.signed_in(0, "i1", ms(10));
        book.signed_in(1, "i2", ms(10));
        book
    }

    #[test]
    fn a_window_lasts_from_the_death_to_the_first_ring_at_another_instance() {
        let mut book = two();
        book.placed(1, 0, ms(90));
        assert_eq!(book.killed("i1", ms(100)), [0]);
        book.rang(1, 0, ms(101));
        assert_eq!((book.unreachable(), book.windows().len()), (1, 0), "that was the dead one's last word");
        book.placed(2, 0, ms(120));
        book.signed_in(0, "i2", ms(300));
        book.rang(2, 0, ms(350));
        assert_eq!((book.windows(), book.gap_calls()), (&[ms(250)][..], (1, 1)));
        book.placed(3, 0, ms(400));
        book.rang(3, 0, ms(9_000));
        assert_eq!((book.gap_calls(), book.calls(), book.reached()), ((1, 1), (3, 2), 1));
        assert_eq!(book.fullest(), Some(("i2".to_owned(), 2)));
    }

    #[test]
    fn a_call_that_is_refused_or_late_did_not_ring_in_time() {
        let mut book = two();
        book.killed("i1", ms(100));
        book.placed(1, 0, ms(100));
        book.placed(2, 0, ms(100));
        assert_eq!(book.refused(1, 480), Some(0));
        book.signed_in(0, "i2", ms(200));
        book.rang(2, 0, ms(3_101));
        assert_eq!(book.gap_calls(), (2, 0));
        assert_eq!(book.refused(2, 487), None, "it rang");
        assert_eq!(book.refusals().iter().collect::<Vec<_>>(), [(&480, &1)]);
    }

    #[test]
    fn a_second_death_in_the_gap_makes_the_window_longer() {
        let mut book = two();
        book.killed("i1", ms(100));
        book.signed_in(0, "i2", ms(200));
        assert_eq!(book.killed("i2", ms(210)), [0, 1]);
        book.placed(1, 0, ms(220));
        book.rang(1, 0, ms(230));
        book.signed_in(0, "i3", ms(400));
        book.rang(1, 0, ms(410));
        assert_eq!(book.windows(), [ms(310)]);
    }
}
