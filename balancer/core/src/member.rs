//! What listens at one endpoint: the run that answered last, the checks under way, and when it was heard.

use crate::{
    AdminState, Endpoint, Instance, InstanceId, Loss, Report, Run, State, Time, Traffic,
    health::Health,
    instance::Stage,
    pool::{CHECK_TIMEOUT, DOUBT_INTERVAL, LATE},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// An instance that was told to drain and does not is told again after this time.
const DRAIN_AGAIN: Duration = Duration::from_secs(1);

/// See the module. The pool asks, this remembers.
#[derive(Debug)]
pub(crate) struct Member {
    health: Health,
    current: Option<Current>,
    checks: VecDeque<Check>,
    /// Reports and failures of older checks than this are stale.
    newest_answered: u64,
    last_doubt: Time,
    /// Silence only counts while an answer is owed: since the first question after its last word.
    owed_since: Option<Time>,
    /// False once discovery does not name it any more.
    pub(crate) listed: bool,
}

/// The run that answered last.
#[derive(Debug)]
struct Current {
    serial: u64,
    report: Arc<Report>,
    traffic: Arc<Traffic>,
    answered_when_asked: u32,
    /// It was told to drain, and no report has shown it yet.
    drain_wanted: bool,
    drain_told: Time,
}

/// A check under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    number: u64,
    asked: Time,
    pub(crate) fresh: bool,
    late: bool,
    answered_when_asked: u32,
}

/// A run whose sessions must be told.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) serial: u64,
    pub(crate) run: Run,
    pub(crate) loss: Loss,
    pub(crate) sessions: u32,
}

impl Member {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            health: Health::new(now),
            current: None,
            checks: VecDeque::new(),
            newest_answered: 0,
            last_doubt: Time::ZERO,
            owed_since: None,
            listed: true,
        }
    }

    // ---- checks ----

    pub(crate) fn ask(&mut self, now: Time, number: u64, fresh: bool) {
        let answered_when_asked = self.current.as_ref().map_or(0, |current| current.traffic.answered());
        self.checks.push_back(Check { number, asked: now, fresh, late: false, answered_when_asked });
        self.owed_since.get_or_insert(now);
    }

    pub(crate) fn take_check(&mut self, number: u64) -> Option<Check> {
        let index = self.checks.iter().position(|check| check.number == number)?;
        self.checks.remove(index)
    }

    /// False if a newer check was answered before.
    pub(crate) fn is_newest(&self, number: u64) -> bool {
        number >= self.newest_answered
    }

    /// False if a doubt was answered by a check only a moment ago.
    pub(crate) fn takes_doubt(&mut self, now: Time) -> bool {
        let takes = now.saturating_sub(self.last_doubt) >= DOUBT_INTERVAL;
        if takes {
            self.last_doubt = now;
        }
        takes
    }

    pub(crate) fn next_late(&self) -> Option<Time> {
        self.checks.iter().filter(|check| !check.late).map(|check| check.asked + LATE).min()
    }

    pub(crate) fn judge_lateness(&mut self, now: Time) {
        for check in self.checks.iter_mut().filter(|check| !check.late && now >= check.asked + LATE) {
            check.late = true;
            self.health.handle_bad(now);
        }
        self.checks.retain(|check| now < check.asked + CHECK_TIMEOUT);
    }

    // ---- what is heard, and what not ----

    /// Makes the reporting run the current one. If it was another until now, that one is lost.
    pub(crate) fn meet(&mut self, now: Time, report: &Report, next_serial: &mut u64) -> Option<Lost> {
        if self.current.as_ref().is_some_and(|current| current.report.run == report.run) {
            return None;
        }
        let lost = if self.is_known() { self.lose(now, Loss::Gone) } else { None };
        *next_serial += 1;
        self.current = Some(Current {
            serial: *next_serial,
            report: Arc::new(report.clone()),
            traffic: Arc::default(),
            answered_when_asked: 0,
            drain_wanted: false,
            drain_told: Time::ZERO,
        });
        lost
    }

    /// A report of the current run.
    pub(crate) fn handle_report(&mut self, now: Time, check: Check, report: Report, capacity_is_short: bool) {
        self.handle_byte();
        self.newest_answered = check.number;
        let works = matches!(report.stage, Stage::Ready | Stage::Draining);
        if works && now.saturating_sub(check.asked) < LATE {
            self.health.handle_good(now, capacity_is_short);
        } else {
            self.health.handle_bad(now);
        }
        if let Some(current) = &mut self.current {
            current.drain_wanted &= report.stage != Stage::Draining;
            current.answered_when_asked = check.answered_when_asked;
            current.report = Arc::new(report);
        }
    }

    pub(crate) fn handle_nonsense(&mut self, now: Time) {
        self.handle_byte();
        self.health.handle_bad(now);
    }

    pub(crate) fn handle_byte(&mut self) {
        self.owed_since = None;
    }

    /// How long it has owed an answer while no byte came on any connection; `None` if its silence would not matter.
    pub(crate) fn quiet(&self, now: Time) -> Option<Duration> {
        let matters = matches!(self.health.state(), State::Up | State::Suspect | State::HoldDown);
        matters.then(|| self.quiet_since().map_or(Duration::ZERO, |since| now.saturating_sub(since)))
    }

    /// When its silence will have lasted so long, if it owes an answer now.
    pub(crate) fn silent_at(&self, silence: Duration) -> Option<Time> {
        Some(self.quiet_since()? + silence)
    }

    fn quiet_since(&self) -> Option<Time> {
        Some(self.owed_since?.max(self.current.as_ref()?.traffic.last_heard()))
    }

    /// So much of the time until now does not count.
    pub(crate) fn pardon(&mut self, now: Time, missed: Duration) {
        let later = |then: Time| (then + missed).min(now);
        self.owed_since = self.quiet_since().map(later);
        self.checks.iter_mut().for_each(|check| check.asked = later(check.asked));
    }

    pub(crate) fn lose(&mut self, now: Time, loss: Loss) -> Option<Lost> {
        let must_be_told = self.health.handle_loss(now, loss);
        let current = self.current.as_ref().filter(|_| must_be_told)?;
        let sessions = current.report.sessions.max(current.report.used);
        Some(Lost { serial: current.serial, run: current.report.run.clone(), loss, sessions })
    }

    // ---- drain ----

    /// Its id, for the pool to remember.
    pub(crate) fn handle_drain_wish(&mut self, now: Time, drain: bool) -> Option<InstanceId> {
        let current = self.current.as_mut()?;
        (current.drain_wanted, current.drain_told) = (drain, now);
        Some(current.report.run.instance.clone())
    }

    /// True if it has to be told (again); `is_out` if an operator took the instance out for good.
    pub(crate) fn must_be_told_to_drain(&mut self, now: Time, is_out: bool) -> bool {
        let Some(current) = &mut self.current else { return false };
        let wanted = (current.drain_wanted || is_out) && current.report.stage != Stage::Draining;
        let must = wanted && now >= current.drain_told + DRAIN_AGAIN;
        if must {
            current.drain_told = now;
        }
        must
    }

    // ---- what it is ----

    pub(crate) fn state(&self) -> State {
        self.health.state()
    }

    /// True if it ever said who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.current.is_some()
    }

    /// True if it lives, whatever discovery says.
    pub(crate) fn answers(&self) -> bool {
        self.is_known() && self.state().alive()
    }

    pub(crate) fn is_instance(&self, id: &str) -> bool {
        self.current.as_ref().is_some_and(|current| current.report.run.instance.as_str() == id)
    }

    /// As it stands in a snapshot, before the instances are judged together.
    pub(crate) fn instance(&self, endpoint: Endpoint, now: Time, capacity_is_short: bool) -> Option<Instance> {
        let current = self.current.as_ref()?;
        let drains = current.drain_wanted || current.report.stage == Stage::Draining;
        Some(Instance {
            endpoint,
            run: current.report.run.clone(),
            serial: current.serial,
            state: self.health.state(),
            since: self.health.since(),
            up_since: self.health.up_since(),
            admin_state: if drains { AdminState::Drain } else { AdminState::None },
            flag: None,
            placeable: false,
            weight: self.health.weight(now, capacity_is_short),
            report: Arc::clone(&current.report),
            traffic: Arc::clone(&current.traffic),
            answered_when_asked: current.answered_when_asked,
        })
    }
}
