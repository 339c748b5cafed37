//! `loadtest reach`: users are called without end while their instances are killed, one after another, and the time is taken
//! in which nobody reaches them.
//!
//! Everything is real: instances, balancers, a SIP server, users that sign in and hear `incoming_call`, phones that place calls
//! through the SIP server. A user's window lasts from the death of its instance to the first call that rings at its browser
//! again. Right after each kill every user that it hit is called once, and again whenever the SIP side refuses, so that the
//! moment from which calls ring is found whether or not the SIP server holds them.

mod book;

use crate::bench_sip::registrar::{DOMAIN, Registrar, ServerKind};
use crate::cluster::{Cluster, ClusterFlags};
use crate::crowd::block_on;
use crate::drive::{Packets, Script, Shared, run_user};
use crate::engine::{Engine, EngineKind};
use crate::exit::Failure;
use crate::failures::{Failures, Moment};
use crate::peer_io::PoolConfig;
use crate::report::{Quantiles, Report};
use crate::rules::Rules;
use crate::sip_phone::calling::{Calling, Heard, News, number_of};
use crate::sip_phone::rtp::RtpPhones;
use crate::tally::Fact;
use crate::user::{Identity, Now, Told};
use book::Book;
use clap::Parser;
use gateway_protocol::ClientId;
use holdfast_config::{Check, ConfigFlags, flags};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Users arrive at this rate a second.
const ARRIVALS: f64 = 150.0;
/// All must be reachable before the first kill within this.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);
/// The users of a dead instance are called within this after its death.
const PROBES: Duration = Duration::from_millis(10);
/// A refused call is placed again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// A user that nobody reaches within this is called lost.
const REACH_LIMIT: Duration = Duration::from_secs(15);
/// Until a restarted instance is seen up by all balancers.
const RESTART_LIMIT: Duration = Duration::from_secs(20);
/// Between the end of one round and the next kill. With eight instances hardly any user is hit more than five times a minute
/// then: from the sixth sign-in on balancers treat a returning user as a new one.
const REST: Duration = Duration::from_secs(4);
/// The same with `--short`.
const SHORT_REST: Duration = Duration::from_secs(1);
/// After the last round, for calls that are still held.
const LAST_CALLS: Duration = Duration::from_secs(3);
/// One user in so many answers.
const ANSWERING: usize = 10;
const LOOK: Duration = Duration::from_millis(10);
/// What the issue of a lost instance is held to.
const MAX_P50_MS: f64 = 400.0;
const MAX_P99_MS: f64 = 1500.0;
const MIN_SHARE: f64 = 0.99;

/// Call users in while their instances are killed: how long nobody reaches them
#[derive(Debug, Parser)]
#[command(name = "loadtest reach", bin_name = "loadtest reach", version)]
pub struct ReachFlags {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Instances
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=16))]
    instances: u16,
    /// Users; --capacity is raised so that one instance fewer holds them
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: u32,
    /// Instances killed, one after another, each restarted afterwards
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,
    /// Calls a second to users at random, all the time
    #[arg(long, default_value_t = 25.0)]
    call_rate: f64,
    /// The SIP server
    #[arg(long, value_enum, default_value_t)]
    sip_server: ServerKind,
    /// Few users, two kills
    #[arg(long)]
    short: bool,
    /// Seeds arrivals and choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for ReachFlags {
    fn check(&self) -> Result<(), String> {
        if self.call_rate > 0.0 && self.call_rate <= 1000.0 {
            return Ok(());
        }
        Err(format!("error: --call-rate {}: more than 0 and at most 1000 is allowed", self.call_rate))
    }
}

impl ReachFlags {
    fn cluster(&self) -> ClusterFlags {
        let needed = self.users * 5 / 4 / u32::from(self.instances - 1) + 1;
        ClusterFlags { capacity: self.cluster.capacity.max(needed), ..self.cluster.clone() }
    }

    fn describe(&self) -> serde_json::Value {
        json!({
            "cluster": self.cluster(), "instances": self.instances, "users": self.users, "kills": self.kills,
            "call_rate": self.call_rate, "sip_server": self.sip_server, "short": self.short, "seed": self.seed,
        })
    }
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let mut flags: ReachFlags = flags::load(args)?;
    if flags.short {
        (flags.users, flags.kills) = (flags.users.min(80), flags.kills.min(2));
        flags.instances = flags.instances.min(3);
    }
    let mut report = Report::new("reach", flags.describe());
    let rules = block_on(run(&flags, &mut report))??;
    rules.publish(report, flags.json.as_deref())
}

async fn run(flags: &ReachFlags, report: &mut Report) -> anyhow::Result<Rules> {
    let gateway = flags.cluster.binary("gateway", flags.cluster.gateway_bin.as_ref())?;
    let registrar = Registrar::start(flags.sip_server, &gateway).await?;
    let sip = crate::bench_sip::sip_flags(&registrar, &[]);
    let mut cluster = Cluster::start_with(&flags.cluster(), flags.instances, 1, &sip).await?;
    let mut world = World::start(flags, &cluster, &registrar).await?;
    let mut rules = Rules::default();
    world.reach_everybody().await;
    let users = flags.users as usize;
    let reached = world.book.reached();
    rules.check(reached == users, format!("all {users} users sign in and are reached by a call ({reached})"));
    let mut rounds = Vec::new();
    for kill in 1..=flags.kills {
        rounds.push(world.round(kill, &mut cluster).await?);
    }
    world.go_on(LAST_CALLS, |_| false).await;
    let unreachable = world.book.unreachable();
    world.finish().await;
    let (gap, rang) = world.book.gap_calls();
    let share = (gap > 0).then(|| rang as f64 / gap as f64);
    let (placed, all_rang) = world.book.calls();
    let windows = Quantiles::of(world.book.windows());
    report.users = Some(flags.users.into());
    report.sip_server = Some(json!(flags.sip_server));
    report.sign_ins_failed_by = Some(world.failures.clone());
    report.kills = Some(flags.kills.into());
    report.user_failovers = Some(world.book.windows().len() as u64);
    report.never_reached = Some(unreachable as u64);
    report.unreachable_ms = windows;
    report.calls_placed = Some(placed);
    report.calls_rung = Some(all_rang);
    report.calls_answered = Some(world.answered);
    report.gap_calls = Some(gap);
    report.gap_calls_rung_share = share;
    report.calls_refused_by_status = Some(json!(world.book.refusals()));
    report.rounds = Some(rounds.into());
    rules.check(world.answered > 0, format!("calls are answered ({})", world.answered));
    rules.check(unreachable == 0, format!("every user is reached again ({unreachable} never)"));
    if let Some(windows) = windows {
        let (p50, p99) = (windows.p50, windows.p99);
        rules.check(p50 < MAX_P50_MS, format!("unreachable for less than {MAX_P50_MS} ms at p50 ({p50})"));
        rules.check(p99 < MAX_P99_MS, format!("unreachable for less than {MAX_P99_MS} ms at p99 ({p99})"));
    }
    let held = share.is_none_or(|share| share >= MIN_SHARE);
    rules.check(held, format!("of {gap} calls placed in a gap {:.1} % ring within 3 s", share.unwrap_or(1.0) * 100.0));
    Ok(rules)
}

/// Users, phones, and what is known of them.
struct World {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    facts: mpsc::UnboundedReceiver<(usize, Fact, Now)>,
    users: JoinSet<()>,
    phones: Calling,
    news: mpsc::UnboundedReceiver<News>,
    book: Book,
    random: SmallRng,
    next_call: u64,
    count: usize,
    /// Calls that are due.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    pause: Duration,
    next_steady: Instant,
    answered: u64,
    rest: Duration,
    kills: Vec<Now>,
    failures: Failures,
}

impl World {
    async fn start(flags: &ReachFlags, cluster: &Cluster, registrar: &Registrar) -> anyhow::Result<Self> {
        let (facts, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let media = PoolConfig { seed: flags.seed, ..PoolConfig::default() };
        let engine = Engine::start(EngineKind::Own, media)?;
        let start = Instant::now();
        let shared = Arc::new(Shared { engine, facts, packets: Packets::default(), start, stop: stopped });
        let (phones, news) = Calling::start(registrar.address, DOMAIN, Arc::new(RtpPhones::start()?)).await?;
        let mut random = SmallRng::seed_from_u64(flags.seed);
        let mut users = JoinSet::new();
        for number in 0..flags.users as usize {
            let client_id = ClientId::parse(format!("reach-{}-{number}", flags.seed))?;
            let identity = Identity { user: user(number), client_id, jwt: None, bases: cluster.targets() };
            let (seed, shared) = (random.random(), shared.clone());
            let arrival = start + Duration::from_secs_f64(number as f64 / ARRIVALS);
            users.spawn_local(async move {
                tokio::time::sleep_until(arrival.into()).await;
                run_user(number, identity, script(number), seed, shared).await;
            });
        }
        Ok(Self {
            shared,
            stop,
            facts: inbox,
            users,
            phones,
            news,
            book: Book::new(flags.users as usize),
            random,
            next_call: 1,
            count: flags.users as usize,
            due: BinaryHeap::new(),
            pause: Duration::from_secs_f64(1.0 / flags.call_rate),
            next_steady: start + Duration::from_secs(3600),
            answered: 0,
            rest: if flags.short { SHORT_REST } else { REST },
            kills: Vec::new(),
            failures: Failures::default(),
        })
    }

    /// Calls whoever was not reached yet, until all were.
    async fn reach_everybody(&mut self) {
        self.go_on(Duration::from_secs_f64(self.count as f64 / ARRIVALS), |_| false).await;
        let until = Instant::now() + ARRIVAL_LIMIT;
        while Instant::now() < until {
            let missing = self.book.never_reached();
            if missing.is_empty() {
                break;
            }
            // Spread, so that the users' first calls are no flood.
            let now = Instant::now();
            let spread = |(place, user)| Reverse((now + Duration::from_millis(2) * place, user));
            self.due.extend((0..).zip(missing).map(spread));
            self.go_on(Duration::from_secs(2), |book| book.never_reached().is_empty()).await;
        }
        self.next_steady = Instant::now();
    }

    /// Kills the instance with most users, waits until all are reached again, and starts it anew.
    async fn round(&mut self, kill: u32, cluster: &mut Cluster) -> anyhow::Result<serde_json::Value> {
        self.go_on(self.rest, |_| false).await;
        let fullest = self.book.fullest().map(|(name, _)| name).unwrap_or_default();
        let at = cluster.instances.iter().position(|instance| instance.name == fullest).unwrap_or(0);
        let known = self.book.windows().len();
        cluster.instances[at].signal(Signal::SIGKILL)?;
        let (now, died) = (Instant::now(), self.shared.start.elapsed());
        self.kills.push(died);
        let hit = self.book.killed(&fullest, died);
        for user in &hit {
            let spread = self.random.random_range(Duration::ZERO..PROBES);
            self.due.push(Reverse((now + spread, *user)));
        }
        self.go_on(REACH_LIMIT, |book| book.unreachable() == 0).await;
        let windows = Quantiles::of(&self.book.windows()[known..]);
        cluster.instances[at].restart()?;
        let until = Instant::now() + RESTART_LIMIT;
        while !cluster.all_up().await && Instant::now() < until {
            self.go_on(LOOK * 10, |_| false).await;
        }
        println!("kill {kill}: {fullest} with {} users; unreachable {windows:?}", hit.len());
        Ok(json!({ "kill": kill, "instance": fullest, "users": hit.len(), "unreachable_ms": windows }))
    }

    /// Places calls and takes notes until this holds or the time is over.
    async fn go_on(&mut self, limit: Duration, holds: impl Fn(&Book) -> bool) {
        let until = Instant::now() + limit;
        while Instant::now() < until && !holds(&self.book) {
            let next = self.due.peek().map_or(self.next_steady, |Reverse((at, _))| self.next_steady.min(*at));
            tokio::select! {
                Some((user, fact, at)) = self.facts.recv() => self.note(user, fact, at),
                Some(news) = self.news.recv() => self.hear(&news),
                () = tokio::time::sleep_until(next.min(until).into()) => self.call_who_is_due(),
            }
        }
    }

    fn note(&mut self, number: usize, fact: Fact, at: Now) {
        match fact {
            Fact::Told(Told::SignedIn { instance_id, .. }) => self.book.signed_in(number, instance_id.as_str(), at),
            Fact::Told(Told::IncomingCall { from, .. }) => {
                if let Some(call) = number_of(&from) {
                    self.book.rang(call, number, at);
                }
            }
            Fact::SignInFailed { asked, cause } => {
                self.failures.count(Moment::of(asked, at, &self.kills), cause);
            }
            _ => {}
        }
    }

    fn hear(&mut self, news: &News) {
        match news.heard {
            Heard::Refused(status) => {
                let again = self.book.refused(news.call, status);
                self.due.extend(again.map(|user| Reverse((news.at + AGAIN, user))));
            }
            Heard::Answered => self.answered += 1,
            Heard::Ringing => {}
        }
    }

    fn call_who_is_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((_, user))) = self.due.peek().filter(|Reverse((at, _))| *at <= now).copied() {
            self.due.pop();
            self.call(user);
        }
        while self.next_steady <= now {
            self.next_steady += self.pause;
            let user = self.random.random_range(0..self.count);
            self.call(user);
        }
    }

    fn call(&mut self, number: usize) {
        self.book.placed(self.next_call, number, self.shared.start.elapsed());
        self.phones.place(self.next_call, &user(number));
        self.next_call += 1;
    }

    async fn finish(&mut self) {
        self.stop.send_replace(true);
        let leaving = async { while self.users.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(5), leaving).await;
    }
}

fn user(number: usize) -> String {
    format!("reach-{number}")
}

fn script(number: usize) -> Script {
    Script {
        target: None,
        call_length: None,
        requests: 0,
        parallel: 1,
        request_interval: Duration::from_secs(1),
        connections: 1,
        answers: number.is_multiple_of(ANSWERING),
    }
}
