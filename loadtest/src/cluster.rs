//! A cluster of real processes on loopback for the length of a test: instances and balancers with one key file.

use crate::http::{Ask, Base, Browser};
use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a cluster may take to serve.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// The binaries and the size of a cluster.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct ClusterFlags {
    /// The gateway's binary; the one beside this binary if absent
    #[arg(long, value_name = "FILE")]
    pub gateway_bin: Option<PathBuf>,
    /// The balancer's binary; the one beside this binary if absent
    #[arg(long, value_name = "FILE")]
    pub balancer_bin: Option<PathBuf>,
    /// Balancers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub balancers: u16,
    /// Sessions and calls that one instance holds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub capacity: u32,
}

impl ClusterFlags {
    pub(crate) fn binary(&self, name: &str, given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
        let path = match given {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name(name),
        };
        if path.is_file() { Ok(path) } else { bail!("no {name} at {}; name it with --{name}-bin", path.display()) }
    }
}

/// A running cluster; everything ends with it.
pub struct Cluster {
    /// In the order of their ids, `i1`, `i2`, ..
    pub instances: Vec<Process>,
    /// In no order.
    pub balancers: Vec<Process>,
    browser: Browser,
    folder: PathBuf,
}

/// One process of it.
pub struct Process {
    /// `--instance-id` of an instance.
    pub name: String,
    /// `--listen`.
    pub listen: SocketAddr,
    /// `--admin-listen`.
    pub admin: SocketAddr,
    child: Child,
    binary: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
}

/// One row of `/instances`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstanceRow {
    /// Which; none before it was heard.
    #[serde(default)]
    pub instance_id: Option<String>,
    /// Health as the balancer sees it.
    pub state: String,
    /// Sessions it may hold.
    #[serde(default)]
    pub capacity: u32,
    /// Places taken.
    #[serde(default)]
    pub used: u32,
    /// Attached sessions.
    #[serde(default)]
    pub sessions: u32,
}

/// What `/plan` promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Instances that may die without anybody left out.
    pub survivable: u32,
    /// Users left out when one more dies.
    pub left_out: u64,
    /// The same for a person.
    #[serde(default)]
    pub sentence: String,
}

impl Process {
    fn start(
        binary: &Path,
        name: &str,
        args: &[String],
        ports: [SocketAddr; 2],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let child = spawn(binary, name, args, ports, folder)?;
        let (binary, args, folder) = (binary.to_owned(), args.to_owned(), folder.to_owned());
        Ok(Self { name: name.to_owned(), listen: ports[0], admin: ports[1], child, binary, args, folder })
    }

    /// Ends it, if it lives, and starts it again as it was.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(&self.binary, &self.name, &self.args, [self.listen, self.admin], &self.folder)?;
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

fn spawn(binary: &Path, name: &str, args: &[String], ports: [SocketAddr; 2], folder: &Path) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?;
    let mut command = Command::new(binary);
    without_own_settings(&mut command);
    command
        .args(["--listen".to_owned(), ports[0].to_string(), "--admin-listen".to_owned(), ports[1].to_string()])
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| binary.display().to_string())
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process does not act on anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cluster {
    /// Starts `instances` and waits until every balancer sees all of them up.
    pub async fn start(flags: &ClusterFlags, instances: u16, spare: u32) -> anyhow::Result<Self> {
        Self::start_with(flags, instances, spare, &[]).await
    }

    /// The same with further flags for the instances.
    pub async fn start_with(
        flags: &ClusterFlags,
        instances: u16,
        spare: u32,
        extra: &[String],
    ) -> anyhow::Result<Self> {
        let (gateway, balancer) = (
            flags.binary("gateway", flags.gateway_bin.as_ref())?,
            flags.binary("balancer", flags.balancer_bin.as_ref())?,
        );
        let folder = std::env::temp_dir().join(format!("holdfast-loadtest-{}-{:08x}", std::process::id(), random()?));
        std::fs::create_dir_all(&folder)?;
        let mut cluster = Self { instances: Vec::new(), balancers: Vec::new(), browser: Browser::new(), folder };
        let keys = cluster.folder.join("keys");
        std::fs::write(&keys, STANDARD.encode(random_key()?) + "\n")?;
        let keys = keys.display().to_string();
        let ports = free_ports(usize::from(instances) * 3 + usize::from(flags.balancers) * 2)?;
        let (for_instances, for_balancers) = ports.split_at(usize::from(instances) * 3);
        let public: Vec<SocketAddr> = for_balancers.chunks(2).map(|ports| ports[0]).collect();
        for (index, ports) in for_instances.chunks(3).enumerate() {
            let name = format!("i{}", index + 1);
            let mut args = gateway_args(&name, &keys, flags.capacity, ports[2], &public);
            args.extend_from_slice(extra);
            cluster.instances.push(Process::start(&gateway, &name, &args, [ports[0], ports[1]], &cluster.folder)?);
        }
        let mut args = vec!["--cluster-key-file".to_owned(), keys, "--spare".to_owned(), spare.to_string()];
        for instance in &cluster.instances {
            args.extend(["--instance".to_owned(), format!("http={},admin={}", instance.listen, instance.admin)]);
        }
        for (index, ports) in for_balancers.chunks(2).enumerate() {
            let name = format!("b{}", index + 1);
            cluster.balancers.push(Process::start(&balancer, &name, &args, [ports[0], ports[1]], &cluster.folder)?);
        }
        cluster.wait_until_up().await?;
        Ok(cluster)
    }

    /// Base URLs of the balancers.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.balancers.iter().map(|balancer| format!("http://{}", balancer.listen)).collect()
    }

    /// Admin URL of a balancer.
    #[must_use]
    pub fn admin(&self, balancer: usize) -> String {
        format!("http://{}", self.balancers[balancer].admin)
    }

    /// `/instances` of a balancer.
    pub async fn rows(&self, balancer: usize) -> anyhow::Result<Vec<InstanceRow>> {
        self.ask(balancer, "/instances").await
    }

    /// `/plan` of a balancer.
    pub async fn plan(&self, balancer: usize) -> anyhow::Result<Plan> {
        self.ask(balancer, "/plan").await
    }

    /// The row of an instance.
    pub async fn row(&self, balancer: usize, name: &str) -> anyhow::Result<InstanceRow> {
        let rows = self.rows(balancer).await?;
        let row = rows.into_iter().find(|row| row.instance_id.as_deref() == Some(name));
        row.with_context(|| format!("the balancer does not list {name}"))
    }

    async fn ask<T: DeserializeOwned>(&self, balancer: usize, path: &str) -> anyhow::Result<T> {
        ask(&self.browser, &self.admin(balancer), path).await
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            if self.all_up().await {
                return Ok(());
            }
            let ended = self
                .instances
                .iter_mut()
                .chain(&mut self.balancers)
                .find_map(|process| process.has_ended().then(|| process.name.clone()));
            if let Some(name) = ended {
                bail!("{name} ended: {}", self.last_words(&name));
            }
            if Instant::now() > until {
                bail!("the cluster does not come up: {}", self.last_words("b1"));
            }
            sleep(POLL).await;
        }
    }

    /// Every balancer sees all instances up.
    pub async fn all_up(&self) -> bool {
        for balancer in 0..self.balancers.len() {
            let Ok(rows) = self.rows(balancer).await else { return false };
            if rows.iter().filter(|row| row.state == "up").count() < self.instances.len() {
                return false;
            }
        }
        true
    }

    fn last_words(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.balancers.clear();
        self.instances.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Settings of this program in the environment are not its children's; only the log filter is shared.
pub fn without_own_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| name.starts_with("HOLDFAST_") && name != "HOLDFAST_LOG");
        if ours {
            command.env_remove(name);
        }
    }
}

/// A GET of JSON at an admin listener.
pub async fn ask<T: DeserializeOwned>(browser: &Browser, admin: &str, path: &str) -> anyhow::Result<T> {
    let base = Base::parse(admin).map_err(anyhow::Error::msg)?;
    let ask = Ask { method: "GET", path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    let answer = browser.ask(&base, &ask).await?;
    serde_json::from_slice(answer.body()).with_context(|| format!("{admin}{path}"))
}

fn gateway_args(name: &str, keys: &str, capacity: u32, media: SocketAddr, alternates: &[SocketAddr]) -> Vec<String> {
    let mut args: Vec<String> = [
        ("--instance-id", name.to_owned()),
        ("--cluster-key-file", keys.to_owned()),
        ("--auth", "anonymous".to_owned()),
        ("--capacity", capacity.to_string()),
        ("--call-capacity", capacity.to_string()),
        ("--media-listen", media.to_string()),
        ("--media-threads", "1".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    args.extend(alternates.iter().flat_map(|at| ["--alternate".to_owned(), format!("http://{at}")]));
    args
}

/// Of these, the default of `--rtp-ports`, every instance holds some ready.
const RTP_PORTS: std::ops::RangeInclusive<u16> = 42_000..=49_999;

/// Ports that are free for TCP now; all are held until all are found. None of them is one that an instance may take for RTP.
fn free_ports(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let (mut held, mut found) = (Vec::new(), Vec::new());
    while found.len() < count {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        if !RTP_PORTS.contains(&addr.port()) {
            found.push(addr);
        }
        held.push(listener);
    }
    Ok(found)
}

fn random() -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn random_key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(key)
}
