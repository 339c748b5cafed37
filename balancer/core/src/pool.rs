//! All instances: the machine that the probe thread owns. It asks each one for its health, judges what comes back and what does
//! not, and publishes immutable [`Snapshot`]s.

use crate::{
    AdminState, Endpoint, Instance, InstanceId, Loss, Report, Run, Snapshot, State, Time,
    member::{Check, Lost, Member},
    silence::SilenceJudge,
    sizing::Wanted,
    snapshot::{Rules, Unseen},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// Each instance is asked this often, whether or not earlier checks were answered.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A check without an answer for so long makes its instance suspect.
pub const LATE: Duration = Duration::from_millis(200);
/// A check without an answer for so long is given up; with [`CHECK_INTERVAL`] and [`DOUBT_INTERVAL`] this bounds the checks
/// under way.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// When the loop itself woke so much too late, what it did not see proves nothing.
pub const OVERSLEPT: Duration = Duration::from_millis(50);
/// Doubts about one instance within this time are answered by one check.
pub const DOUBT_INTERVAL: Duration = Duration::from_millis(10);

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
    discarded_rounds: u64,
    changed: bool,
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
            discarded_rounds: 0,
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
        let is_newest = member.is_newest(number);
        match answer {
            Answer::Report(report) if is_newest => self.handle_report(now, endpoint, check, report),
            Answer::Report(_) => member.handle_byte(),
            Answer::Nonsense => member.handle_nonsense(now),
            Answer::Refused if is_newest => self.lose(now, endpoint, Loss::Gone),
            Answer::Broken if is_newest && check.fresh => self.lose(now, endpoint, Loss::Gone),
            Answer::Broken => self.handle_doubt(now, endpoint),
            Answer::Refused | Answer::None => {}
        }
        self.forget_unlisted();
    }

    /// The data path lost a connection to it, or saw other ids: a fresh check tells at once what that means.
    pub fn handle_doubt(&mut self, now: Time, endpoint: Endpoint) {
        if self.members.get_mut(&endpoint).is_some_and(|member| member.takes_doubt(now)) {
            self.check(now, endpoint, true);
        }
    }

    /// An operator's wish. The caller owes it to the instance at each of these endpoints, once and at once, and the outcome to
    /// the operator; [`Command::Drain`] only repeats it.
    pub fn handle_admin(
        &mut self,
        now: Time,
        instance: &str,
        wish: AdminState,
    ) -> Result<Vec<Endpoint>, UnknownInstance> {
        let members = self.members.iter_mut().filter(|(_, member)| member.is_instance(instance));
        let told = members.map(|(at, member)| (*at, member.handle_drain_wish(now, wish != AdminState::None)));
        let (told, ids): (Vec<_>, Vec<_>) = told.unzip();
        for id in ids.into_iter().flatten() {
            match wish {
                AdminState::Maintenance => self.maintenance.insert(id),
                AdminState::None | AdminState::Drain => self.maintenance.remove(&id),
            };
        }
        self.changed = true;
        if told.is_empty() { Err(UnknownInstance) } else { Ok(told) }
    }

    /// To be called at [`Pool::poll_timeout`], or as soon after it as possible.
    pub fn handle_timeout(&mut self, now: Time) {
        let (due, _) = self.poll_timeout();
        let late = now.saturating_sub(due);
        if late > OVERSLEPT {
            self.discarded_rounds += 1;
            self.pardon(now, late);
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
        let late = self.members.values().filter_map(Member::next_late).map(|at| (at, "late check"));
        let silent = self.members.values().filter_map(|member| member.silent_at(self.config.silence));
        let silent = silent.filter(|at| *at > self.judged_at).map(|at| (at, "silence"));
        late.chain(silent).fold((self.next_round, "round"), Ord::min)
    }

    /// What to do next. The snapshot goes first.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn check(&mut self, now: Time, endpoint: Endpoint, fresh: bool) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        self.next_number += 1;
        member.ask(now, self.next_number, fresh);
        self.commands.push_back(Command::Check { endpoint, number: self.next_number, fresh });
    }

    fn handle_report(&mut self, now: Time, endpoint: Endpoint, check: Check, report: Report) {
        let Some(member) = self.members.get_mut(&endpoint) else { return };
        let is_out = self.maintenance.contains(&report.run.instance);
        if let Some(lost) = member.meet(now, &report, &mut self.next_serial) {
            self.commands.push_back(Command::from(lost));
        }
        member.handle_report(now, check, report, self.capacity_is_short);
        if member.must_be_told_to_drain(now, is_out) {
            self.commands.push_back(Command::Drain { endpoint, drain: true });
        }
    }

    fn lose(&mut self, now: Time, endpoint: Endpoint, loss: Loss) {
        let lost = self.members.get_mut(&endpoint).and_then(|member| member.lose(now, loss));
        self.commands.extend(lost.map(Command::from));
        self.changed = true;
    }

    /// What was missed for so long proves nothing: it does not count as silence. On a busy machine that happens in every other
    /// round, so the time before still counts; after a long sleep it does not, for the answers to old checks may be lost.
    fn pardon(&mut self, now: Time, missed: Duration) {
        let missed = if missed >= self.config.silence / 2 { now } else { missed };
        self.members.values_mut().for_each(|member| member.pardon(now, missed));
    }

    fn judge_silence(&mut self, now: Time) {
        let quiet: Vec<_> =
            self.members.iter().filter_map(|(endpoint, member)| Some((*endpoint, member.quiet(now)?))).collect();
        let was_blind = self.judge.blind();
        let fallen = self.judge.judge(now, &quiet);
        if was_blind && !self.judge.blind() {
            self.pardon(now, now);
        }
        for endpoint in fallen {
            self.lose(now, endpoint, Loss::Silent);
        }
        self.forget_unlisted();
    }

    fn forget_unlisted(&mut self) {
        self.members.retain(|_, member| member.listed || member.answers());
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
            discarded_rounds: self.discarded_rounds,
        };
        let snapshot = Snapshot::compose(self.instances(now), self.unseen(), rules);
        self.capacity_is_short = snapshot.capacity_is_short();
        Some(snapshot)
    }

    fn instances(&self, now: Time) -> Vec<Instance> {
        let instances = self.members.iter().filter_map(|(at, member)| {
            let instance = member.instance(*at, now, self.capacity_is_short)?;
            let is_out = self.maintenance.contains(&instance.run.instance);
            let admin_state = if is_out { AdminState::Maintenance } else { instance.admin_state };
            Some(Instance { admin_state, ..instance })
        });
        instances.collect()
    }

    fn unseen(&self) -> Vec<Unseen> {
        let unseen = self.members.iter().filter(|(_, member)| !member.is_known());
        unseen.map(|(endpoint, member)| Unseen { endpoint: *endpoint, state: member.state() }).collect()
    }

    fn settled(&self, now: Time) -> bool {
        let is_judged = |member: &Member| member.state() != State::Joining;
        now >= self.settled_at || (!self.members.is_empty() && self.members.values().all(is_judged))
    }
}

impl From<Lost> for Command {
    fn from(lost: Lost) -> Self {
        Self::Cut { serial: lost.serial, run: lost.run, loss: lost.loss, sessions: lost.sessions }
    }
}
