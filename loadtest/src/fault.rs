//! `loadtest fault`: frozen instances and dead balancers under load. A short freeze moves nobody, a long one everybody;
//! balancers are nobody's loss.

use crate::cluster::{Cluster, ClusterFlags};
use crate::crowd::{Crowd, Load, block_on};
use crate::exit::Failure;
use crate::report::Report;
use crate::rules::Rules;
use clap::Parser;
use holdfast_config::{Check, ConfigFlags, flags};
use nix::sys::signal::Signal;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(20);
/// Long enough for every heartbeat, check and verdict that could still come.
const SETTLE: Duration = Duration::from_secs(2);

/// Freeze instances and kill balancers of a cluster under load
#[derive(Debug, Parser)]
#[command(name = "loadtest fault", bin_name = "loadtest fault", version)]
pub struct FaultFlags {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Instances
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    instances: u16,
    /// Users
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: u32,
    /// Seeds arrivals and choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for FaultFlags {
    fn check(&self) -> Result<(), String> {
        let room = u32::from(self.instances - 1) * self.cluster.capacity;
        if self.users > room {
            return Err(format!("error: --users {}: one instance less must hold them, {room} are allowed", self.users));
        }
        if self.cluster.balancers < 2 {
            return Err("error: --balancers 1: one is killed, at least 2 are allowed".to_owned());
        }
        Ok(())
    }
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let flags: FaultFlags = flags::load(args)?;
    let described = json!({
        "cluster": flags.cluster, "instances": flags.instances, "users": flags.users, "seed": flags.seed,
    });
    let mut report = Report::new("fault", described);
    let rules = block_on(run(&flags, &mut report))??;
    rules.publish(report, flags.json.as_deref())
}

async fn run(flags: &FaultFlags, report: &mut Report) -> anyhow::Result<Rules> {
    let mut rules = Rules::default();
    let cluster = Cluster::start(&flags.cluster, flags.instances, 1).await?;
    let load = Load {
        users: flags.users,
        rate: 200.0,
        seed: flags.seed,
        admin: Some(cluster.admin(0)),
        ..Load::quiet(cluster.targets())
    };
    let users = u64::from(flags.users);
    let crowd = Crowd::start(load)?;
    let arrived = crowd.wait_for(LIMIT, |now| now.signed_in == users && now.heard >= users).await;
    rules.check(arrived, format!("all {users} users sign in and hear their echo"));
    sleep(SETTLE).await;
    short_freeze(&cluster, &crowd, &mut rules).await?;
    long_freeze(&cluster, &crowd, &mut rules).await?;
    frozen_balancer(&cluster, &crowd, &mut rules).await?;
    killed_balancer(&cluster, &crowd, &mut rules).await?;
    crowd.finish().await.fill(report);
    report.user_failovers = report.recovered;
    rules.check(report.falsely_lost == Some(0), "no call ended although instance and media lived".to_owned());
    rules.check(report.never_recovered == Some(0), "nobody is left out".to_owned());
    rules.check(report.over_capacity == Some(0), "no instance over its capacity".to_owned());
    Ok(rules)
}

async fn short_freeze(cluster: &Cluster, crowd: &Crowd, rules: &mut Rules) -> anyhow::Result<()> {
    let before = crowd.snapshot();
    let victim = &cluster.instances[0];
    victim.signal(Signal::SIGSTOP)?;
    sleep(Duration::from_millis(250)).await;
    victim.signal(Signal::SIGCONT)?;
    sleep(SETTLE).await;
    let now = crowd.snapshot();
    let same = (now.failovers, now.calls_lost, now.waiting) == (before.failovers, before.calls_lost, before.waiting);
    rules.check(same, "an instance frozen for 0.25 s: nobody moves, no call ends".to_owned());
    Ok(())
}

async fn long_freeze(cluster: &Cluster, crowd: &Crowd, rules: &mut Rules) -> anyhow::Result<()> {
    let before = crowd.snapshot();
    let victim = &cluster.instances[0];
    let hit = u64::from(cluster.row(0, &victim.name).await?.sessions);
    victim.signal(Signal::SIGSTOP)?;
    let back = crowd.wait_for(LIMIT, |now| now.failovers >= before.failovers + hit && now.waiting == 0).await;
    rules.check(back, format!("an instance frozen for 3 s: its {hit} users are signed in elsewhere"));
    sleep(Duration::from_secs(3)).await;
    victim.signal(Signal::SIGCONT)?;
    sleep(SETTLE).await;
    let now = crowd.snapshot();
    rules
        .check(now.failovers == before.failovers + hit, "thawed, it gets nobody back and nobody else moves".to_owned());
    rules.check(now.calls_lost == before.calls_lost + hit, format!("its {hit} calls are lost, and no other"));
    Ok(())
}

async fn frozen_balancer(cluster: &Cluster, crowd: &Crowd, rules: &mut Rules) -> anyhow::Result<()> {
    let before = crowd.snapshot();
    let victim = &cluster.balancers[0];
    victim.signal(Signal::SIGSTOP)?;
    sleep(SETTLE).await;
    victim.signal(Signal::SIGCONT)?;
    let back = crowd.wait_for(LIMIT, |now| now.unavailable == 0).await;
    sleep(SETTLE).await;
    let now = crowd.snapshot();
    let kept = (now.failovers, now.calls_lost) == (before.failovers, before.calls_lost);
    rules.check(kept && back, "a balancer frozen for 2 s: no session is made anew, no call ends".to_owned());
    Ok(())
}

async fn killed_balancer(cluster: &Cluster, crowd: &Crowd, rules: &mut Rules) -> anyhow::Result<()> {
    let before = crowd.snapshot();
    cluster.balancers[0].signal(Signal::SIGKILL)?;
    let noticed = crowd.wait_for(LIMIT, |now| now.unavailable > 0).await;
    let back = crowd.wait_for(LIMIT, |now| now.unavailable == 0).await;
    sleep(SETTLE).await;
    let now = crowd.snapshot();
    let kept = (now.failovers, now.calls_lost) == (before.failovers, before.calls_lost);
    rules.check(noticed && back, "a balancer killed: signalling is back for everybody".to_owned());
    rules.check(kept, "a balancer killed: no session is made anew, no call ends".to_owned());
    Ok(())
}
