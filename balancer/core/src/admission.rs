//! Who may sign in now: paced re-entry after a loss, returning users first, and a spread answer for those who must wait.

use crate::{
    Random, Report, Run, Snapshot, Time,
    pin::{Pin, PinId},
};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// Sign-ins of one pin id in a minute; beyond that the pin counts as absent, and its bearer as a new user.
pub const SIGN_INS_A_MINUTE: usize = 5;
/// Longest time that a sign-in is held back for its turn; one whose turn is later hears 503 with Retry-After.
pub const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The same for a new user, while users of a lost instance come back: long enough for a queue that is about to be empty, as
/// Retry-After can't say less than a second; short enough to leave most of the queue to those who return.
pub const LONGEST_NEWCOMER_WAIT: Duration = Duration::from_millis(100);
/// Retry-After is spread from one second to this at most.
pub const LATEST_RETRY: Duration = Duration::from_secs(5);
/// A recovery that takes longer than this is over all the same.
pub const LONGEST_RECOVERY: Duration = Duration::from_secs(15);
/// Pin ids remembered per minute. At the limit further ones are not counted: they get no advantage by it.
pub const MAX_PINS: usize = 100_000;

/// The verdict on a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It may go on, after `wait` (mostly zero). If not `pin_counts`, it is to be routed as if it had no pin.
    Enter {
        /// Until its turn.
        wait: Duration,
        /// Whether its pin places it.
        pin_counts: bool,
    },
    /// 503 with Retry-After.
    Later {
        /// Not before this.
        retry_after: Duration,
        /// Why.
        why: Refusal,
    },
}

/// Why a sign-in must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The survivors of a loss take returning users first, as fast as they can set up sessions.
    Paced,
    /// One more new user would use up the spare instances (`--protect-spare`).
    SpareProtected,
}

impl Refusal {
    /// All, for metrics.
    pub const ALL: [Self; 2] = [Self::Paced, Self::SpareProtected];

    /// Metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::SpareProtected => "spare_protected",
        }
    }
}

/// Retry-After for a client that nothing is free for: spread over as many seconds as the instances need to set up all the
/// sessions that were last heard of, so that a crowd does not come back together and a few users hardly wait.
pub fn retry_after(snapshot: &Snapshot, random: &mut impl Random) -> Duration {
    let sum = |of: fn(&Report) -> u32| snapshot.instances.iter().map(|each| u64::from(of(&each.report))).sum::<u64>();
    let crowd = sum(|report| report.used);
    let seconds = crowd.div_ceil(sum(|report| report.setup_rate).max(1));
    Duration::from_secs(1 + random.below(seconds.clamp(1, LATEST_RETRY.as_secs())))
}

/// Decides about every `POST /v1/sessions`. One per balancer.
#[derive(Debug, Default)]
pub struct Admission {
    recoveries: Vec<Recovery>,
    /// When the next sign-in's turn is, while there is a recovery.
    next_turn: Time,
    sign_ins: SignIns,
}

/// The users of one lost run who come back.
#[derive(Debug)]
struct Recovery {
    run: Run,
    since: Time,
    /// Places left for members of the lost run: 1.1 times the sessions it reported last.
    places: u32,
    /// Who took one.
    returned: HashSet<PinId>,
}

impl Admission {
    /// An instance with so many sessions was lost.
    pub fn handle_loss(&mut self, now: Time, run: Run, sessions: u32) {
        self.recoveries.retain(|recovery| !recovery.is_over(now) && recovery.run != run);
        if sessions > 0 {
            let places = sessions.saturating_add(sessions.div_ceil(10));
            self.recoveries.push(Recovery { run, since: now, places, returned: HashSet::new() });
        }
    }

    /// The verdict on a sign-in that bears `pin`.
    pub fn handle_sign_in(
        &mut self,
        now: Time,
        pin: Option<&Pin<'_>>,
        snapshot: &Snapshot,
        random: &mut impl Random,
    ) -> Entry {
        self.recoveries.retain(|recovery| !recovery.is_over(now));
        let pin = pin.filter(|pin| self.sign_ins.allows(now, pin.id));
        let is_member = pin.is_some_and(|pin| pin.member);
        if !is_member && snapshot.newcomers_left() == Some(0) {
            return Entry::Later { retry_after: retry_after(snapshot, random), why: Refusal::SpareProtected };
        }
        match self.turn(now, pin, snapshot) {
            Some(wait) => Entry::Enter { wait, pin_counts: pin.is_some() },
            None => Entry::Later { retry_after: retry_after(snapshot, random), why: Refusal::Paced },
        }
    }

    /// How long until this sign-in's turn; `None` if that is too long. The queue is virtual: each sign-in moves the next turn
    /// by the time that the survivors need for one. New users enter only while few wait.
    fn turn(&mut self, now: Time, pin: Option<&Pin<'_>>, snapshot: &Snapshot) -> Option<Duration> {
        if self.recoveries.is_empty() {
            return Some(Duration::ZERO);
        }
        let returning = pin.and_then(|pin| Some((pin, self.recoveries.iter_mut().find(|each| each.expects(pin))?)));
        let turn = self.next_turn.max(now);
        let longest = if returning.is_some() { LONGEST_WAIT } else { LONGEST_NEWCOMER_WAIT };
        if turn - now > longest {
            return None;
        }
        self.next_turn = turn + Duration::from_secs(1) / setup_rate(snapshot).max(1);
        if let Some((pin, recovery)) = returning {
            recovery.handle_return(pin.id);
        }
        Some(turn - now)
    }
}

/// Sign-ins that the placeable instances can set up in a second.
fn setup_rate(snapshot: &Snapshot) -> u32 {
    snapshot.instances.iter().filter(|each| each.placeable).map(|each| each.report.setup_rate).sum()
}

impl Recovery {
    fn is_over(&self, now: Time) -> bool {
        self.places == 0 || now.saturating_sub(self.since) > LONGEST_RECOVERY
    }

    /// True for the bearer of a member pin of the lost run, once per pin id.
    fn expects(&self, pin: &Pin<'_>) -> bool {
        pin.member && self.places > 0 && self.run.is(pin.instance, pin.boot) && !self.returned.contains(&pin.id)
    }

    fn handle_return(&mut self, pin: PinId) {
        self.returned.insert(pin);
        self.places -= 1;
    }
}

/// Counts sign-ins by pin id over the last minute.
#[derive(Debug, Default)]
struct SignIns {
    /// The last times of each pin id; those of this minute, and those not seen since the minute before.
    recent: HashMap<PinId, LastTimes>,
    older: HashMap<PinId, LastTimes>,
    turned: Time,
}

type LastTimes = [Option<Time>; SIGN_INS_A_MINUTE];

impl SignIns {
    const MINUTE: Duration = Duration::from_secs(60);

    /// Counts one, and says whether it is within the limit.
    fn allows(&mut self, now: Time, pin: PinId) -> bool {
        if now.saturating_sub(self.turned) >= Self::MINUTE {
            self.older = std::mem::take(&mut self.recent);
            self.turned = now;
        }
        if self.recent.len() >= MAX_PINS && !self.recent.contains_key(&pin) {
            return true;
        }
        let older = &mut self.older;
        let times = self.recent.entry(pin).or_insert_with(|| older.remove(&pin).unwrap_or_default());
        times.rotate_left(1);
        let fifth_last = times[SIGN_INS_A_MINUTE - 1].replace(now);
        fifth_last.is_none_or(|then| now.saturating_sub(then) >= Self::MINUTE)
    }
}
