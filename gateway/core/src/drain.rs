//! Draining: nothing new, idle clients are moved at a pace, callers stay until their end or the deadline. Leaving is draining
//! with the end of the process behind it, which comes the sooner the sooner nobody is left to wait for.
//!
//! It knows keys and times; [`crate::Instance`] does what it says.

use crate::ticket;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Where an instance is on its way out.
///
/// | from | to | by |
/// |---|---|---|
/// | serving | draining | [`Drain::start`] |
/// | draining | serving | [`Drain::cancel`] |
/// | serving, draining | leaving | [`Drain::leave`]; again, it brings the end forward |
/// | leaving | left | its time |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining { deadline: Instant, ended: bool },
    Leaving { at: Instant },
    Left,
}

/// A step that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<K> {
    /// Give this one a ticket, if it is idle.
    Move(K),
    /// The deadline: end the calls that are left.
    EndCalls,
    /// Close everything.
    Leave,
}

/// See the module.
#[derive(Debug)]
pub struct Drain<K> {
    phase: Phase,
    /// Who is to be moved, and when at the earliest.
    moves: BTreeSet<(Instant, K)>,
    /// Between two moves, so that the other instances can take them.
    pace: Duration,
    next_move: Option<Instant>,
}

impl<K: Copy + Ord> Drain<K> {
    /// Serving; when draining, at most one move in `pace`.
    #[must_use]
    pub fn new(pace: Duration) -> Self {
        Self { phase: Phase::Serving, moves: BTreeSet::new(), pace, next_move: None }
    }

    /// Starts to drain; false if it does already.
    pub fn start(&mut self, deadline: Instant) -> bool {
        let starts = self.phase == Phase::Serving;
        if starts {
            self.phase = Phase::Draining { deadline, ended: false };
        }
        starts
    }

    /// Serves again; false if it did not drain, or is leaving.
    pub fn cancel(&mut self) -> bool {
        let cancels = matches!(self.phase, Phase::Draining { .. });
        if cancels {
            self.phase = Phase::Serving;
            self.moves.clear();
        }
        cancels
    }

    /// Will close everything at `at`, or earlier if it was to already; false if it was leaving.
    pub fn leave(&mut self, at: Instant) -> bool {
        match &mut self.phase {
            Phase::Serving | Phase::Draining { .. } => {
                self.phase = Phase::Leaving { at };
                true
            }
            Phase::Leaving { at: known } => {
                *known = at.min(*known);
                false
            }
            Phase::Left => false,
        }
    }

    /// Will close everything.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Somebody idle has yet to get a ticket.
    #[must_use]
    pub fn is_moving(&self, now: Instant) -> bool {
        self.moves.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase != Phase::Serving
    }

    /// Has closed everything.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// How long calls may still last; `None` when serving.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Serving => None,
            Phase::Draining { deadline: at, .. } | Phase::Leaving { at } => Some(at.saturating_duration_since(now)),
            Phase::Left => Some(Duration::ZERO),
        }
    }

    /// `key` became idle and can be moved.
    pub fn queue(&mut self, key: K, now: Instant) {
        if self.is_draining() {
            self.moves.insert((now, key));
        }
    }

    /// When it wants to be driven, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let phase = match self.phase {
            Phase::Draining { deadline, ended: false } => Some((deadline, "drain deadline")),
            Phase::Leaving { at } => Some((at, "drain notice")),
            Phase::Serving | Phase::Draining { ended: true, .. } | Phase::Left => None,
        };
        let due = self.moves.first().map(|(at, _)| (self.next_move.map_or(*at, |next| next.max(*at)), "move"));
        [phase, due].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The next step that is due; ask until there is none.
    pub fn next_step(&mut self, now: Instant) -> Option<Step<K>> {
        match self.phase {
            Phase::Draining { deadline, ended: false } if deadline <= now => {
                self.phase = Phase::Draining { deadline, ended: true };
                return Some(Step::EndCalls);
            }
            Phase::Leaving { at } if at <= now => {
                self.phase = Phase::Left;
                self.moves.clear();
                return Some(Step::Leave);
            }
            Phase::Serving | Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Left => {}
        }
        self.next_move(now).map(Step::Move)
    }

    fn next_move(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.moves.first()?;
        if at > now || self.next_move.is_some_and(|next| next > now) {
            return None;
        }
        self.moves.pop_first();
        self.next_move = Some(now + self.pace);
        Some(key)
    }

    /// `key` got a ticket; it gets another one if it is still here when that has expired.
    pub fn moved(&mut self, key: K, now: Instant) {
        self.moves.insert((now + ticket::LIFE, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::test_clock;

    const PACE: Duration = Duration::from_millis(10);

    #[test]
    fn moves_keep_their_pace() {
        let now = test_clock();
        let mut drain = Drain::new(PACE);
        drain.queue(0, now);
        assert_eq!(drain.next_step(now), None);
        assert!(drain.start(now + Duration::from_secs(1)));
        (1..=3).for_each(|key| drain.queue(key, now));
        assert_eq!(drain.next_step(now), Some(Step::Move(1)));
        assert_eq!(drain.next_step(now), None);
        assert_eq!(drain.poll_timeout(), Some((now + PACE, "move")));
        assert_eq!(drain.next_step(now + PACE), Some(Step::Move(2)));
    }

    #[test]
    fn the_deadline_comes_once_and_a_cancel_stops_it_all() {
        let now = test_clock();
        let mut drain = Drain::<u8>::new(PACE);
        drain.start(now + PACE);
        assert!(!drain.start(now + PACE * 9));
        assert_eq!(drain.next_step(now + PACE), Some(Step::EndCalls));
        assert_eq!(drain.next_step(now + PACE), None);
        assert!(drain.cancel() && !drain.is_draining() && drain.remaining(now).is_none());
    }

    #[test]
    fn leaving_comes_after_the_notice() {
        let now = test_clock();
        let mut drain = Drain::<u8>::new(PACE);
        assert!(drain.leave(now + PACE));
        assert!(!drain.cancel());
        assert_eq!(drain.next_step(now), None);
        assert_eq!(drain.next_step(now + PACE), Some(Step::Leave));
        assert!(drain.has_left());
    }

    #[test]
    fn the_end_is_only_ever_brought_forward() {
        let now = test_clock();
        let mut drain = Drain::<u8>::new(PACE);
        assert!(drain.leave(now + PACE * 9));
        assert!(!drain.leave(now + PACE * 5) && !drain.leave(now + PACE * 7));
        assert_eq!(drain.poll_timeout(), Some((now + PACE * 5, "drain notice")));
    }

    #[test]
    fn somebody_is_moving_until_everyone_idle_has_a_ticket() {
        let now = test_clock();
        let mut drain = Drain::new(PACE);
        drain.leave(now + PACE * 9);
        drain.queue(1, now);
        assert!(drain.is_moving(now));
        assert_eq!(drain.next_step(now), Some(Step::Move(1)));
        drain.moved(1, now);
        assert!(!drain.is_moving(now));
    }
}
