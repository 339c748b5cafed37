//! A crowd of virtual users: starts them open loop, collects what happens to them, says so once a second.

use crate::cluster::{InstanceRow, ask};
use crate::cpu::{Cores, Meter, Reading};
use crate::drive::{Packets, Script, Shared, run_user};
use crate::engine::{Engine, EngineKind};
use crate::http::Browser;
use crate::lag::Lag;
use crate::peer_io::PoolConfig;
use crate::report::{Lags, Quantiles, Report};
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
/// What a browser keeps per host.
const MOST_CONNECTIONS: usize = 6;
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
    /// Threads that act for the users.
    pub user_threads: usize,
    /// Time between a call's RTP packets.
    #[serde(rename = "packet_interval_ms", serialize_with = "millis")]
    pub packet_interval: Duration,
    /// Whom they call.
    pub call: Option<String>,
    /// Hang up and call again after this time.
    #[serde(rename = "call_length_s", serialize_with = "seconds")]
    pub call_length: Option<Duration>,
    /// Requests of all users together.
    pub requests: u64,
    /// Of one user at once.
    pub parallel: u32,
    /// Idle connections that a user keeps per balancer.
    pub connections: usize,
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
    /// Processes of instances and of balancers whose CPU time is read.
    #[serde(skip)]
    pub processes: (Vec<u32>, Vec<u32>),
}

fn millis<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    (time.as_secs_f64() * 1000.0).serialize(to)
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
            user_threads: 1,
            packet_interval: crate::peer::PACKET_INTERVAL,
            call: Some("echo".to_owned()),
            call_length: None,
            requests: 0,
            parallel: 1,
            connections: 1,
            duration: Duration::from_secs(60),
            admin: None,
            jwt: None,
            quiet: true,
            processes: (Vec::new(), Vec::new()),
        }
    }

    /// As many idle connections as parallel requests need, as long as `files` are enough for all users: each has a UDP socket,
    /// a WebSocket and these.
    #[must_use]
    pub fn connections_within(&self, files: usize) -> usize {
        let balancers = self.targets.len().max(1);
        let wanted = usize::try_from(self.parallel).unwrap_or(usize::MAX).div_ceil(balancers).min(MOST_CONNECTIONS);
        let users = usize::try_from(self.users).unwrap_or(usize::MAX).max(1);
        let room = (files / 10 * 9 / users).saturating_sub(2) / balancers;
        wanted.min(room)
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
            connections: self.connections,
            answers: false,
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
    arrivals: Vec<JoinHandle<()>>,
    collector: JoinHandle<Collected>,
    line: watch::Receiver<Snapshot>,
    watchers: Vec<JoinHandle<()>>,
    over_capacity: Option<Arc<AtomicU64>>,
    lags: Vec<Arc<Lag>>,
}

/// A crowd that went home.
pub struct Outcome {
    tally: Tally,
    sent: u64,
    returned: u64,
    over_capacity: Option<u64>,
    lag: Lags,
    recovery_lag: Option<Lags>,
    cores: Option<Cores>,
    recovery_cores: Option<Cores>,
}

/// What the collector has at the end.
#[derive(Default)]
struct Collected {
    tally: Tally,
    readings: Vec<Reading>,
}

impl Crowd {
    /// Starts it on the current [`tokio::task::LocalSet`] and on threads of its own; the users arrive by themselves.
    pub fn start(load: Load) -> anyhow::Result<Self> {
        let (facts, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let media = PoolConfig {
            threads: load.peer_threads,
            seed: load.seed,
            packet_interval: load.packet_interval,
            ..PoolConfig::default()
        };
        let shared = Arc::new(Shared {
            engine: Engine::start(load.engine, media)?,
            facts,
            packets: Packets::default(),
            start: Instant::now(),
            stop: stopped,
        });
        let (published, line) = watch::channel(Snapshot::default());
        let meter = Meter::new(load.processes.0.clone(), load.processes.1.clone());
        let collector = tokio::spawn(collect(inbox, published, Arc::downgrade(&shared), meter, load.quiet));
        let over_capacity = load.admin.as_ref().map(|_| Arc::new(AtomicU64::new(0)));
        let watch = |(admin, over): (&String, &Arc<_>)| tokio::spawn(watch_capacity(admin.clone(), Arc::clone(over)));
        let mut watchers: Vec<JoinHandle<()>> = load.admin.iter().zip(&over_capacity).map(watch).collect();
        let mut lags: Vec<Arc<Lag>> = vec![Arc::default()];
        let first = lags[0].clone();
        watchers.push(tokio::spawn(async move { first.watch().await }));
        let mut arrivals = vec![tokio::task::spawn_local(arrive(load.clone(), 0, shared.clone()))];
        for thread in 1..load.user_threads {
            let lag = Arc::<Lag>::default();
            lags.push(lag.clone());
            arrivals.push(start_thread(thread, load.clone(), shared.clone(), lag)?);
        }
        Ok(Self { shared, stop, arrivals, collector, line, watchers, over_capacity, lags })
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
        self.watchers.iter().for_each(JoinHandle::abort);
        let (start, end) = (self.shared.start, Instant::now());
        self.stop.send_replace(true);
        for arrivals in self.arrivals {
            // One that panicked has nobody left to wait for.
            let _ = arrivals.await;
        }
        let packets = (self.shared.packets.sent.load(Relaxed), self.shared.packets.returned.load(Relaxed));
        let media = self.shared.engine.lags().to_vec();
        drop(self.shared);
        let Collected { tally, readings } = self.collector.await.unwrap_or_default();
        let lag = |from, to| Lags { users: worst(&self.lags, from, to), media: worst(&media, from, to) };
        let recovery = tally.recovery().map(|(from, to)| (start + from, start + to));
        Outcome {
            tally,
            sent: packets.0,
            returned: packets.1,
            over_capacity: self.over_capacity.map(|over| over.load(Relaxed)),
            lag: lag(start, end),
            recovery_lag: recovery.map(|(from, to)| lag(from, to)),
            cores: readings.first().zip(readings.last()).map(|(first, last)| Cores::between(first, last)),
            recovery_cores: recovery.and_then(|(from, to)| crate::cpu::around(&readings, from, to)),
        }
    }
}

fn worst(lags: &[Arc<Lag>], from: Instant, to: Instant) -> Option<Quantiles> {
    Quantiles::of(&lags.iter().flat_map(|lag| lag.within(from, to)).collect::<Vec<_>>())
}

impl Outcome {
    /// Puts the figures into the report.
    pub fn fill(&self, report: &mut Report) {
        self.tally.fill(report);
        report.packets_sent = Some(self.sent);
        report.packets_returned = Some(self.returned);
        report.over_capacity = self.over_capacity;
        report.lag_ms = Some(self.lag);
        report.recovery_lag_ms = self.recovery_lag;
        report.cores = self.cores;
        report.recovery_cores = self.recovery_cores;
    }
}

/// A thread for its share of the users; the handle ends with it.
fn start_thread(number: usize, load: Load, shared: Arc<Shared>, lag: Arc<Lag>) -> anyhow::Result<JoinHandle<()>> {
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let act = move || {
        let ended = block_on(async move {
            let watcher = tokio::spawn(async move { lag.watch().await });
            arrive(load, number, shared).await;
            watcher.abort();
        });
        if let Err(error) = ended {
            tracing::error!(%error, "no thread for users");
        }
        drop(done);
    };
    std::thread::Builder::new().name(format!("users-{number}")).spawn(act)?;
    Ok(tokio::spawn(async move {
        // Dropped, not sent: the thread is over, however it ended.
        let _ = ended.await;
    }))
}

/// Poisson arrivals: the pauses are exponential, and nobody waits for those before. Each thread knows all arrivals and serves
/// its share of them.
async fn arrive(load: Load, thread: usize, shared: Arc<Shared>) {
    let mut random = SmallRng::seed_from_u64(load.seed);
    let script = load.script();
    let mut stop = shared.stop.clone();
    let mut users = JoinSet::new();
    let mut at = shared.start;
    for number in 0..load.users {
        let pause = -(1.0 - random.random::<f64>()).ln() / load.rate;
        at += Duration::from_secs_f64(pause);
        let seed = random.random();
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if index % load.user_threads.max(1) != thread {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let Ok(identity) = load.identity(number) else { continue };
        users.spawn_local(run_user(index, identity, script.clone(), seed, shared.clone()));
    }
    let _ = stop.wait_for(|stop| *stop).await;
    // Those that do not leave in time are left to the collector's figures as they are.
    let _ = tokio::time::timeout(LEAVE_TIMEOUT, async { while users.join_next().await.is_some() {} }).await;
}

async fn collect(
    mut inbox: mpsc::UnboundedReceiver<(usize, Fact, Now)>,
    published: watch::Sender<Snapshot>,
    shared: std::sync::Weak<Shared>,
    mut meter: Meter,
    quiet: bool,
) -> Collected {
    let mut tally = Tally::default();
    let mut readings: Vec<Reading> = Vec::new();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            fact = inbox.recv() => match fact {
                Some((user, fact, at)) => tally.note(user, fact, at),
                None => return Collected { tally, readings },
            },
            _ = seconds.tick() => if let Some(shared) = shared.upgrade().filter(|_| !quiet) {
                let reading = meter.read();
                let cores = readings.last().map(|last| Cores::between(last, &reading)).unwrap_or_default();
                readings.push(reading);
                let packets = &shared.packets;
                let (sent, returned) = (packets.sent.load(Relaxed), packets.returned.load(Relaxed));
                let second = shared.start.elapsed().as_secs();
                println!("{second:4} s  {} | packets {sent} returned {returned} | {cores}", tally.line());
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
