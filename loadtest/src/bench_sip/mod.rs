//! `loadtest bench sip`: what a call between a browser and a phone costs the gateway, and what its SIP side does in a second.
//!
//! Browsers are this program's own peers: ICE, DTLS-SRTP, Opus packets every 20 ms. Phones speak plain RTP; the SIP server is
//! a process of its own. Calls are added until packets are lost, or the load itself is late, or `--calls` is reached; the cost
//! is the CPU time of the gateway process over the calls' seconds at the largest number that lost nothing. rtpengine gets the
//! same browsers, phones and packets, without any signalling.

mod caller;
pub mod registrar;
mod rtpengine;
mod signalling;
mod traffic;

use crate::bench_media::instance::Instance;
use crate::exit::Failure;
use crate::http::{Ask, Browser};
use crate::peer::Sound;
use crate::peer_io::{PeerPool, PoolConfig, PoolPeer};
use crate::report::{CallCosts, Report};
use crate::sip_phone::answering::Answering;
use crate::sip_phone::rtp::{RtpPhones, Voice};
use crate::sip_phone::speech;
use anyhow::Context;
use caller::{Caller, Target};
use clap::Parser;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast_config::{Check, ConfigFlags, flags};
use registrar::{DOMAIN, Registrar, ServerKind};
use rtpengine::Rtpengine;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use traffic::Step;

/// Set-ups in flight at once.
const AT_ONCE: usize = 32;
/// From the last call's media to the measurement.
const SETTLE: Duration = Duration::from_millis(500);
/// Longest wait for one call's first packet.
const FLOW: Duration = Duration::from_secs(10);
/// Where a ladder begins.
const FEW: usize = 50;
/// Up to here the calls are doubled from step to step.
const DOUBLING: usize = 200;
/// Phones that share Opus with browsers.
const BRIDGED: Target = Target { user: "opus-phone", g711: true };
/// Phones that have G.711 alone, for browsers that have none: both directions are transcoded.
const TRANSCODED: Target = Target { user: "pcmu-phone", g711: false };
/// The same for browsers that have it too: what they send is transcoded, what they get is not.
const ONE_WAY: Target = Target { user: "pcmu-phone", g711: true };

/// What calls between browsers and phones cost the gateway, rtpengine beside it
#[derive(Debug, Parser)]
#[command(name = "loadtest bench sip", bin_name = "loadtest bench sip", version)]
pub struct BenchSipFlags {
    #[command(flatten)]
    config: ConfigFlags,
    /// Most bridged calls that are tried
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    calls: u32,
    /// Most transcoded calls that are tried
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    transcoded: u32,
    /// Users for the registrations; 0 leaves them out
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    users: u32,
    /// Calls for the rate of set-ups; 0 leaves them out
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    setups: u32,
    /// Seconds measured per number of calls
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Few calls, one second each
    #[arg(long)]
    short: bool,
    /// The SIP server
    #[arg(long, value_enum, default_value_t)]
    sip_server: ServerKind,
    /// Leave rtpengine out
    #[arg(long)]
    no_rtpengine: bool,
    /// The gateway binary; the one beside this program if absent
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A further flag for the gateway (repeatable), as --gateway-flag=--media-threads=1
    #[arg(long, value_name = "FLAG")]
    gateway_flag: Vec<String>,
    /// Threads that drive the browsers' media
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    peer_threads: u16,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for BenchSipFlags {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let mut flags: BenchSipFlags = flags::load(args)?;
    if flags.short {
        flags.shorten();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let report = runtime.block_on(flags.run())?;
    report.publish(flags.json.as_deref())?;
    Ok(())
}

/// What all parts of a run share.
struct World {
    pool: PeerPool,
    phones: Arc<RtpPhones>,
    registrar: Registrar,
    instance: Instance,
    /// Numbers users.
    next: usize,
}

impl BenchSipFlags {
    fn shorten(&mut self) {
        self.calls = self.calls.min(100);
        self.transcoded = self.transcoded.min(20);
        self.users = self.users.min(200);
        self.setups = self.setups.min(50);
        self.seconds = 1;
    }

    fn binary(&self) -> anyhow::Result<PathBuf> {
        let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("gateway"));
        self.gateway.clone().map_or_else(beside, Ok)
    }

    fn describe(&self, gateway: &[String]) -> serde_json::Value {
        serde_json::json!({
            "calls": self.calls, "transcoded": self.transcoded, "users": self.users, "setups": self.setups,
            "seconds": self.seconds, "short": self.short, "sip_server": self.sip_server,
            "peer_threads": self.peer_threads, "gateway_flags": gateway, "rtpengine_flags": rtpengine::flags(),
        })
    }

    async fn run(&self) -> anyhow::Result<Report> {
        let mut world = self.world().await?;
        let mut report = Report::new("bench sip", self.describe(&world.flags(self)));
        let mut steps = Vec::new();
        let bridged = self.ladder(&mut world, BRIDGED, self.calls as usize, &mut report.kb_per_call).await?;
        let transcoded = self.ladder(&mut world, TRANSCODED, self.transcoded as usize, &mut None).await?;
        let one_way = self.ladder(&mut world, ONE_WAY, FEW.min(self.transcoded as usize), &mut None).await?;
        report.registrations_per_second = signalling::registrations(&mut world, self.users as usize).await?;
        report.call_setups_per_second = signalling::setups(&mut world, self.setups as usize).await?;
        let beside = self.rtpengine(&world, most(&bridged)).await?;
        let mut costs = CallCosts::default();
        (costs.bridged_few, costs.bridged_most) = ends(&bridged);
        (costs.transcoded_few, costs.transcoded_most) = ends(&transcoded);
        (costs.rtpengine_few, costs.rtpengine_most) = ends(&beside);
        report.cpu_ms_per_call_second = Some(costs);
        report.bridged_calls = most(&bridged).map(|step| step.calls as u64);
        report.transcoded_calls = most(&transcoded).map(|step| step.calls as u64);
        report.bridged_calls_per_core = most(&bridged).map(Step::calls_per_core);
        report.transcoded_calls_per_core = most(&transcoded).map(Step::calls_per_core);
        report.one_way_transcoded_calls_per_core = most(&one_way).map(Step::calls_per_core);
        report.rtpengine_bridged_calls_per_core = most(&beside).map(Step::calls_per_core);
        report.rtpengine_legs =
            most(&beside).map(|_| "ICE and DTLS-SRTP (GCM) to plain RTP, as the gateway's".to_owned());
        let named =
            [("bridged", bridged), ("transcoded", transcoded), ("one way transcoded", one_way), ("rtpengine", beside)];
        for (name, ladder) in named {
            steps.extend(ladder.iter().map(|step| serde_json::json!({ "kind": name, "step": step })));
        }
        report.rounds = Some(steps.into());
        Ok(report)
    }

    async fn world(&self) -> anyhow::Result<World> {
        let gateway = self.binary()?;
        let registrar = Registrar::start(self.sip_server, &gateway).await?;
        let sound = Sound::Opus(speech::opus()?.into());
        let pool = PeerPool::start(PoolConfig { threads: self.peer_threads.into(), sound, ..PoolConfig::default() })?;
        let phones = Arc::new(RtpPhones::start()?);
        let flags = sip_flags(&registrar, &self.gateway_flag);
        let instance = Instance::start(&gateway, 100_000, &flags).await?;
        Ok(World { pool, phones, registrar, instance, next: 0 })
    }

    /// More and more calls until something is lost; the last step is the largest number that lost nothing, if any did.
    async fn ladder(
        &self,
        world: &mut World,
        target: Target,
        limit: usize,
        kb_per_call: &mut Option<f64>,
    ) -> anyhow::Result<Vec<Step>> {
        let voice = if target.user == BRIDGED.user { Voice::Opus } else { Voice::Pcmu };
        let phones =
            Answering::start(world.registrar.address, DOMAIN, target.user, voice, world.phones.clone()).await?;
        let empty = world.instance.resident()?;
        let mut callers: Vec<Caller> = Vec::new();
        let (mut steps, mut calls) = (Vec::<Step>::new(), FEW.min(limit));
        loop {
            match world.call_until(&mut callers, calls, target).await {
                Err(error) if steps.is_empty() => return Err(error),
                Err(error) => {
                    eprintln!("warning: {calls} calls can't be had: {error:#}");
                    break;
                }
                Ok(()) => {}
            }
            let mut step = world.step(&callers, Duration::from_secs(self.seconds)).await?;
            eprintln!("{}: {step:?}", target.user);
            if !step.is_lossless() {
                world.tell_what_was_dropped(&callers).await?;
                // The machine may have been busy with something else.
                step = world.step(&callers, Duration::from_secs(self.seconds)).await?;
                eprintln!("{} again: {step:?}", target.user);
            }
            if !step.is_lossless() {
                break;
            }
            *kb_per_call = Some((world.instance.resident()?.saturating_sub(empty)) as f64 / 1000.0 / calls as f64);
            steps.push(step);
            if calls >= limit {
                break;
            }
            calls = if calls < DOUBLING { calls * 2 } else { calls * 3 / 2 }.min(limit);
        }
        world.end(callers, &phones).await?;
        Ok(steps)
    }

    async fn rtpengine(&self, world: &World, largest: Option<&Step>) -> anyhow::Result<Vec<Step>> {
        let Some((binary, largest)) = rtpengine::installed().filter(|_| !self.no_rtpengine).zip(largest) else {
            return Ok(Vec::new());
        };
        let mut engine = Rtpengine::start(&binary).await?;
        let mut steps = Vec::new();
        let few = FEW.min(largest.calls);
        for calls in [few, largest.calls] {
            let time = Duration::from_secs(self.seconds);
            let step = engine.step(&world.pool, &world.phones, calls, SETTLE, time).await?;
            eprintln!("rtpengine: {step:?}");
            if step.is_lossless() {
                steps.push(step);
            }
        }
        engine.finish(&world.phones);
        Ok(steps)
    }
}

fn most(steps: &[Step]) -> Option<&Step> {
    steps.last()
}

fn ends(steps: &[Step]) -> (Option<f64>, Option<f64>) {
    let cost = |step: &Step| step.cpu_ms_per_call_second;
    (steps.first().map(cost), steps.last().map(cost))
}

pub(crate) fn sip_flags(registrar: &Registrar, extra: &[String]) -> Vec<String> {
    let server = format!("sip:{};transport=tcp", registrar.address);
    let sip = ["--sip-registrar", &server, "--sip-domain", DOMAIN, "--sip-allow", "*"].map(str::to_owned);
    sip.into_iter().chain(extra.iter().cloned()).collect()
}

impl World {
    fn flags(&self, flags: &BenchSipFlags) -> Vec<String> {
        sip_flags(&self.registrar, &flags.gateway_flag)
    }

    /// Calls more until there are so many, all with media.
    async fn call_until(&mut self, callers: &mut Vec<Caller>, calls: usize, target: Target) -> anyhow::Result<()> {
        let first = self.next;
        self.next += calls.saturating_sub(callers.len());
        let (base, pool) = (&self.instance.base, &self.pool);
        let one = async |number| {
            let mut caller = Caller::arrive(base, number).await?;
            caller.call(pool, target).await?;
            anyhow::Ok(caller)
        };
        let mut fresh = stream::iter(first..self.next).map(one).buffer_unordered(AT_ONCE);
        while let Some(caller) = fresh.next().await {
            callers.push(caller?);
        }
        for caller in callers.iter() {
            caller.heard().await?;
        }
        let all_heard = async {
            while (self.phones.heard() as usize) < callers.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let heard = tokio::time::timeout(FLOW, all_heard).await;
        heard.with_context(|| format!("{} of {} phones hear anything", self.phones.heard(), callers.len()))
    }

    async fn step(&self, callers: &[Caller], time: Duration) -> anyhow::Result<Step> {
        tokio::time::sleep(SETTLE).await;
        let browsers: Vec<&PoolPeer> = callers.iter().filter_map(Caller::peer).collect();
        Step::measure(&browsers, &self.phones, time, || self.instance.cpu()).await
    }

    /// For people: why packets may be missing.
    async fn tell_what_was_dropped(&self, callers: &[Caller]) -> anyhow::Result<()> {
        let silent = callers.iter().filter_map(Caller::peer).filter(|peer| {
            let last = peer.counts().last_received;
            last.is_none_or(|last| last.elapsed() > Duration::from_secs(1))
        });
        eprintln!("  silent browsers: {}", silent.count());
        let ask = Ask { method: "GET", path: "/metrics".to_owned(), headers: Vec::new(), body: Vec::new() };
        let answer = Browser::new().ask(&self.instance.admin, &ask).await?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let dropped = text.lines().filter(|line| line.starts_with("holdfast_media_dropped_total{"));
        dropped.filter(|line| !line.ends_with(" 0")).for_each(|line| eprintln!("  {line}"));
        Ok(())
    }

    /// All hang up; the phones must learn it.
    async fn end(&self, callers: Vec<Caller>, phones: &Answering) -> anyhow::Result<()> {
        let leaving = stream::iter(callers).map(|caller| caller.leave(&self.instance.base));
        leaving.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        let ended = async {
            while phones.calls() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(FLOW, ended).await.is_err() {
            eprintln!("warning: {} phones never heard that their call ended", phones.calls());
        }
        Ok(())
    }
}
