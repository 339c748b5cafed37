//! All instances: the machine that the probe thread owns. It asks each one for its health, judges what comes back and what does
//! not, and publishes immutable [`Snapshot`]s.

use crate::{
    AdminState, Endpoint, Instance, InstanceId, Loss, Report, Run, Snapshot, State, Time, Traffic,
    health::Health,
    instance::Stage,
    silence::SilenceJudge,
    sizing::Wanted,
    snapshot::{Rules, Unseen},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Each instance is asked this often, whether or not earlier checks were answered.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A check without an answer for so long makes its instance suspect.
pub const LATE: Duration = Duration::from_millis(200);
/// A check without an answer for so long is given up; bounds the checks under way to ten an instance.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// When the loop itself woke so much too late, what it did not see proves nothing.
pub const OVERSLEPT: Duration = Duration::from_millis(50);
/// An instance that was told to drain and does not is told again after this time.
const DRAIN_AGAIN: Duration = Duration::from_secs(1);
/// Doubts about one instance within this time are answered by one check.
const DOUBT_INTERVAL: Duration = Duration::from_millis(10);

/// The pool's settings.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// `--spare` and `--target`.
    pub wanted: Wanted,
    /// `--protect-spare`.
    pub protect_spare: bool,
    /// `--silence-ms`.
    pub silence: Duration,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Ask for the health report, and call [`Pool::handle_answer`] with this number, at the latest after [`CHECK_TIMEOUT`].
    Check {
        /// Whom.
        endpoint: Endpoint,
        /// Which check.
        number: u64,
        /// Over a new connection; else over a kept one if one is idle.
        fresh: bool,
    },
    /// End every tunnel and in-flight request of this run, after the snapshot that says so was published.
    Cut {
        /// [`Instance::serial`] of the run.
        serial: u64,
        /// Which run.
        run: Run,
        /// How it was lost.
        loss: Loss,
        /// Sessions it reported last: so many users come back.
        sessions: u32,
    },
    /// Tell the instance to drain, or to stop draining.
    Drain {
        /// Whom.
        endpoint: Endpoint,
        /// False: take new sessions again.
        drain: bool,
    },
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With a report.
    Report(Report),
    /// With something else.
    Nonsense,
    /// The connection was refused.
    Refused,
    /// The connection was reset, or closed before an answer.
    Broken,
    /// Not at all, or the network could not be used: no verdict.
    None,
}

/// No instance has this id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no instance has this id")]
pub struct UnknownInstance;

/// All instances. The owner calls a `handle_*` for whatever happens, [`Pool::handle_timeout`] at [`Pool::poll_timeout`], and
/// after each carries out every [`Pool::next_command`], the [`Pool::take_snapshot`] first.
#[derive(Debug)]
pub struct Pool {
    config: Config,
    members: BTreeMap<Endpoint, Member>,
    /// Instances that an operator took out; kept over their restarts.
    maintenance: BTreeSet<InstanceId>,
    judge: SilenceJudge<Endpoint>,
    commands: VecDeque<Command>,
    next_round: Time,
    judged_at: Time,
    /// Before this a pin may name an instance that was not heard of yet.
    settled_at: Time,
    next_number: u64,
    next_serial: u64,
    capacity_is_short: bool,
    changed: bool,
}

/// What listens at one endpoint.
#[derive(Debug)]
struct Member {
    health: Health,
    current: Option<Current>,
    checks: VecDeque<Check>,
    /// Reports and refusals of older checks are stale.
    newest_answered: u64,
    last_doubt: Time,
    /// Silence does not count from before this.
    listening_since: Time,
    /// False once discovery does not name it any more: it stays as long as it lives.
    listed: bool,
}

/// The run that answered last.
#[derive(Debug)]
struct Current {
    run: Run,
    serial: u64,
    report: Arc<Report>,
    traffic: Arc<Traffic>,
    answered_when_asked: u32,
    drain_wanted: bool,
    /// When it was last told to drain.
    drain_told: Time,
}

/// A check under way.
#[derive(Debug, Clone, Copy)]
struct Check {
    number: u64,
    asked: Time,
    fresh: bool,
    late: bool,
    answered_when_asked: u32,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        Self {
            config,
            members: BTreeMap::new(),
            maintenance: BTreeSet::new(),
            judge: SilenceJudge::new(config.silence, config.wanted.spare),
            commands: VecDeque::new(),
            next_round: now,
            judged_at: now,
            settled_at: now + CHECK_TIMEOUT,
            next_number: 0,
            next_serial: 0,
            capacity_is_short: true,
            changed: true,
        }
    }

    /// These endpoints exist, says discovery. Others are kept for as long as they answer.
    pub fn handle_endpoints(&mut self, now: Time, endpoints: &[Endpoint]) {
        for member in self.members.values_mut() {
            member.listed = false;
        }
        for endpoint in endpoints {
            let member = self.members.entry(*endpoint).or_insert_with(|| {
                self.next_round = now;
                Member::new(now)
            });
            member.listed = true;
        }
        self.forget_unlisted();
        self.changed = true;
    }

    /// A check ended.
    pub fn handle_answer(&mut self, now: Time, endpoint: Endpoint, number: u64, answer: Answer) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        let Some(check) = member.take_check(number) else { return };
        self.changed = true;
        match answer {
            Answer::Report(report) if number >= member.newest_answered => {
                member.newest_answered = number;
                self.handle_report(now, endpoint, check, report);
            }
            Answer::Report(_) => member.hear(now),
            Answer::Nonsense => {
                member.hear(now);
                member.health.handle_bad(now);
            }
            Answer::Refused if number >= member.newest_answered => self.lose(now, endpoint, Loss::Gone),
            Answer::Broken if number >= member.newest_answered && check.fresh => self.lose(now, endpoint, Loss::Gone),
            Answer::Broken => self.handle_doubt(now, endpoint),
            Answer::Refused | Answer::None => {}
        }
        self.forget_unlisted();
    }

    /// The data path lost a connection to it, or saw other ids: a fresh check tells at once what that means.
    pub fn handle_doubt(&mut self, now: Time, endpoint: Endpoint) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        if now.saturating_sub(member.last_doubt) >= DOUBT_INTERVAL {
            member.last_doubt = now;
            self.check(now, endpoint, true);
        }
    }

    /// An operator's wish.
    pub fn handle_admin(&mut self, now: Time, instance: &str, wish: AdminState) -> Result<(), UnknownInstance> {
        let is_it = |member: &Member| member.current.as_ref().is_some_and(|it| it.run.instance.as_str() == instance);
        let mut found = false;
        for (endpoint, member) in self.members.iter_mut().filter(|(_, member)| is_it(member)) {
            let Some(current) = &mut member.current else { continue };
            found = true;
            current.drain_wanted = wish != AdminState::None;
            current.drain_told = now;
            match wish {
                AdminState::Maintenance => self.maintenance.insert(current.run.instance.clone()),
                AdminState::None | AdminState::Drain => self.maintenance.remove(&current.run.instance),
            };
            self.commands.push_back(Command::Drain { endpoint: *endpoint, drain: current.drain_wanted });
        }
        self.changed |= found;
        if found { Ok(()) } else { Err(UnknownInstance) }
    }

    /// To be called at [`Pool::poll_timeout`], or as soon after it as possible.
    pub fn handle_timeout(&mut self, now: Time) {
        let (due, _) = self.poll_timeout();
        if now.saturating_sub(due) > OVERSLEPT {
            self.pardon(now);
        }
        self.members.values_mut().for_each(|member| member.judge_lateness(now));
        self.judge_silence(now);
        self.judged_at = now;
        if now >= self.next_round {
            self.next_round = now + CHECK_INTERVAL;
            let endpoints: Vec<_> = self.members.keys().copied().collect();
            endpoints.into_iter().for_each(|endpoint| self.check(now, endpoint, false));
        }
        self.changed = true;
    }

    /// When [`Pool::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> (Time, &'static str) {
        let silence = self.config.silence;
        let late = self.members.values().filter_map(Member::next_late).map(|at| (at, "late check"));
        let silent = self
            .members
            .values()
            .filter_map(|member| Some((member.last_heard()? + silence, "silence")))
            .filter(|(at, _)| *at > self.judged_at);
        late.chain(silent).fold((self.next_round, "round"), Ord::min)
    }

    /// What to do next. The snapshot goes first.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn check(&mut self, now: Time, endpoint: Endpoint, fresh: bool) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        self.next_number += 1;
        let answered_when_asked = member.current.as_ref().map_or(0, |current| current.traffic.answered());
        let number = self.next_number;
        member.checks.push_back(Check { number, asked: now, fresh, late: false, answered_when_asked });
        self.commands.push_back(Command::Check { endpoint, number, fresh });
    }

    fn handle_report(&mut self, now: Time, endpoint: Endpoint, check: Check, report: Report) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        if member.current.as_ref().is_some_and(|current| current.run != report.run) {
            self.lose(now, endpoint, Loss::Gone);
        }
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        let current = match member.current.take_if(|current| current.run == report.run) {
            Some(current) => Current { answered_when_asked: check.answered_when_asked, ..current },
            None => self.meet(&report),
        };
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        let stage = report.stage;
        let mut current = Current { report: Arc::new(report), ..current };
        if current.must_be_told_to_drain(now) {
            self.commands.push_back(Command::Drain { endpoint, drain: true });
        }
        member.current = Some(current);
        member.hear(now);
        let works = matches!(stage, Stage::Ready | Stage::Draining);
        if works && now.saturating_sub(check.asked) < LATE {
            member.health.handle_good(now, self.capacity_is_short);
        } else {
            member.health.handle_bad(now);
        }
    }

    /// A run that was not known.
    fn meet(&mut self, report: &Report) -> Current {
        self.next_serial += 1;
        Current {
            run: report.run.clone(),
            serial: self.next_serial,
            report: Arc::new(report.clone()),
            traffic: Arc::default(),
            answered_when_asked: 0,
            drain_wanted: self.maintenance.contains(&report.run.instance),
            drain_told: Time::ZERO,
        }
    }

    fn lose(&mut self, now: Time, endpoint: Endpoint, loss: Loss) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        let cut = member.health.handle_loss(now, loss);
        if let Some(current) = member.current.as_ref().filter(|_| cut) {
            let sessions = current.report.sessions.max(current.report.used);
            let (serial, run) = (current.serial, current.run.clone());
            self.commands.push_back(Command::Cut { serial, run, loss, sessions });
        }
        self.changed = true;
    }

    /// What was missed until now proves nothing: everybody's silence starts anew.
    fn pardon(&mut self, now: Time) {
        self.members.values_mut().for_each(|member| member.pardon(now));
    }

    fn judge_silence(&mut self, now: Time) {
        let quiet: Vec<_> = self
            .members
            .iter()
            .filter_map(|(endpoint, member)| Some((*endpoint, now.saturating_sub(member.last_heard()?))))
            .collect();
        let was_blind = self.judge.blind();
        let fallen = self.judge.judge(now, &quiet);
        if was_blind && !self.judge.blind() {
            self.pardon(now);
        }
        for endpoint in fallen {
            self.lose(now, endpoint, Loss::Silent);
        }
        self.forget_unlisted();
    }

    fn forget_unlisted(&mut self) {
        self.members.retain(|_, member| member.listed || (member.current.is_some() && member.health.state().alive()));
    }
}

impl Current {
    fn must_be_told_to_drain(&mut self, now: Time) -> bool {
        let must = self.drain_wanted && self.report.stage != Stage::Draining && now >= self.drain_told + DRAIN_AGAIN;
        if must {
            self.drain_told = now;
        }
        must
    }
}

impl Member {
    fn new(now: Time) -> Self {
        Self {
            health: Health::new(now),
            current: None,
            checks: VecDeque::new(),
            newest_answered: 0,
            last_doubt: Time::ZERO,
            listening_since: now,
            listed: true,
        }
    }

    fn take_check(&mut self, number: u64) -> Option<Check> {
        let index = self.checks.iter().position(|check| check.number == number)?;
        self.checks.remove(index)
    }

    fn hear(&mut self, now: Time) {
        self.listening_since = now;
    }

    /// When a byte last came, if its silence would matter.
    fn last_heard(&self) -> Option<Time> {
        let matters = matches!(self.health.state(), State::Up | State::Suspect | State::HoldDown);
        let current = self.current.as_ref().filter(|_| matters)?;
        Some(current.traffic.last_heard().max(self.listening_since))
    }

    fn pardon(&mut self, now: Time) {
        self.listening_since = now;
        self.checks.iter_mut().for_each(|check| check.asked = now);
    }

    fn next_late(&self) -> Option<Time> {
        self.checks.iter().filter(|check| !check.late).map(|check| check.asked + LATE).min()
    }

    fn judge_lateness(&mut self, now: Time) {
        for check in self.checks.iter_mut().filter(|check| !check.late && now >= check.asked + LATE) {
            check.late = true;
            self.health.handle_bad(now);
        }
        self.checks.retain(|check| now < check.asked + CHECK_TIMEOUT);
    }
}

impl Pool {
    /// The present state, if it may have changed since the last call.
    pub fn take_snapshot(&mut self, now: Time) -> Option<Snapshot> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let rules = Rules {
            wanted: self.config.wanted,
            protect_spare: self.config.protect_spare,
            blind: self.judge.blind(),
            settled: self.settled(now),
        };
        let snapshot = Snapshot::compose(self.instances(now), self.unseen(), rules);
        self.capacity_is_short = snapshot.capacity_is_short();
        Some(snapshot)
    }

    fn instances(&self, now: Time) -> Vec<Instance> {
        let known =
            self.members.iter().filter_map(|(at, member)| Some((*at, &member.health, member.current.as_ref()?)));
        known
            .map(|(endpoint, health, current)| Instance {
                endpoint,
                run: current.run.clone(),
                serial: current.serial,
                state: health.state(),
                since: health.since(),
                up_since: health.up_since(),
                admin_state: self.admin_state(current),
                flag: None,
                placeable: false,
                weight: health.weight(now, self.capacity_is_short),
                report: Arc::clone(&current.report),
                traffic: Arc::clone(&current.traffic),
                answered_when_asked: current.answered_when_asked,
            })
            .collect()
    }

    fn admin_state(&self, current: &Current) -> AdminState {
        if self.maintenance.contains(&current.run.instance) {
            AdminState::Maintenance
        } else if current.drain_wanted || current.report.stage == Stage::Draining {
            AdminState::Drain
        } else {
            AdminState::None
        }
    }

    fn unseen(&self) -> Vec<Unseen> {
        let unseen = self.members.iter().filter(|(_, member)| member.current.is_none());
        unseen.map(|(endpoint, member)| Unseen { endpoint: *endpoint, state: member.health.state() }).collect()
    }

    fn settled(&self, now: Time) -> bool {
        now >= self.settled_at || self.members.values().all(|member| member.health.state() != State::Joining)
    }
}
