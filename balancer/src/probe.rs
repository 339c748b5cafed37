//! The probe thread: drives the pool machine, and publishes what it decides.
//!
//! It has a runtime of its own, so that neither load nor a slow client delays a check.

pub use crate::check::NotTaken;
use crate::{
    check::Checker,
    discover::{self, DnsName},
    state::{Link, Shared, View},
};
use balancer_core::{
    AdminState, Admission, Command, Endpoint, Pool, Snapshot, State,
    failback::{Failback, Order},
    pool::{Answer, Config, UnknownInstance},
};
use futures_util::future::try_join_all;
use http::HeaderValue;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot, watch},
    task::LocalSet,
};

/// What the probe thread is started with.
pub struct Probes {
    /// The rules of the pool.
    pub config: Config,
    /// When load comes back to a returned instance.
    pub failback: Failback,
    /// Instances that exist whatever discovery says.
    pub instances: Vec<Endpoint>,
    /// A name to discover more by.
    pub discover: Option<DnsName>,
    /// `authorization` for the instances' admin listeners.
    pub token: Option<HeaderValue>,
    /// Told of losses.
    pub admission: Arc<Mutex<Admission>>,
    /// Counts.
    pub metrics: Arc<crate::metrics::Metrics>,
}

/// An operator's wish.
#[derive(Debug)]
pub enum Wish {
    /// For an instance.
    State {
        /// Its id.
        instance: String,
        /// What to do with it.
        state: AdminState,
        /// The outcome, once the instance has answered.
        reply: oneshot::Sender<Result<(), Unfulfilled>>,
    },
    /// Load is to come back to returned instances.
    Failback,
}

/// Why an operator's wish did not come true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfulfilled {
    /// Nobody was asked.
    #[error(transparent)]
    Unknown(#[from] UnknownInstance),
    /// The instance was asked.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
}

/// Starts the thread. It runs until the process ends, or until `wishes` is closed.
pub fn start(
    probes: Probes,
    shared: Shared,
    doubts: mpsc::Receiver<Endpoint>,
    wishes: mpsc::Receiver<Wish>,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("probe".to_owned()).spawn(move || {
        LocalSet::new().block_on(&runtime, run(probes, shared, doubts, wishes));
    })
}

async fn run(probes: Probes, shared: Shared, mut doubts: mpsc::Receiver<Endpoint>, mut wishes: mpsc::Receiver<Wish>) {
    let (found, mut endpoints) = watch::channel(probes.instances.clone());
    endpoints.mark_changed();
    if let Some(name) = probes.discover.clone() {
        tokio::task::spawn_local(discover::watch(probes.instances.clone(), name, found));
    }
    let (answered, mut answers) = mpsc::unbounded_channel();
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut probe = Probe::new(probes, shared, answered, ended);
    loop {
        let (due, _) = probe.pool.poll_timeout();
        tokio::select! {
            () = tokio::time::sleep_until(probe.shared.clock.instant(due)) => {
                let now = probe.now();
                // What has arrived is read before anybody's silence is judged.
                tokio::task::yield_now().await;
                probe.take_in(&mut answers);
                probe.pool.handle_timeout(now);
            }
            Some((endpoint, number, answer)) = answers.recv() => probe.handle_answer(endpoint, number, answer),
            Some(endpoint) = ends.recv() => probe.pool.handle_doubt(probe.now(), endpoint),
            Some(endpoint) = doubts.recv() => probe.pool.handle_doubt(probe.now(), endpoint),
            Ok(()) = endpoints.changed() => {
                let endpoints = endpoints.borrow_and_update().clone();
                probe.pool.handle_endpoints(probe.now(), &endpoints);
            }
            wish = wishes.recv() => match wish {
                Some(wish) => probe.handle_wish(wish),
                None => return,
            },
        }
        // What came together is judged together: one snapshot instead of one per instance.
        probe.take_in(&mut answers);
        probe.carry_out();
    }
}

type Answered = (Endpoint, u64, Answer);

struct Probe {
    pool: Pool,
    shared: Shared,
    checkers: HashMap<Endpoint, Checker>,
    links: HashMap<u64, Arc<Link>>,
    /// As logged last.
    states: HashMap<u64, State>,
    blind: bool,
    answered: mpsc::UnboundedSender<Answered>,
    ended: mpsc::UnboundedSender<Endpoint>,
    setup: Probes,
}

impl Probe {
    fn new(
        setup: Probes,
        shared: Shared,
        answered: mpsc::UnboundedSender<Answered>,
        ended: mpsc::UnboundedSender<Endpoint>,
    ) -> Self {
        let pool = Pool::new(setup.config, shared.clock.now());
        Self {
            pool,
            shared,
            checkers: HashMap::new(),
            links: HashMap::new(),
            states: HashMap::new(),
            blind: false,
            answered,
            ended,
            setup,
        }
    }

    fn now(&self) -> balancer_core::Time {
        self.shared.clock.now()
    }

    fn take_in(&mut self, answers: &mut mpsc::UnboundedReceiver<Answered>) {
        while let Ok((endpoint, number, answer)) = answers.try_recv() {
            self.handle_answer(endpoint, number, answer);
        }
    }

    fn handle_answer(&mut self, endpoint: Endpoint, number: u64, answer: Answer) {
        self.setup.metrics.checked(&answer);
        self.pool.handle_answer(self.now(), endpoint, number, answer);
    }

    fn handle_wish(&mut self, wish: Wish) {
        match wish {
            Wish::State { instance, state, reply } => self.change_state(&instance, state, reply),
            Wish::Failback => self.setup.failback.handle_ask(),
        }
    }

    fn change_state(&mut self, instance: &str, state: AdminState, reply: oneshot::Sender<Result<(), Unfulfilled>>) {
        let outcome = self.pool.handle_admin(self.now(), instance, state);
        tracing::info!(?instance, state = state.label(), ok = outcome.is_ok(), "asked for by an operator");
        let tellings = outcome.map(|endpoints| {
            let tell = |endpoint| self.tell_drain(endpoint, state != AdminState::None);
            try_join_all(endpoints.into_iter().map(tell).collect::<Vec<_>>())
        });
        tokio::task::spawn_local(async move {
            let outcome = match tellings {
                Ok(tellings) => tellings.await.map(drop).map_err(Unfulfilled::from),
                Err(unknown) => Err(unknown.into()),
            };
            // Whoever asked may have gone.
            let _ = reply.send(outcome);
        });
    }

    /// The snapshot first: whoever is woken by a down signal must already see where else to go.
    fn carry_out(&mut self) {
        if let Some(snapshot) = self.pool.take_snapshot(self.now()) {
            self.publish(snapshot);
        }
        while let Some(command) = self.pool.next_command() {
            match command {
                Command::Check { endpoint, number, fresh } => self.check(endpoint, number, fresh),
                Command::Cut { serial, run, loss, sessions } => {
                    tracing::warn!(instance = %run.instance, boot = %run.boot, loss = loss.label(), sessions, "lost");
                    self.setup.metrics.lost(loss);
                    let mut admission = self.setup.admission.lock().unwrap_or_else(PoisonError::into_inner);
                    admission.handle_loss(self.shared.clock.now(), run, sessions);
                    drop(admission);
                    self.links.get(&serial).inspect(|link| link.raise(loss));
                }
                Command::Drain { endpoint, drain } => drop(tokio::task::spawn_local(self.tell_drain(endpoint, drain))),
            }
        }
        self.forget();
        self.bring_back();
    }

    /// Asks a fuller instance to let some idle clients go, when that is due.
    fn bring_back(&mut self) {
        let now = self.now();
        let order = self.setup.failback.decide(now, &self.shared.view().snapshot, self.setup.config.wanted);
        let Some(Order { from, at, to, clients }) = order else { return };
        tracing::info!(from = %from.instance, to = %to.instance, clients, "load comes back");
        let (checker, metrics) = (self.checker(at), Arc::clone(&self.setup.metrics));
        tokio::task::spawn_local(async move {
            match checker.rebalance(clients).await {
                Ok(asked) => metrics.asked_to_move(asked),
                Err(error) => tracing::warn!(%error, "the instance was not asked to let clients go"),
            }
        });
    }

    fn publish(&mut self, snapshot: Snapshot) {
        for instance in &snapshot.instances {
            self.links.entry(instance.serial).or_default();
            let before = self.states.insert(instance.serial, instance.state);
            if before != Some(instance.state) {
                let (id, boot, state) = (&instance.run.instance, &instance.run.boot, instance.state.label());
                tracing::info!(instance = %id, %boot, state, "state of an instance");
            }
        }
        if snapshot.blind != self.blind {
            self.blind = snapshot.blind;
            tracing::warn!(blind = self.blind, "too many instances are silent at once to judge them from here");
        }
        self.shared.publish(View::new(snapshot, self.links.clone(), self.now()));
    }

    /// Drops what is kept for runs and endpoints that are no more. Only after the commands: a run that another one replaced is
    /// in no snapshot, but its signal had to be raised.
    fn forget(&mut self) {
        let view = self.shared.view();
        let snapshot = &view.snapshot;
        self.links.retain(|serial, _| snapshot.instances.iter().any(|each| each.serial == *serial));
        self.states.retain(|serial, _| self.links.contains_key(serial));
        self.checkers.retain(|endpoint, _| snapshot.has(*endpoint));
    }

    fn check(&mut self, endpoint: Endpoint, number: u64, fresh: bool) {
        let (checker, answered) = (self.checker(endpoint), self.answered.clone());
        tokio::task::spawn_local(async move {
            let answer = checker.check(fresh).await;
            let _ = answered.send((endpoint, number, answer));
        });
    }

    fn tell_drain(&mut self, endpoint: Endpoint, drain: bool) -> impl Future<Output = Result<(), NotTaken>> + use<> {
        let checker = self.checker(endpoint);
        async move {
            let outcome = checker.drain(drain).await;
            if let Err(error) = outcome {
                tracing::warn!(%error, drain, "the instance did not take the change of its state");
            }
            outcome
        }
    }

    fn checker(&mut self, endpoint: Endpoint) -> Checker {
        let new = || Checker::new(endpoint, self.ended.clone(), self.setup.token.clone());
        self.checkers.entry(endpoint).or_insert_with(new).clone()
    }
}
