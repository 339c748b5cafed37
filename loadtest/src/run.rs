//! `loadtest run`: virtual users with real media against running balancers, open loop, seeded.

use crate::cluster::{Cluster, ClusterFlags, Process};
use crate::crowd::{Crowd, Load, block_on};
use crate::engine::EngineKind;
use crate::exit::Failure;
use crate::http::Base;
use crate::report::Report;
use clap::Parser;
use holdfast_config::{Check, ConfigFlags, Stop, flags};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Virtual users with real WebRTC media against running balancers
#[derive(Debug, Parser)]
#[command(name = "loadtest run", bin_name = "loadtest run", version)]
pub struct RunFlags {
    #[command(flatten)]
    config: ConfigFlags,
    /// Base URL of a balancer (repeatable)
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    target: Vec<String>,
    /// Start a cluster of so many instances instead of using --target; --kill-after then kills one of them
    #[arg(long, value_name = "N", conflicts_with_all = ["target", "pid", "admin"],
          value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: Option<u16>,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Virtual users
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    users: u32,
    /// Seconds from the first arrival to the report
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: u64,
    /// Users that arrive in a second, on average; they arrive whether or not those before them are served
    #[arg(long, value_name = "R", default_value_t = 50.0)]
    rate: f64,
    /// Seeds arrivals and every user's choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The stack that carries the calls
    #[arg(long, value_enum, default_value_t = EngineKind::Own)]
    engine: EngineKind,
    /// Threads for the media of `--engine own`
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    peer_threads: u16,
    /// Threads that act for the users
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    user_threads: u16,
    /// Time between a call's RTP packets with `--engine own`; longer than a real 20, more users fit on a machine
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(10..=400))]
    packet_interval_ms: u64,
    /// Whom every user calls as soon as it is signed in; `none` for no calls
    #[arg(long, value_name = "TARGET", default_value = "echo")]
    call: String,
    /// Hang up and call again after so many seconds; 0: stay until the end
    #[arg(long, value_name = "S", default_value_t = 0)]
    call_length: u64,
    /// Requests after the sessions, by all users together, checked for the instance that answers
    #[arg(long, value_name = "N", default_value_t = 0)]
    requests: u64,
    /// So many of a user's requests at once, the first of them beside its sign-in, before it has a cookie
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallel: u32,
    /// Kill --pid, or an instance of --instances, after so many seconds
    #[arg(long, value_name = "S")]
    kill_after: Option<u64>,
    /// Process that --kill-after kills with SIGKILL
    #[arg(long, requires = "kill_after", value_parser = clap::value_parser!(i32).range(2..))]
    pid: Option<i32>,
    /// Admin URL of a balancer: its instances are watched for more sessions than they may hold
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// JWT of all users; without it they are anonymous
    #[arg(long, value_name = "FILE")]
    jwt_file: Option<PathBuf>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::report::json_file)]
    json: Option<PathBuf>,
}

impl Check for RunFlags {
    fn check(&self) -> Result<(), String> {
        for target in &self.target {
            Base::parse(target).map_err(|error| format!("error: --target {error}"))?;
        }
        if let Some(admin) = &self.admin {
            Base::parse(admin).map_err(|error| format!("error: --admin {error}"))?;
        }
        if !(self.rate > 0.0 && self.rate <= 100_000.0) {
            return Err(format!("error: --rate {}: more than 0, at most 100000 is allowed", self.rate));
        }
        if self.kill_after.is_some() && self.pid.is_none() && self.instances.is_none() {
            return Err("error: --kill-after: with --pid or --instances only".to_owned());
        }
        if self.kill_after.is_some_and(|after| after >= self.duration) {
            return Err(format!("error: --kill-after: less than --duration {} is allowed", self.duration));
        }
        if let Some(pid) = self.pid.filter(|pid| kill(Pid::from_raw(*pid), None).is_err()) {
            return Err(format!("error: --pid {pid}: a process of this user that runs is allowed"));
        }
        Ok(())
    }
}

impl RunFlags {
    fn load(&self) -> Result<Load, String> {
        let jwt = self.jwt_file.as_deref().map(read_jwt).transpose()?;
        Ok(Load {
            targets: self.target.clone(),
            users: self.users,
            rate: self.rate,
            seed: self.seed,
            engine: self.engine,
            peer_threads: self.peer_threads.into(),
            user_threads: self.user_threads.into(),
            packet_interval: Duration::from_millis(self.packet_interval_ms),
            call: Some(self.call.clone()).filter(|call| call != "none"),
            call_length: Some(self.call_length).filter(|seconds| *seconds > 0).map(Duration::from_secs),
            requests: self.requests,
            parallel: self.parallel,
            duration: Duration::from_secs(self.duration),
            admin: self.admin.clone(),
            jwt,
            quiet: false,
            ..Load::quiet(Vec::new())
        })
    }

    /// The cluster that was asked for, and the load on it.
    async fn cluster(&self, load: &mut Load) -> anyhow::Result<Option<Cluster>> {
        let Some(instances) = self.instances else { return Ok(None) };
        let cluster = Cluster::start(&self.cluster, instances, 1).await?;
        load.targets = cluster.targets();
        load.admin = Some(cluster.admin(0));
        let pids = |processes: &[Process]| processes.iter().map(Process::pid).collect();
        load.processes = (pids(&cluster.instances), pids(&cluster.balancers));
        Ok(Some(cluster))
    }

    fn describe(&self, load: &Load) -> serde_json::Value {
        let mut described = load.describe();
        described["duration_s"] = self.duration.into();
        described["kill_after_s"] = self.kill_after.into();
        described["instances"] = self.instances.into();
        if self.instances.is_some() {
            described["cluster"] = serde_json::to_value(&self.cluster).unwrap_or_default();
        }
        described
    }
}

fn read_jwt(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    text.map(|text| text.trim().to_owned()).map_err(|error| format!("error: --jwt-file {}: {error}", path.display()))
}

/// The command.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let flags: RunFlags = flags::load(args)?;
    let load = flags.load().map_err(Stop::Refuse)?;
    let report = block_on(run(&flags, load))??;
    report.publish(flags.json.as_deref())?;
    Ok(())
}

async fn run(flags: &RunFlags, mut load: Load) -> anyhow::Result<Report> {
    let cluster = flags.cluster(&mut load).await?;
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    load.connections = load.connections_within(usize::try_from(files).unwrap_or(usize::MAX));
    let mut report = Report::new("run", flags.describe(&load));
    let crowd = Crowd::start(load)?;
    let end = tokio::time::sleep(Duration::from_secs(flags.duration));
    tokio::pin!(end);
    let victim = cluster.as_ref().and_then(|cluster| i32::try_from(cluster.instances.first()?.pid()).ok());
    if let (Some(after), Some(pid)) = (flags.kill_after, flags.pid.or(victim)) {
        tokio::time::sleep(Duration::from_secs(after)).await;
        crowd.note_kill();
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
            eprintln!("warning: --pid {pid}: {error}");
        }
    }
    tokio::select! {
        () = &mut end => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    crowd.finish().await.fill(&mut report);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_config::Stop;

    fn refusal(args: &[&str]) -> String {
        let args = std::iter::once("loadtest run").chain(args.iter().copied()).map(OsString::from);
        match flags::load::<RunFlags>(args) {
            Err(Stop::Refuse(line)) => line,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn connections_are_kept_while_files_last() {
        let load = |users, parallel| Load { users, parallel, ..Load::quiet(vec!["http://a".to_owned(); 2]) };
        assert_eq!(load(1000, 4).connections_within(20_000), 2, "as many as parallel requests need");
        assert_eq!(load(1000, 64).connections_within(20_000), 6, "no more than browsers keep");
        assert_eq!(load(4000, 4).connections_within(20_000), 1);
        assert_eq!(load(50_000, 4).connections_within(20_000), 0);
    }

    #[test]
    fn bad_input_is_refused_with_flag_and_range() {
        assert!(refusal(&["--target", "https://a"]).contains("--target `https://a`"));
        assert!(refusal(&["--rate", "0"]).contains("--rate 0"));
        assert!(refusal(&["--users", "0"]).contains("1..=50000"));
        assert!(refusal(&["--kill-after", "3"]).contains("--pid"));
        assert!(refusal(&["--kill-after", "30", "--pid", "1234", "--duration", "30"]).contains("--kill-after"));
        assert!(refusal(&["--kill-after", "3", "--pid", "2147483647"]).contains("--pid 2147483647"));
        assert!(refusal(&["--pid", "1", "--kill-after", "3"]).contains("--pid"));
        assert!(refusal(&["--instances", "2", "--target", "http://a"]).contains("--target"));
        assert!(refusal(&["--packet-interval-ms", "500"]).contains("10..=400"));
    }
}
