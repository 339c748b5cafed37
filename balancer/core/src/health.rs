//! Whether one instance is alive: the machine that every run of it goes through.
//!
//! It knows no clock and no connection; [`crate::Pool`] feeds it what checks and the data path found out, and judges silence,
//! because one instance's silence is only believed while the others are heard.

use crate::Time;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Good answers that it takes to come up.
pub const ANSWERS_TO_COME_UP: u8 = 2;
/// How long a returned instance's share of new sessions grows, from [`SLOWEST_WEIGHT`] to [`FULL_WEIGHT`].
pub const SLOW_START: Duration = Duration::from_secs(10);
/// The share it starts with, in thousandths.
pub const SLOWEST_WEIGHT: u16 = 100;
/// The share of an instance that is up for longer, in thousandths.
pub const FULL_WEIGHT: u16 = 1000;
/// The first hold-down, from its first answer on; each further loss doubles it.
pub const HOLD_DOWN: Duration = Duration::from_secs(1);
/// The longest hold-down.
pub const MAX_HOLD_DOWN: Duration = Duration::from_secs(60);
/// After this time up without a loss, earlier losses are forgiven.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// How an instance was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// It refused or reset connections, or runs under another boot id: its sessions are over.
    Gone,
    /// No byte came for the silence time: it is frozen, or cut off from here. Its sessions may live.
    Silent,
}

impl Loss {
    /// The word in close reasons, headers and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
        }
    }
}

/// Where an instance stands.
///
/// | | good answer in time | late or bad answer | lost |
/// |---|---|---|---|
/// | joining | up after two | stays, counts anew | down |
/// | up | stays | suspect | down |
/// | suspect | up | stays | down |
/// | down | hold-down; joining, if nothing is held against it | stays | stays, `silent` may become `gone` |
/// | hold-down | up after two, when its time is over | stays, counts anew | down |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not heard of often enough.
    Joining,
    /// Serves.
    Up,
    /// Serves what it has; late, so it gets nothing new.
    Suspect,
    /// Lost.
    Down(Loss),
    /// Back, but not trusted with new sessions yet.
    HoldDown,
}

impl State {
    /// The five words of `/instances` and of metrics.
    pub const LABELS: [&str; 5] = ["joining", "up", "suspect", "down", "hold-down"];

    /// One of [`State::LABELS`].
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down(_) => "down",
            Self::HoldDown => "hold-down",
        }
    }

    /// True unless it is known to be lost: requests of its own sessions reach it.
    #[must_use]
    pub fn alive(self) -> bool {
        !matches!(self, Self::Down(_))
    }

    /// True if its sessions count on it now: up or suspect.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

/// The health of the runs at one endpoint.
#[derive(Debug, Clone)]
pub struct Health {
    state: State,
    since: Time,
    /// When it last came up; slow start counts from here.
    up_since: Time,
    /// Good answers in a row, while it is not up.
    good: u8,
    /// Losses that are not forgiven yet.
    losses: u32,
    /// The hold-down that its next return begins with.
    hold_down: Duration,
}

impl Health {
    /// An instance that was never heard of.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { state: State::Joining, since: now, up_since: now, good: 0, losses: 0, hold_down: Duration::ZERO }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Time {
        self.since
    }

    /// When it last came up.
    #[must_use]
    pub fn up_since(&self) -> Time {
        self.up_since
    }

    /// A good answer came in time. `trusted_early` waives the hold-down, because capacity is short.
    pub fn handle_good(&mut self, now: Time, trusted_early: bool) {
        self.good = self.good.saturating_add(1);
        let enough = self.good >= ANSWERS_TO_COME_UP;
        match self.state {
            State::Joining if enough => self.come_up(now),
            State::Suspect => self.enter(State::Up, now),
            State::Down(_) => self.return_from(now),
            State::HoldDown if enough && (trusted_early || now >= self.since + self.hold_down) => self.come_up(now),
            State::Up => self.forgive(now),
            State::Joining | State::HoldDown => {}
        }
    }

    /// An answer is late, came late, or was not good.
    pub fn handle_bad(&mut self, now: Time) {
        self.good = 0;
        if self.state == State::Up {
            self.enter(State::Suspect, now);
        }
    }

    /// It is lost. True if sessions counted on it until now, so that they must be told.
    pub fn handle_loss(&mut self, now: Time, loss: Loss) -> bool {
        self.good = 0;
        let cut = match self.state {
            State::Down(Loss::Gone) => return false,
            State::Down(Loss::Silent) if loss == Loss::Silent => return false,
            State::Down(Loss::Silent) => false,
            State::Joining => true,
            State::Up | State::Suspect | State::HoldDown => {
                self.losses += 1;
                self.hold_down = self.hold_down_after(loss);
                true
            }
        };
        self.enter(State::Down(loss), now);
        cut
    }

    /// Share of new sessions in thousandths; whole at once if capacity is short.
    #[must_use]
    pub fn weight(&self, now: Time, capacity_is_short: bool) -> u16 {
        let up_for = now.saturating_sub(self.up_since);
        if capacity_is_short || up_for >= SLOW_START {
            return FULL_WEIGHT;
        }
        let gained = u128::from(FULL_WEIGHT - SLOWEST_WEIGHT) * up_for.as_millis() / SLOW_START.as_millis();
        SLOWEST_WEIGHT + gained as u16
    }

    /// A process that crashed once and is new is held against nobody; one that froze is the same process as before.
    fn hold_down_after(&self, loss: Loss) -> Duration {
        let free = match loss {
            Loss::Gone => 1,
            Loss::Silent => 0,
        };
        match self.losses.saturating_sub(free) {
            0 => Duration::ZERO,
            flaps => (HOLD_DOWN * 2_u32.saturating_pow(flaps - 1).min(64)).min(MAX_HOLD_DOWN),
        }
    }

    fn return_from(&mut self, now: Time) {
        self.good = 1;
        self.enter(if self.hold_down.is_zero() { State::Joining } else { State::HoldDown }, now);
    }

    fn come_up(&mut self, now: Time) {
        self.up_since = now;
        self.enter(State::Up, now);
    }

    fn forgive(&mut self, now: Time) {
        if now.saturating_sub(self.up_since) >= FORGIVEN_AFTER {
            self.losses = 0;
        }
    }

    fn enter(&mut self, state: State, now: Time) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(100);

    fn after(state: State, event: impl FnOnce(&mut Health)) -> State {
        let mut health = Health { state, hold_down: HOLD_DOWN, ..Health::new(Time::ZERO) };
        event(&mut health);
        health.state()
    }

    #[test]
    fn the_table_is_true() {
        let good = |health: &mut Health| health.handle_good(NOW, false);
        let two_good = |health: &mut Health| (0..2).for_each(|_| health.handle_good(NOW, false));
        let bad = |health: &mut Health| health.handle_bad(NOW);
        let gone = |health: &mut Health| assert!(health.handle_loss(NOW, Loss::Gone) || !health.state.alive());
        let silent = |health: &mut Health| assert!(health.handle_loss(NOW, Loss::Silent) || !health.state.alive());
        use State::{Down, HoldDown, Joining, Suspect, Up};
        let table = [
            (Joining, [Joining, Up, Joining]),
            (Up, [Up, Up, Suspect]),
            (Suspect, [Up, Up, Suspect]),
            (Down(Loss::Gone), [HoldDown, HoldDown, Down(Loss::Gone)]),
            (HoldDown, [HoldDown, Up, HoldDown]),
        ];
        for (state, expected) in table {
            assert_eq!([after(state, good), after(state, two_good), after(state, bad)], expected, "{state:?}");
            assert_eq!(after(state, gone), Down(Loss::Gone));
        }
        assert_eq!(after(Down(Loss::Silent), gone), Down(Loss::Gone), "silent may turn out to be gone");
        assert_eq!(after(Down(Loss::Gone), silent), Down(Loss::Gone), "and gone is not silent");
    }

    #[test]
    fn sessions_are_told_of_a_loss_once() {
        let mut health = Health { state: State::Up, ..Health::new(NOW) };
        assert!(health.handle_loss(NOW, Loss::Silent));
        assert!(!health.handle_loss(NOW, Loss::Silent) && !health.handle_loss(NOW, Loss::Gone));
    }

    #[test]
    fn hold_down_has_an_end() {
        let mut health = Health::new(NOW);
        for _ in 0..100 {
            health.state = State::Up;
            health.handle_loss(NOW, Loss::Gone);
        }
        assert_eq!(health.hold_down, MAX_HOLD_DOWN);
    }
}
