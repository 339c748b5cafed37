//! CPU time and memory of another process, from `/proc`.

use anyhow::{Context, bail};
use std::time::Duration;

/// CPU time of all threads that live, in user and kernel mode.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    if nanos == 0 {
        bail!("/proc/{pid}/task/*/schedstat says nothing: the kernel lacks CONFIG_SCHED_INFO");
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
