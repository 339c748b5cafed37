//! The measured proxies as child processes with one thread each: the balancer, and HAProxy set up for the same job.

use super::upstream::Upstream;
use crate::cluster::without_own_settings;
use crate::usage;
use anyhow::{Context, bail};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A proxy that runs; it ends with this.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    child: Child,
    folder: Option<PathBuf>,
}

impl Contender {
    pub(super) fn balancer(binary: &Path, upstreams: &[Upstream]) -> anyhow::Result<Self> {
        let (address, admin) = (free_port()?, free_port()?);
        let mut command = Command::new(binary);
        command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string(), "--threads", "1"]);
        for upstream in upstreams {
            command.args(["--instance", &format!("http={},admin={}", upstream.public, upstream.admin)]);
        }
        Self::start("balancer", command, address, None)
    }

    pub(super) fn haproxy(binary: &Path, upstreams: &[Upstream]) -> anyhow::Result<Self> {
        let address = free_port()?;
        let folder = std::env::temp_dir().join(format!("holdfast-haproxy-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, haproxy_config(address, upstreams))?;
        let mut command = Command::new(binary);
        command.args(["-db", "-f"]).arg(&file);
        Self::start("haproxy", command, address, Some(folder))
    }

    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        folder: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        without_own_settings(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| program.clone())?;
        let mut contender = Self { name, address, child, folder };
        let until = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > until || !matches!(contender.child.try_wait(), Ok(None)) {
                bail!("{program} does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(contender)
    }

    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        usage::cpu(self.child.id())
    }

    pub(super) fn resident_kib(&self) -> anyhow::Result<u64> {
        usage::resident_kib(self.child.id())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The balancer's job: one thread, sticky by an inserted cookie, the two forwarding headers, health checks as often, tunnels
/// that may idle. No log, no statistics page.
fn haproxy_config(address: SocketAddr, upstreams: &[Upstream]) -> String {
    let mut config = format!(
        "global\n  nbthread 1\n  maxconn 9000\n\
         defaults\n  mode http\n  option http-keep-alive\n  option forwardfor\n  http-reuse always\n  timeout connect 1s\n  timeout client 60s\n  \
         timeout server 60s\n  timeout tunnel 1h\n  timeout http-request 10s\n\
         frontend public\n  bind {address}\n  http-request set-header X-Forwarded-Proto http\n  default_backend instances\n\
         backend instances\n  balance leastconn\n  cookie HF insert indirect nocache httponly\n  \
         option httpchk GET /health\n  default-server check inter 100ms fall 3 rise 2\n"
    );
    for Upstream { name, public, admin } in upstreams {
        config += &format!("  server {name} {public} cookie {name} port {}\n", admin.port());
    }
    config
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
