//! `loadtest bench proxy`: what a request and an idle WebSocket cost the balancer, HAProxy beside it.
//!
//! Both have one thread, two upstreams, sticky cookies, health checks each 100 ms. They take turns many times in each run, and
//! the medians of the runs count: a busy machine then hurts both alike.

mod client;
mod contender;
mod upstream;

use crate::crowd::block_on;
use crate::exit::Failure;
use crate::report::Report;
use anyhow::Context;
use clap::Parser;
use client::{Connection, SignedInBrowser};
use contender::Contender;
use holdfast_config::{Check, ConfigFlags, flags};
use serde::Serialize;
use serde_json::json;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use upstream::Upstream;

/// Requests before the measured ones, so that connections and memory are there.
const WARM_UP: Duration = Duration::from_millis(300);

/// Turns under full load that each proxy has in a run.
const TURNS: u32 = 10;

/// CPU, latency and memory of the balancer on plain HTTP, HAProxy beside it
#[derive(Debug, Parser)]
#[command(name = "loadtest bench proxy", bin_name = "loadtest bench proxy", version)]
pub struct ProxyFlags {
    #[command(flatten)]
    config: ConfigFlags,
    /// The balancer's binary; the one beside this binary if absent
    #[arg(long, value_name = "FILE")]
    balancer_bin: Option<PathBuf>,
    /// HAProxy's binary; `none` to leave it out
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/haproxy")]
    haproxy_bin: PathBuf,
    /// Interleaved runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// Kept connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Idle WebSockets
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(100..=8000))]
    websockets: u16,
    /// Milliseconds of full load in each run
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    load_ms: u64,
    /// Requests a second for the latency
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for ProxyFlags {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// One proxy in one run.
#[derive(Debug, Clone, Copy, Serialize)]
struct Measured {
    requests_per_cpu_second: f64,
    added_p50_us: f64,
    kib_per_idle_websocket: f64,
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let flags: ProxyFlags = flags::load(args)?;
    let described = json!({
        "runs": flags.runs, "connections": flags.connections, "websockets": flags.websockets, "load_ms": flags.load_ms,
        "rate": flags.rate,
    });
    let mut report = Report::new("bench proxy", described);
    block_on(run(&flags, &mut report))??;
    report.publish(flags.json.as_deref())?;
    Ok(())
}

async fn run(flags: &ProxyFlags, report: &mut Report) -> anyhow::Result<()> {
    let upstreams = [Upstream::start("u1")?, Upstream::start("u2")?];
    let balancer = match &flags.balancer_bin {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("balancer"),
    };
    let haproxy = flags.haproxy_bin.is_file().then_some(flags.haproxy_bin.as_path());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 1..=flags.runs {
        // Fresh processes each time: memory that was used before says nothing.
        let mut measured = vec![(&mut ours, Load::start(flags, Contender::balancer(&balancer, &upstreams)?).await?)];
        if let Some(path) = haproxy {
            measured.push((&mut theirs, Load::start(flags, Contender::haproxy(path, &upstreams)?).await?));
        }
        for _ in 0..TURNS {
            for (_, load) in &mut measured {
                load.turn(Duration::from_millis(flags.load_ms) / TURNS).await.context(load.proxy.name)?;
            }
        }
        for (results, load) in measured {
            results.push(load.finish(flags, &upstreams[0]).await?);
        }
        println!("run {number}  balancer {}", json!(ours.last()));
        if haproxy.is_some() {
            println!("run {number}  haproxy  {}", json!(theirs.last()));
        }
    }
    let median = |runs: &[Measured], figure: fn(&Measured) -> f64| median(runs.iter().map(figure).collect());
    report.requests_per_cpu_second = median(&ours, |run| run.requests_per_cpu_second);
    report.added_p50_us = median(&ours, |run| run.added_p50_us);
    report.kib_per_idle_websocket = median(&ours, |run| run.kib_per_idle_websocket);
    report.haproxy_requests_per_cpu_second = median(&theirs, |run| run.requests_per_cpu_second);
    report.haproxy_added_p50_us = median(&theirs, |run| run.added_p50_us);
    report.haproxy_kib_per_idle_websocket = median(&theirs, |run| run.kib_per_idle_websocket);
    report.rounds = Some(json!({ "balancer": ours, "haproxy": theirs }));
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A proxy under load, and what it cost so far.
struct Load {
    proxy: Contender,
    user: SignedInBrowser,
    connections: Vec<Connection>,
    requests: u64,
    cpu: Duration,
}

impl Load {
    async fn start(flags: &ProxyFlags, proxy: Contender) -> anyhow::Result<Self> {
        let user = sign_in(proxy.address).await?;
        let mut connections = Vec::new();
        for _ in 0..flags.connections {
            connections.push(user.connect(proxy.address).await?);
        }
        client::flood(&mut connections, WARM_UP).await?;
        Ok(Self { proxy, user, connections, requests: 0, cpu: Duration::ZERO })
    }

    async fn turn(&mut self, time: Duration) -> anyhow::Result<()> {
        let before = self.proxy.cpu()?;
        self.requests += client::flood(&mut self.connections, time).await?;
        self.cpu += self.proxy.cpu()? - before;
        Ok(())
    }

    async fn finish(mut self, flags: &ProxyFlags, upstream: &Upstream) -> anyhow::Result<Measured> {
        let time = Duration::from_millis(flags.load_ms) / 2;
        let through = client::median_latency(&mut self.connections, flags.rate, time).await?;
        let mut direct = vec![self.user.connect(upstream.public).await?];
        let without = client::median_latency(&mut direct, flags.rate, time).await?;
        Ok(Measured {
            requests_per_cpu_second: round(self.requests as f64 / self.cpu.as_secs_f64(), 1.0),
            added_p50_us: round((through.as_secs_f64() - without.as_secs_f64()) * 1e6, 10.0),
            kib_per_idle_websocket: idle_websockets(&self.proxy, &self.user, flags.websockets.into()).await?,
        })
    }
}

/// The proxy listens before its checks have found the upstreams.
async fn sign_in(proxy: SocketAddr) -> anyhow::Result<SignedInBrowser> {
    let mut tries = 0;
    loop {
        match SignedInBrowser::new(proxy).await {
            Err(_) if tries < 100 => tries += 1,
            done => return done,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The first tenth warms up what grows only once.
async fn idle_websockets(proxy: &Contender, user: &SignedInBrowser, count: u64) -> anyhow::Result<f64> {
    let mut held = Vec::new();
    for _ in 0..count / 10 {
        held.push(user.websocket(proxy.address).await?);
    }
    tokio::time::sleep(WARM_UP).await;
    let before = proxy.resident_kib()?;
    for _ in 0..count {
        held.push(user.websocket(proxy.address).await?);
    }
    tokio::time::sleep(WARM_UP).await;
    let after = proxy.resident_kib()?;
    Ok(round(after.saturating_sub(before) as f64 / count as f64, 100.0))
}

fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
