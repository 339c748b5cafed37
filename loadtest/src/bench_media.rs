//! `loadtest bench media`: what an echoed packet, a peer and a connect cost the gateway, beside what they must cost.
//!
//! Each run measures the two floors and then a fresh gateway process, with the same peers and packets; runs are
//! interleaved so that a noisy machine disturbs all alike, and the medians are reported. CPU time is that of the gateway
//! process, or of the floor's thread, alone.
//!
//! A peer's memory is what the resident set of that process grows by, from before its first call to the end of the
//! measurement, so what is set up once for all counts too. Connects are measured in a process of their own: memory
//! that ended calls leave behind would be used again, and make the peers look smaller.

pub(crate) mod caller;
mod floor;
pub(crate) mod instance;

use crate::exit::Failure;
use crate::peer::PeerState;
use crate::peer_io::{PeerPool, PoolConfig, PoolPeer};
use crate::report::Report;
use anyhow::Context;
use caller::Caller;
use clap::Parser;
use floor::{Floor, Kind};
use futures_util::StreamExt;
use futures_util::stream;
use holdfast_config::{Check, ConfigFlags, flags};
use instance::Instance;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Connects in flight at once.
const AT_ONCE: usize = 32;
/// From the gateway's start to its first call, and from the last call's media to the measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest wait for one peer's first packet.
const FLOW: Duration = Duration::from_secs(30);

/// What media costs the gateway, beside the floors of the same machine and run
#[derive(Debug, Parser)]
#[command(name = "loadtest bench media", bin_name = "loadtest bench media", version)]
pub struct BenchMediaFlags {
    #[command(flatten)]
    config: ConfigFlags,
    /// Peers that echo 50 packets a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    peers: u32,
    /// Seconds measured per run and kind
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Interleaved runs, of which the medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Calls set up and ended per run for the cost of a connect; 0 leaves it out
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    connects: u32,
    /// The gateway binary; the one beside this program if absent
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A further flag for the gateway (repeatable), as --gateway-flag=--media-threads=1
    #[arg(long, value_name = "FLAG")]
    gateway_flag: Vec<String>,
    /// Threads that drive the peers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    peer_threads: u16,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for BenchMediaFlags {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The figures of one run.
#[derive(Debug, Default)]
struct Run {
    floor_udp: f64,
    floor_srtp: f64,
    echoed: f64,
    kb_per_peer: f64,
    connects_per_cpu_second: Option<f64>,
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let flags: BenchMediaFlags = flags::load(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let runs = runtime.block_on(async {
        let mut runs = Vec::new();
        for number in 1..=flags.runs {
            let run = flags.run().await?;
            eprintln!("run {number} of {}: {run:?}", flags.runs);
            runs.push(run);
        }
        anyhow::Ok(runs)
    })?;
    let mut report = Report::new("bench media", flags.describe());
    let figure = |of: fn(&Run) -> f64| Some(median(runs.iter().map(of).collect()));
    report.peers = Some(flags.peers.into());
    report.floor_udp_us = figure(|run| run.floor_udp);
    report.floor_srtp_us = figure(|run| run.floor_srtp);
    report.cpu_us_per_echoed_packet = figure(|run| run.echoed);
    report.kb_per_peer = figure(|run| run.kb_per_peer);
    let connects: Option<Vec<_>> = runs.iter().map(|run| run.connects_per_cpu_second).collect();
    report.connects_per_cpu_second = connects.map(median);
    report.publish(flags.json.as_deref())?;
    Ok(())
}

impl BenchMediaFlags {
    fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "peers": self.peers, "seconds": self.seconds, "runs": self.runs, "connects": self.connects,
            "gateway_flags": self.gateway_flag, "peer_threads": self.peer_threads,
        })
    }

    fn binary(&self) -> anyhow::Result<PathBuf> {
        let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("gateway"));
        self.gateway.clone().map_or_else(beside, Ok)
    }

    async fn run(&self) -> anyhow::Result<Run> {
        let (threads, seed) = (self.peer_threads.into(), 1);
        let pool = PeerPool::start(PoolConfig { threads, seed, ..PoolConfig::default() })?;
        let floor_udp = self.floor(Kind::Udp, &pool).await?;
        let floor_srtp = self.floor(Kind::Srtp, &pool).await?;
        let (echoed, kb_per_peer) = self.echo(&pool).await?;
        let connects_per_cpu_second = self.connects(&pool).await?;
        Ok(Run { floor_udp, floor_srtp, echoed, kb_per_peer, connects_per_cpu_second })
    }

    async fn floor(&self, kind: Kind, pool: &PeerPool) -> anyhow::Result<f64> {
        let floor = Floor::start(kind, pool.identity().clone())?;
        let peers: Vec<PoolPeer> =
            (0..self.peers).map(|_| pool.create_preshared(floor.address)).collect::<std::io::Result<_>>()?;
        tokio::time::sleep(SETTLE).await;
        self.measure(&peers, || Ok(floor.cpu())).await
    }

    /// Microseconds of CPU per packet that came back.
    async fn measure<P: AsRef<PoolPeer>>(
        &self,
        peers: &[P],
        cpu: impl Fn() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<f64> {
        let returned = || peers.iter().map(|peer| peer.as_ref().counts().returned).sum::<u64>();
        let (cpu_before, returned_before) = (cpu()?, returned());
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (used, packets) = (cpu()? - cpu_before, returned() - returned_before);
        let expected = u64::from(self.peers) * 50 * self.seconds;
        if packets < expected * 95 / 100 {
            eprintln!(
                "warning: {packets} of {expected} packets came back: the machine is too slow for this many peers"
            );
        }
        Ok(used.as_secs_f64() * 1e6 / packets.max(1) as f64)
    }

    async fn instance(&self, calls: u32) -> anyhow::Result<Instance> {
        Instance::start(&self.binary()?, calls + AT_ONCE as u32, &self.gateway_flag).await
    }

    async fn connects(&self, pool: &PeerPool) -> anyhow::Result<Option<f64>> {
        if self.connects == 0 {
            return Ok(None);
        }
        let instance = &self.instance(self.connects).await?;
        // The first calls pay for what is set up once.
        call_all(instance, pool, 0, AT_ONCE, true).await?;
        let before = instance.cpu()?;
        call_all(instance, pool, AT_ONCE, self.connects as usize, true).await?;
        Ok(Some(f64::from(self.connects) / (instance.cpu()? - before).as_secs_f64()))
    }

    async fn echo(&self, pool: &PeerPool) -> anyhow::Result<(f64, f64)> {
        let instance = &self.instance(self.peers).await?;
        // It listens before all else is set up.
        tokio::time::sleep(SETTLE).await;
        let empty = instance.resident()?;
        let callers = call_all(instance, pool, 1_000_000, self.peers as usize, false).await?;
        tokio::time::sleep(SETTLE).await;
        let echoed = self.measure(&callers, || instance.cpu()).await?;
        let grown = instance.resident()?.saturating_sub(empty);
        Ok((echoed, grown as f64 / 1000.0 / f64::from(self.peers)))
    }
}

impl AsRef<PoolPeer> for PoolPeer {
    fn as_ref(&self) -> &PoolPeer {
        self
    }
}

impl AsRef<PoolPeer> for Caller {
    fn as_ref(&self) -> &PoolPeer {
        &self.peer
    }
}

/// Sets up `count` calls, and hangs each up at once if `brief`. Returns those that go on.
async fn call_all(
    instance: &Instance,
    pool: &PeerPool,
    first: usize,
    count: usize,
    brief: bool,
) -> anyhow::Result<Vec<Caller>> {
    let one = async |number| {
        let caller = Caller::call(&instance.base, pool, number).await?;
        let goal = if brief { PeerState::Connected } else { PeerState::Flowing };
        let mut states = caller.peer.state();
        let reached = states.wait_for(|state| *state == goal || *state == PeerState::Flowing);
        tokio::time::timeout(FLOW, reached).await.context("a call has no media")??;
        if brief {
            caller.peer.stop();
        }
        anyhow::Ok((!brief).then_some(caller))
    };
    let calls = stream::iter(first..first + count).map(one).buffer_unordered(AT_ONCE);
    let callers: Vec<_> = calls.collect().await;
    callers.into_iter().filter_map(Result::transpose).collect()
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
