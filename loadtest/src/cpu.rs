//! Who used the machine's cores: the load test's own threads, the cluster, and everybody else. From `/proc`.

use crate::usage;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Cores used on average: 1.0 is one core all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cores {
    /// The load test's threads that act for users.
    pub users: f64,
    /// Its threads that carry media (`--engine own`).
    pub media: f64,
    /// The instances of its own cluster.
    pub instances: f64,
    /// The balancers of its own cluster.
    pub balancers: f64,
    /// Every other process of this machine.
    pub others: f64,
    /// Nobody.
    pub idle: f64,
}

/// CPU time until now.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    users: Duration,
    media: Duration,
    instances: Duration,
    balancers: Duration,
    busy: f64,
    idle: f64,
}

/// Reads CPU times.
#[derive(Debug, Default)]
pub struct Meter {
    instances: Vec<u32>,
    balancers: Vec<u32>,
    /// The last word of each process: a killed one has used what it has used.
    known: HashMap<u32, Duration>,
}

impl Meter {
    /// For a cluster of these processes; none if it is not ours.
    #[must_use]
    pub fn new(instances: Vec<u32>, balancers: Vec<u32>) -> Self {
        Self { instances, balancers, known: HashMap::new() }
    }

    /// Reads now; what can't be read counts as nothing.
    pub fn read(&mut self) -> Reading {
        let (users, media) = own_threads();
        let (busy, idle) = machine();
        let (instances, balancers) = (self.instances.clone(), self.balancers.clone());
        Reading {
            at: Instant::now(),
            users,
            media,
            instances: self.of(&instances),
            balancers: self.of(&balancers),
            busy,
            idle,
        }
    }

    fn of(&mut self, processes: &[u32]) -> Duration {
        for process in processes {
            if let Ok(used) = usage::cpu(*process) {
                self.known.insert(*process, used);
            }
        }
        processes.iter().filter_map(|process| self.known.get(process)).sum()
    }
}

impl Cores {
    /// Between two readings.
    #[must_use]
    pub fn between(before: &Reading, after: &Reading) -> Self {
        let time = after.at.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
        let cores = |of: fn(&Reading) -> Duration| rounded(of(after).saturating_sub(of(before)).as_secs_f64() / time);
        let mut all = Self {
            users: cores(|reading| reading.users),
            media: cores(|reading| reading.media),
            instances: cores(|reading| reading.instances),
            balancers: cores(|reading| reading.balancers),
            others: 0.0,
            idle: rounded((after.idle - before.idle) / time),
        };
        let ours = all.users + all.media + all.instances + all.balancers;
        all.others = rounded(((after.busy - before.busy) / time - ours).max(0.0));
        all
    }
}

/// Over the readings that enclose a time.
#[must_use]
pub fn around(readings: &[Reading], from: Instant, to: Instant) -> Option<Cores> {
    let before = readings.iter().rfind(|reading| reading.at <= from)?;
    let after = readings.iter().find(|reading| reading.at >= to)?;
    Some(Cores::between(before, after))
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { users, media, instances, balancers, others, idle } = self;
        write!(
            f,
            "cores: users {users} media {media} instances {instances} balancers {balancers} others {others} idle {idle}"
        )
    }
}

fn rounded(cores: f64) -> f64 {
    (cores * 100.0).round() / 100.0
}

/// CPU time of this process's threads: those that act for users and everything else, and those of the media.
fn own_threads() -> (Duration, Duration) {
    let (mut users, mut media) = (Duration::ZERO, Duration::ZERO);
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let is_media = read(&task.path().join("comm")).starts_with(crate::peer_io::THREAD_NAME);
        let nanos = read(&task.path().join("schedstat")).split(' ').next().and_then(|first| first.parse().ok());
        *(if is_media { &mut media } else { &mut users }) += Duration::from_nanos(nanos.unwrap_or(0));
    }
    (users, media)
}

/// Seconds of all cores, busy and idle.
fn machine() -> (f64, f64) {
    const TICKS: f64 = 100.0;
    let text = read(Path::new("/proc/stat"));
    let line = text.lines().next().unwrap_or_default();
    let times: Vec<f64> = line.split_whitespace().skip(1).map(|time| time.parse().unwrap_or(0.0)).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let idle: f64 = times.iter().skip(3).take(2).sum();
    let all: f64 = times.iter().take(8).sum();
    ((all - idle) / TICKS, idle / TICKS)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_taken_from_what_the_machine_did() {
        let before = Meter::default().read();
        let used = |seconds| Duration::from_secs(seconds);
        let after = Reading {
            at: before.at + used(10),
            users: before.users + used(2),
            media: before.media + used(1),
            instances: before.instances + used(5),
            balancers: before.balancers + used(3),
            busy: before.busy + 15.0,
            idle: before.idle + 5.0,
        };
        let cores = Cores::between(&before, &after);
        let expected = Cores { users: 0.2, media: 0.1, instances: 0.5, balancers: 0.3, others: 0.4, idle: 0.5 };
        assert_eq!(cores, expected);
    }

    #[test]
    fn a_machine_has_done_something() {
        let (busy, idle) = machine();
        assert!(busy > 0.0 && idle > 0.0, "{busy} {idle}");
        assert!(own_threads().0 > Duration::ZERO);
    }
}
