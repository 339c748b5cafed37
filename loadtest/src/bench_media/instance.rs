//! The measured gateway: the real binary as a child process, its CPU time and its memory.

use crate::http::Base;
use anyhow::{Context, bail};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest start of the gateway.
const START: Duration = Duration::from_secs(10);

/// A running gateway; killed when dropped.
pub(crate) struct Instance {
    child: Child,
    pub(crate) base: Base,
    /// `--admin-listen`.
    pub(crate) admin: Base,
}

impl Instance {
    /// Starts `binary` on free ports with default flags, but room for `sessions`.
    pub(crate) async fn start(binary: &Path, sessions: u32, extra: &[String]) -> anyhow::Result<Self> {
        let (public, private, media) = (free_tcp()?, free_tcp()?, free_udp()?);
        let child = Command::new(binary)
            .args(["--auth", "anonymous", "--listen", &public.to_string(), "--admin-listen", &private.to_string()])
            .args(["--media-listen", &media.to_string()])
            .args(["--capacity", &sessions.to_string(), "--call-capacity", &sessions.to_string()])
            .args(extra)
            .env("HOLDFAST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started; --gateway names it", binary.display()))?;
        let base = Base::parse(&format!("http://{public}")).map_err(anyhow::Error::msg)?;
        let admin = Base::parse(&format!("http://{private}")).map_err(anyhow::Error::msg)?;
        let mut instance = Self { child, base, admin };
        tokio::time::timeout(START, instance.listening(public)).await.context("the gateway does not listen")??;
        Ok(instance)
    }

    async fn listening(&mut self, public: SocketAddr) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while tokio::net::TcpStream::connect(public).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended at once: {status}");
            }
            tick.tick().await;
        }
        Ok(())
    }

    /// CPU time of all its threads, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // First field: nanoseconds on a CPU (Documentation/scheduler/sched-stats).
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
        if nanos == 0 {
            bail!("/proc/<pid>/task/*/schedstat is not there: the kernel lacks CONFIG_SCHED_INFO");
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_tcp() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn free_udp() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?)
}
