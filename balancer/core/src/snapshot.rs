//! What the pool knows at one moment, immutable and shared by every thread of the data path.

use crate::{
    AdminState, Endpoint, Report, Run, State, Time, Traffic, compatibility,
    instance::Stage,
    sizing::{self, Plan, Share, Shares, Wanted},
};
use serde::Serialize;
use std::sync::Arc;

/// All instances at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every instance that has said who it is, ordered by id, then by address: the order that `/instances` shows and that the
    /// creation watch follows.
    pub instances: Vec<Arc<Instance>>,
    /// Endpoints that never answered.
    pub unseen: Vec<Unseen>,
    /// More instances fell silent at once than may: the fault may be on this side, so nothing is cut and nothing repinned.
    pub blind: bool,
    /// Every endpoint has answered, refused, or had its time. Before that an unknown pin may be one not yet heard of.
    pub settled: bool,
    /// Rounds of checks that proved nothing, because the loop itself woke late. Many mean a busy machine.
    pub discarded_rounds: u64,
    /// What the instances can bear.
    pub plan: Plan,
    /// With `--protect-spare`: new users that may still enter before too few instances may die. `None`: no such rule.
    pub newcomers: Option<u32>,
}

/// An endpoint that never said who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// Where it should be.
    pub endpoint: Endpoint,
    /// `joining`, or `down` if it refuses.
    pub state: State,
}

/// Why an instance is kept out of new placement while others suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Another endpoint, known for longer, answers with the same instance id.
    DuplicateId,
    /// Its settings differ from those of most instances.
    Incompatible,
}

/// What a snapshot is composed by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `--spare` and `--target`.
    pub wanted: Wanted,
    /// `--protect-spare`.
    pub protect_spare: bool,
    /// [`Snapshot::blind`].
    pub blind: bool,
    /// [`Snapshot::settled`].
    pub settled: bool,
    /// [`Snapshot::discarded_rounds`].
    pub discarded_rounds: u64,
}

/// One run of one instance.
#[derive(Debug)]
pub struct Instance {
    /// Where.
    pub endpoint: Endpoint,
    /// Who.
    pub run: Run,
    /// Number of this run in this process, never used again: what a shell keeps for a run is found by it.
    pub serial: u64,
    /// Its health.
    pub state: State,
    /// Since when it is in that state.
    pub since: Time,
    /// When it last came up.
    pub up_since: Time,
    /// What an operator wants of it.
    pub admin_state: AdminState,
    /// What is wrong with it, short of its health.
    pub flag: Option<Flag>,
    /// Whether it may get new sessions at all; it may still be full.
    pub placeable: bool,
    /// Share of new sessions that it gets while it starts slowly, in thousandths.
    pub weight: u16,
    /// The last report.
    pub report: Arc<Report>,
    /// What the data path counts for this run.
    pub traffic: Arc<Traffic>,
    /// Sign-ins answered when the last report was asked for.
    pub answered_when_asked: u32,
}

impl Instance {
    /// True if requests of its own reach it: it is not known to be dead. Draining and suspicion don't matter here.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.state.alive()
    }

    /// Ready and wanted, whatever its health.
    fn is_open(&self) -> bool {
        self.admin_state == AdminState::None && self.report.stage == Stage::Ready
    }

    fn shares(&self) -> Shares {
        let (bears, report) = (self.placeable && self.state == State::Up, &self.report);
        Shares {
            sessions: Share { bears, capacity: report.capacity, used: report.used },
            calls: Share { bears, capacity: report.call_capacity, used: report.calls },
        }
    }

    /// Places taken by the last report and by what this balancer sent since.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.report.used.saturating_add(self.traffic.reserved_since(self.answered_when_asked))
    }

    /// Places that are free for new sessions; 0 if it gets none.
    #[must_use]
    pub fn free(&self) -> u32 {
        if self.placeable { self.report.capacity.saturating_sub(self.taken()) } else { 0 }
    }

    /// As [`Instance::free`], by the last report alone: what it would say itself.
    #[must_use]
    pub fn free_as_reported(&self) -> u32 {
        if self.placeable { self.report.capacity.saturating_sub(self.report.used) } else { 0 }
    }
}

impl Snapshot {
    /// Judges `instances` together: flags, who may get new sessions, and what they can bear.
    #[must_use]
    pub fn compose(mut instances: Vec<Instance>, unseen: Vec<Unseen>, rules: Rules) -> Self {
        flag(&mut instances);
        place(&mut instances, rules);
        let shares = shares(&instances);
        instances.sort_by(|a, b| (&a.run, a.endpoint).cmp(&(&b.run, b.endpoint)));
        Self {
            instances: instances.into_iter().map(Arc::new).collect(),
            unseen,
            blind: rules.blind,
            settled: rules.settled,
            discarded_rounds: rules.discarded_rounds,
            plan: sizing::plan(&shares, rules.wanted),
            newcomers: rules.protect_spare.then(|| sizing::newcomers(&shares, rules.wanted)),
        }
    }

    /// True if the instances that may get new sessions have less than a tenth of their places free: then a returned one is
    /// needed at once, and neither slow start nor hold-down keeps it back.
    #[must_use]
    pub fn capacity_is_short(&self) -> bool {
        let placeable = self.instances.iter().filter(|each| each.placeable);
        let (free, capacity) = placeable.fold((0_u64, 0_u64), |(free, capacity), each| {
            (free + u64::from(each.free()), capacity + u64::from(each.report.capacity))
        });
        free * 10 <= capacity
    }

    /// All with this instance id; more than one when the id is duplicated.
    pub fn with_id<'a>(&'a self, instance: &str) -> impl Iterator<Item = &'a Arc<Instance>> {
        let start = self.instances.partition_point(|each| each.run.instance.as_str() < instance);
        self.instances[start..].iter().take_while(move |each| each.run.instance.as_str() == instance)
    }

    /// The instance that is this run, dead or alive; alive, if it is known at two addresses.
    #[must_use]
    pub fn run(&self, instance: &str, boot: &str) -> Option<&Arc<Instance>> {
        self.with_id(instance).filter(|each| each.run.boot.as_str() == boot).max_by_key(|each| each.alive())
    }

    /// New users that may still enter: [`Snapshot::newcomers`], less the sign-ins that no report shows yet.
    #[must_use]
    pub fn newcomers_left(&self) -> Option<u32> {
        let reserved = self.instances.iter().map(|each| each.taken() - each.report.used).sum();
        self.newcomers.map(|newcomers| newcomers.saturating_sub(reserved))
    }

    /// True if something is expected at this endpoint.
    #[must_use]
    pub fn has(&self, endpoint: Endpoint) -> bool {
        self.instances.iter().any(|each| each.endpoint == endpoint)
            || self.unseen.iter().any(|each| each.endpoint == endpoint)
    }

    /// True if a request can be served at all.
    #[must_use]
    pub fn any_alive(&self) -> bool {
        self.instances.iter().any(|each| each.alive())
    }
}

fn flag(instances: &mut [Instance]) {
    let mut oldest_first: Vec<&mut Instance> = instances.iter_mut().filter(|each| each.alive()).collect();
    oldest_first.sort_by_key(|each| each.serial);
    let reports: Vec<_> = oldest_first.iter().map(|each| Arc::clone(&each.report)).collect();
    for (instance, flag) in oldest_first.into_iter().zip(compatibility::flags(&reports)) {
        instance.flag = flag;
    }
}

/// Who gets new sessions: those that are up. Flagged ones only if the others could not lose M of them; suspect ones only if
/// nothing is up, for late is better than never.
fn place(instances: &mut [Instance], rules: Rules) {
    let mut open_to = |may: &dyn Fn(&Instance) -> bool| {
        instances.iter_mut().for_each(|each| each.placeable = each.is_open() && may(each));
        (shares(instances), instances.iter().any(|each| each.placeable))
    };
    let is_up = |each: &Instance| each.state == State::Up;
    let (shares, _) = open_to(&|each| is_up(each) && each.flag.is_none());
    if sizing::plan(&shares, rules.wanted).sessions.survivable >= rules.wanted.spare {
        return;
    }
    let (_, any_is_up) = open_to(&is_up);
    if !any_is_up && !rules.blind {
        open_to(&|each| each.state == State::Suspect);
    }
}

/// Of the living alone: the sessions of a lost instance are over, or came back and are counted where they are now.
fn shares(instances: &[Instance]) -> Vec<Shares> {
    instances.iter().filter(|each| each.alive()).map(Instance::shares).collect()
}
