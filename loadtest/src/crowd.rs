//! A crowd of virtual users: starts them open loop, collects what happens to them, says so once a second.

use crate::cluster::{InstanceRow, ask};
use crate::drive::{Packets, Script, Shared, run_user};
use crate::engine::{Engine, EngineKind};
use crate::http::Browser;
use crate::report::Report;
use crate::tally::{Fact, Snapshot, Tally};
use crate::user::{Identity, Now};
use gateway_protocol::ClientId;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How long users may take to sign off.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// What the crowd does; printed with every report.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// Base URLs of the balancers.
    pub targets: Vec<String>,
    /// How many users.
    pub users: u32,
    /// Arrivals in a second, on average.
    pub rate: f64,
    /// Of everything random.
    pub seed: u64,
    /// The stack that carries the calls.
    pub engine: EngineKind,
    /// Its threads.
    pub peer_threads: usize,
    /// Whom they call.
    pub call: Option<String>,
    /// Hang up and call again after this time.
    #[serde(rename = "call_length_s", serialize_with = "seconds")]
    pub call_length: Option<Duration>,
    /// Requests of all users together.
    pub requests: u64,
    /// Of one user at once.
    pub parallel: u32,
    /// The requests are spread over it.
    #[serde(skip)]
    pub duration: Duration,
    /// Admin URL of a balancer.
    pub admin: Option<String>,
    /// JWT of all users.
    #[serde(skip)]
    pub jwt: Option<String>,
    /// No live line.
    #[serde(skip)]
    pub quiet: bool,
}

fn seconds<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

impl Load {
    /// Calls to the echo that stay until the end, without a live line.
    #[must_use]
    pub fn quiet(targets: Vec<String>) -> Self {
        Self {
            targets,
            users: 1,
            rate: 50.0,
            seed: 1,
            engine: EngineKind::Own,
            peer_threads: 1,
            call: Some("echo".to_owned()),
            call_length: None,
            requests: 0,
            parallel: 1,
            duration: Duration::from_secs(60),
            admin: None,
            jwt: None,
            quiet: true,
        }
    }

    /// As JSON, for the report.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn script(&self) -> Script {
        let requests = u32::try_from(self.requests.div_ceil(self.users.max(1).into())).unwrap_or(u32::MAX);
        let bursts = requests.div_ceil(self.parallel.max(1)).max(1);
        let arrival = Duration::from_secs_f64(f64::from(self.users) / self.rate);
        let time = self.duration.saturating_sub(arrival).mul_f64(0.8);
        Script {
            target: self.call.clone(),
            call_length: self.call_length,
            requests,
            parallel: self.parallel,
            request_interval: time / bursts,
        }
    }

    fn identity(&self, number: u32) -> anyhow::Result<Identity> {
        let client_id = ClientId::parse(format!("load-{}-{number}", self.seed))?;
        let user = format!("load-{number}");
        Ok(Identity { user, client_id, jwt: self.jwt.clone(), bases: self.targets.clone() })
    }
}

/// Runs a command on one thread: users need little but packets, and those have threads of their own.
pub fn block_on<T>(command: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, command))
}

/// A running crowd.
pub struct Crowd {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    arrivals: JoinHandle<()>,
    collector: JoinHandle<Tally>,
    line: watch::Receiver<Snapshot>,
    watcher: Option<JoinHandle<()>>,
    over_capacity: Arc<AtomicU64>,
}

/// A crowd that went home.
pub struct Outcome {
    tally: Tally,
    sent: u64,
    returned: u64,
    over_capacity: Option<u64>,
}

impl Crowd {
    /// Starts it on the current [`tokio::task::LocalSet`]; the users arrive by themselves.
    pub fn start(load: Load) -> anyhow::Result<Self> {
        let (facts, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            engine: Engine::start(load.engine, load.peer_threads, load.seed)?,
            facts,
            packets: Packets::default(),
            start: Instant::now(),
            stop: stopped,
        });
        let (published, line) = watch::channel(Snapshot::default());
        let collector = tokio::spawn(collect(inbox, published, Arc::downgrade(&shared), load.quiet));
        let over_capacity = Arc::new(AtomicU64::new(0));
        let watch = |admin: &String| tokio::spawn(watch_capacity(admin.clone(), over_capacity.clone()));
        let watcher = load.admin.as_ref().map(watch);
        let arrivals = tokio::task::spawn_local(arrive(load, shared.clone()));
        Ok(Self { shared, stop, arrivals, collector, line, watcher, over_capacity })
    }

    /// An instance is about to be killed.
    pub fn note_kill(&self) {
        let _ = self.shared.facts.send((usize::MAX, Fact::Killed, self.shared.start.elapsed()));
    }

    /// Counts, refreshed with every fact.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        *self.line.borrow()
    }

    /// Waits until the counts are as wanted; false when they were not within `limit`.
    pub async fn wait_for(&self, limit: Duration, wanted: impl FnMut(&Snapshot) -> bool) -> bool {
        let mut line = self.line.clone();
        tokio::time::timeout(limit, line.wait_for(wanted)).await.is_ok_and(|found| found.is_ok())
    }

    /// Sends everybody home and gives the figures.
    pub async fn finish(self) -> Outcome {
        let over_capacity = self.watcher.as_ref().map(|_| self.over_capacity.load(Relaxed));
        if let Some(watcher) = self.watcher {
            watcher.abort();
        }
        self.stop.send_replace(true);
        // Those that do not leave in time are left to the collector's figures as they are.
        let mut arrivals = self.arrivals;
        if tokio::time::timeout(LEAVE_TIMEOUT, &mut arrivals).await.is_err() {
            arrivals.abort();
        }
        let packets = (self.shared.packets.sent.load(Relaxed), self.shared.packets.returned.load(Relaxed));
        drop(self.shared);
        let tally = self.collector.await.unwrap_or_default();
        Outcome { tally, sent: packets.0, returned: packets.1, over_capacity }
    }
}

impl Outcome {
    /// Puts the figures into the report.
    pub fn fill(&self, report: &mut Report) {
        self.tally.fill(report);
        report.packets_sent = Some(self.sent);
        report.packets_returned = Some(self.returned);
        report.over_capacity = self.over_capacity;
    }
}

/// Poisson arrivals: the pauses are exponential, and nobody waits for those before.
async fn arrive(load: Load, shared: Arc<Shared>) {
    let mut random = SmallRng::seed_from_u64(load.seed);
    let script = load.script();
    let mut stop = shared.stop.clone();
    let mut users = JoinSet::new();
    let mut at = shared.start;
    for number in 0..load.users {
        let pause = -(1.0 - random.random::<f64>()).ln() / load.rate;
        at += Duration::from_secs_f64(pause);
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let Ok(identity) = load.identity(number) else { continue };
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        users.spawn_local(run_user(index, identity, script.clone(), random.random(), shared.clone()));
    }
    while users.join_next().await.is_some() {}
}

async fn collect(
    mut inbox: mpsc::UnboundedReceiver<(usize, Fact, Now)>,
    published: watch::Sender<Snapshot>,
    shared: std::sync::Weak<Shared>,
    quiet: bool,
) -> Tally {
    let mut tally = Tally::default();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            fact = inbox.recv() => match fact {
                Some((user, fact, at)) => tally.note(user, fact, at),
                None => return tally,
            },
            _ = seconds.tick() => if let Some(shared) = shared.upgrade().filter(|_| !quiet) {
                let packets = &shared.packets;
                let (sent, returned) = (packets.sent.load(Relaxed), packets.returned.load(Relaxed));
                println!("{:4} s  {} | packets {sent} returned {returned}", shared.start.elapsed().as_secs(), tally.line());
            },
        }
        published.send_replace(tally.snapshot());
    }
}

async fn watch_capacity(admin: String, over: Arc<AtomicU64>) {
    let browser = Browser::new();
    loop {
        if let Ok(rows) = ask::<Vec<InstanceRow>>(&browser, &admin, "/instances").await {
            over.fetch_add(rows.iter().map(|row| u64::from(row.used > row.capacity)).sum(), Relaxed);
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}
