//! `loadtest loss`: kills 1 to M instances of N + M at once, under load, and checks that the balancer's plan was right.

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

/// A user that is not back after this time is counted as lost.
const RECOVERY_LIMIT: Duration = Duration::from_secs(15);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
/// The balancers' view of the load is at most this old.
const VIEW_AGE: Duration = Duration::from_millis(500);

/// Kill 1 to M instances of a cluster of N + M under load: everybody must be signed in again
#[derive(Debug, Parser)]
#[command(name = "loadtest loss", bin_name = "loadtest loss", version)]
pub struct LossFlags {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Instances that the load needs (N)
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    needed: u16,
    /// Instances that may die (M)
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    spare: u16,
    /// Users; N times --capacity if absent
    #[arg(long)]
    users: Option<u32>,
    /// Few users, one round for each k
    #[arg(long)]
    short: bool,
    /// Rounds for each k, without --short
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Seeds arrivals and choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for LossFlags {
    fn check(&self) -> Result<(), String> {
        let full = u32::from(self.needed) * self.cluster.capacity;
        match self.users {
            Some(users) if users > full => {
                Err(format!("error: --users {users}: at most --needed times --capacity, {full}, is allowed"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl LossFlags {
    /// `--short` makes the instances small, so that full load stays small too.
    fn cluster(&self) -> ClusterFlags {
        let mut cluster = self.cluster.clone();
        if self.short {
            cluster.capacity = cluster.capacity.min(30);
        }
        cluster
    }

    fn users(&self) -> u32 {
        let full = u32::from(self.needed) * self.cluster().capacity;
        self.users.unwrap_or(full).min(full)
    }
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let flags: LossFlags = flags::load(args)?;
    let described = json!({
        "cluster": flags.cluster(), "needed": flags.needed, "spare": flags.spare, "users": flags.users(),
        "short": flags.short, "seed": flags.seed,
    });
    let mut report = Report::new("loss", described);
    let rules = block_on(run(&flags, &mut report))??;
    rules.publish(report, flags.json.as_deref())
}

async fn run(flags: &LossFlags, report: &mut Report) -> anyhow::Result<Rules> {
    let mut rules = Rules::default();
    let mut rounds = Vec::new();
    let (mut failovers, mut never) = (0, 0);
    let repeat = if flags.short { 1 } else { flags.repeat };
    for deaths in 1..=flags.spare {
        for turn in 0..repeat {
            let round = round(flags, deaths, u64::from(turn), &mut rules).await?;
            failovers += round.user_failovers.unwrap_or(0);
            never += round.never_recovered.unwrap_or(0);
            report.kill_to_signed_in_ms = round.kill_to_signed_in_ms;
            report.kill_to_media_ms = round.kill_to_media_ms;
            report.calls_lost = Some(report.calls_lost.unwrap_or(0) + round.calls_lost.unwrap_or(0));
            report.falsely_lost = Some(report.falsely_lost.unwrap_or(0) + round.falsely_lost.unwrap_or(0));
            report.users = round.users;
            rounds.push(json!({
                "deaths": deaths, "user_failovers": round.user_failovers, "never_recovered": round.never_recovered,
                "calls_lost": round.calls_lost, "falsely_lost": round.falsely_lost, "over_capacity": round.over_capacity,
                "kill_to_signed_in_ms": round.kill_to_signed_in_ms, "kill_to_media_ms": round.kill_to_media_ms,
            }));
        }
    }
    report.user_failovers = Some(failovers);
    report.never_recovered = Some(never);
    report.rounds = Some(rounds.into());
    Ok(rules)
}

/// A cluster of its own, `deaths` of whose instances die at once.
async fn round(flags: &LossFlags, deaths: u16, turn: u64, rules: &mut Rules) -> anyhow::Result<Report> {
    let cluster = Cluster::start(&flags.cluster(), flags.needed + flags.spare, flags.spare.into()).await?;
    let users = flags.users();
    let load = Load {
        users,
        rate: 200.0,
        seed: flags.seed + turn,
        admin: Some(cluster.admin(0)),
        ..Load::quiet(cluster.targets())
    };
    let crowd = Crowd::start(load)?;
    let arrived =
        crowd.wait_for(ARRIVAL_LIMIT, |now| now.signed_in == u64::from(users) && now.heard >= u64::from(users));
    let what = format!("{deaths} of {} instances", cluster.instances.len());
    rules.check(arrived.await, format!("{what}: all {users} users sign in and hear their echo"));
    tokio::time::sleep(VIEW_AGE).await;
    let plan = cluster.plan(0).await?;
    println!("{what} are killed; the plan says: {}", plan.sentence);
    let victims = &cluster.instances[..usize::from(deaths)];
    let mut hit = 0;
    for victim in victims {
        hit += u64::from(cluster.row(0, &victim.name).await?.sessions);
    }
    crowd.note_kill();
    for victim in victims {
        victim.signal(Signal::SIGKILL)?;
    }
    let back = crowd.wait_for(RECOVERY_LIMIT, |now| now.failovers >= hit && now.waiting == 0).await;
    let heard = crowd.wait_for(RECOVERY_LIMIT, |now| now.heard >= u64::from(users) + hit).await;
    tokio::time::sleep(VIEW_AGE).await;
    let mut report = Report::default();
    crowd.finish().await.fill(&mut report);
    report.user_failovers = report.recovered;
    rules.check(
        plan.survivable >= deaths.into(),
        format!("{what}: the plan allows it (survivable {})", plan.survivable),
    );
    rules.check(back, format!("{what}: all {hit} users are signed in again ({:?})", report.kill_to_signed_in_ms));
    rules.check(heard, format!("{what}: their new calls are heard"));
    rules.check(report.never_recovered == Some(0), format!("{what}: never_recovered 0"));
    rules.check(report.falsely_lost == Some(0), format!("{what}: falsely_lost 0, calls_lost {:?}", report.calls_lost));
    rules.check(report.calls_lost == Some(hit), format!("{what}: exactly the {hit} calls of the dead are lost"));
    rules.check(report.over_capacity == Some(0), format!("{what}: no instance over its capacity"));
    Ok(report)
}
