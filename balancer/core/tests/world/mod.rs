//! A simulated cluster around a real [`Pool`]: instances that may crash, freeze, answer late or be out of reach, under a clock
//! that only moves when told. Every command of the pool is carried out as the shell would.
#![allow(dead_code, reason = "each test uses its own part of the world")]

use balancer_core::{
    AdminState, Command, Endpoint, Instance, InstanceId, Loss, Pool, Report, Run, Snapshot, State, Time,
    instance::Stage,
    pool::{Answer, CHECK_TIMEOUT, Config},
    sizing::Wanted,
    snapshot::Rules,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Between a question and its answer when nothing is wrong.
const QUICK: Duration = Duration::from_millis(1);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// SplitMix64.
pub(crate) fn seeded(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A simulated gateway process.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) report: Report,
    pub(crate) running: bool,
    pub(crate) frozen: bool,
    pub(crate) reachable: bool,
    pub(crate) latency: Duration,
    boots: u32,
}

/// A run that was cut off, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) at: Time,
    pub(crate) run: Run,
    pub(crate) loss: Loss,
}

struct Question {
    endpoint: Endpoint,
    number: u64,
    asked: Time,
    /// The process and the boot that it was sent to.
    boot: u32,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) pool: Pool,
    pub(crate) gateways: BTreeMap<Endpoint, Gateway>,
    pub(crate) snapshot: Snapshot,
    pub(crate) cuts: Vec<Cut>,
    /// When which instance was seen alive again after a loss, restarted or not.
    pub(crate) returns: Vec<(Time, InstanceId)>,
    questions: Vec<Question>,
}

pub(crate) fn endpoint(index: usize) -> Endpoint {
    let address = |port| ([127, 0, 0, 1], port + u16::try_from(index).expect("few")).into();
    Endpoint { http: address(8000), admin: address(9000) }
}

pub(crate) fn report(instance: &str, boot: &str) -> Report {
    Report {
        run: Run::parse(instance, boot).expect("valid"),
        stage: Stage::Ready,
        capacity: 100,
        used: 0,
        call_capacity: 50,
        calls: 0,
        sessions: 0,
        registered: 0,
        setup_rate: 200,
        config_hash: "same".to_owned(),
        key_ids: vec!["k1".to_owned()],
        version: "1".to_owned(),
    }
}

pub(crate) fn config() -> Config {
    Config { wanted: Wanted::default(), protect_spare: false, silence: ms(400) }
}

impl World {
    /// `count` gateways `gw-0`, `gw-1`, .. that were just started.
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, config())
    }

    pub(crate) fn with(count: usize, config: Config) -> Self {
        let mut gateways = BTreeMap::new();
        for index in 0..count {
            let report = report(&format!("gw-{index}"), &format!("gw-{index}-1"));
            let gateway = Gateway { report, running: true, frozen: false, reachable: true, latency: QUICK, boots: 1 };
            gateways.insert(endpoint(index), gateway);
        }
        let mut pool = Pool::new(config, Time::ZERO);
        pool.handle_endpoints(Time::ZERO, &gateways.keys().copied().collect::<Vec<_>>());
        let mut world = Self {
            now: Time::ZERO,
            pool,
            gateways,
            snapshot: Snapshot::default(),
            cuts: Vec::new(),
            returns: Vec::new(),
            questions: Vec::new(),
        };
        world.carry_out();
        world
    }

    /// As [`World::new`], and all have been up for long.
    pub(crate) fn up(count: usize) -> Self {
        let mut world = Self::new(count);
        world.run(Duration::from_secs(20));
        assert!(world.snapshot.instances.iter().all(|each| each.state == State::Up));
        world
    }

    pub(crate) fn gateway(&mut self, index: usize) -> &mut Gateway {
        self.gateways.get_mut(&endpoint(index)).expect("exists")
    }

    /// The process ends, as by kill -9.
    pub(crate) fn kill(&mut self, index: usize) {
        self.gateway(index).running = false;
        self.pool.handle_doubt(self.now, endpoint(index));
        self.carry_out();
    }

    /// It runs again, under another boot id.
    pub(crate) fn start(&mut self, index: usize) {
        let gateway = self.gateway(index);
        gateway.running = true;
        gateway.frozen = false;
        gateway.boots += 1;
        let (instance, boots) = (gateway.report.run.instance.to_string(), gateway.boots);
        gateway.report.run = Run::parse(&instance, &format!("{instance}-{boots}")).expect("valid");
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Time passes while the balancer itself is frozen.
    pub(crate) fn oversleep(&mut self, time: Duration) {
        self.now += time;
    }

    /// Carries out the next thing before `end`; false if there is none, and it is `end`.
    fn step(&mut self, end: Time) -> bool {
        let (due, _) = self.pool.poll_timeout();
        let answered =
            self.questions.iter().enumerate().filter_map(|(at, question)| Some((self.answer_at(question)?, at)));
        let next_answer = answered.min();
        let next = next_answer.map_or(due, |(at, _)| at.min(due)).max(self.now);
        if next > end {
            self.now = end;
            return false;
        }
        self.now = next;
        match next_answer.filter(|(at, _)| *at <= due) {
            Some((_, at)) => self.answer(at),
            None => self.pool.handle_timeout(self.now),
        }
        self.carry_out();
        true
    }

    fn answer_at(&self, question: &Question) -> Option<Time> {
        let gateway = &self.gateways[&question.endpoint];
        let given_up = question.asked + CHECK_TIMEOUT;
        let quick = gateway.reachable && (!gateway.running || gateway.boots != question.boot);
        let answer = if quick {
            question.asked + QUICK
        } else if !gateway.reachable || gateway.frozen {
            given_up
        } else {
            question.asked + gateway.latency
        };
        Some(answer.min(given_up))
    }

    fn answer(&mut self, index: usize) {
        let question = self.questions.swap_remove(index);
        let gateway = &self.gateways[&question.endpoint];
        let answer = if !gateway.reachable || (gateway.running && gateway.frozen) {
            Answer::None
        } else if !gateway.running {
            Answer::Refused
        } else if gateway.boots != question.boot {
            Answer::Broken
        } else {
            Answer::Report(gateway.report.clone())
        };
        self.pool.handle_answer(self.now, question.endpoint, question.number, answer);
    }

    pub(crate) fn carry_out(&mut self) {
        if let Some(snapshot) = self.pool.take_snapshot(self.now) {
            let was_down =
                |at: Endpoint| self.snapshot.instances.iter().any(|each| each.endpoint == at && !each.alive());
            let back = snapshot.instances.iter().filter(|each| each.alive() && was_down(each.endpoint));
            self.returns.extend(back.map(|each| (self.now, each.run.instance.clone())));
            self.snapshot = snapshot;
        }
        while let Some(command) = self.pool.next_command() {
            match command {
                Command::Check { endpoint, number, .. } => {
                    let boot = self.gateways[&endpoint].boots;
                    self.questions.push(Question { endpoint, number, asked: self.now, boot });
                }
                Command::Cut { run, loss, .. } => self.cuts.push(Cut { at: self.now, run, loss }),
                Command::Drain { endpoint, drain } => self.tell(endpoint, drain),
            }
        }
    }

    fn tell(&mut self, endpoint: Endpoint, drain: bool) {
        let stage = if drain { Stage::Draining } else { Stage::Ready };
        self.gateways.get_mut(&endpoint).expect("exists").report.stage = stage;
    }

    pub(crate) fn instance(&self, index: usize) -> &Arc<Instance> {
        self.snapshot.instances.iter().find(|each| each.endpoint == endpoint(index)).expect("it has answered")
    }

    pub(crate) fn state(&self, index: usize) -> State {
        self.instance(index).state
    }

    pub(crate) fn admin(&mut self, instance: &str, wish: AdminState) {
        for endpoint in self.pool.handle_admin(self.now, instance, wish).expect("known") {
            self.tell(endpoint, wish != AdminState::None);
        }
        self.carry_out();
    }
}

/// The instance `gw-<index>`, up for long; `change` makes it otherwise.
pub(crate) fn instance(index: usize, change: impl FnOnce(&mut Instance, &mut Report)) -> Instance {
    let mut report = report(&format!("gw-{index}"), &format!("gw-{index}-1"));
    let mut instance = Instance {
        endpoint: endpoint(index),
        run: report.run.clone(),
        serial: index as u64,
        state: State::Up,
        since: Time::ZERO,
        up_since: Time::ZERO,
        admin_state: AdminState::None,
        flag: None,
        placeable: false,
        weight: 1000,
        report: Arc::new(report.clone()),
        traffic: Arc::default(),
        answered_when_asked: 0,
    };
    change(&mut instance, &mut report);
    Instance { report: Arc::new(report), ..instance }
}

/// `count` equal ones.
pub(crate) fn instances(count: usize) -> Vec<Instance> {
    (0..count).map(|index| instance(index, |_, _| {})).collect()
}

pub(crate) fn compose(instances: Vec<Instance>) -> Snapshot {
    let rules =
        Rules { wanted: Wanted::default(), protect_spare: false, blind: false, settled: true, discarded_rounds: 0 };
    Snapshot::compose(instances, Vec::new(), rules)
}
