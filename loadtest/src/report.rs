//! The figures of a run or bench: a table for people, JSON for programs. Every key is always there, null if not measured.

use crate::cpu::Cores;
use crate::failures::Failures;
use crate::way_back::Steps;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half were at most this.
    pub p50: f64,
    /// 95 of 100 were at most this.
    pub p95: f64,
    /// 99 of 100 were at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// How many were measured.
    pub count: usize,
}

impl Quantiles {
    /// Of some times; `None` if there are none. Nearest rank.
    #[must_use]
    pub fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted: Vec<f64> = times.iter().map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)?, max: at(100)?, count: sorted.len() })
    }
}

/// How late the load test's own threads were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lags {
    /// Those of the users.
    pub users: Option<Quantiles>,
    /// Those of their media, with `--engine own`.
    pub media: Option<Quantiles>,
}

/// All figures of all commands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation, and the README explains each")]
pub struct Report {
    pub command: String,
    pub flags: Value,
    // run
    pub users: Option<u64>,
    pub signed_in: Option<u64>,
    pub recovered: Option<u64>,
    pub never_recovered: Option<u64>,
    pub calls: Option<u64>,
    pub calls_failed: Option<u64>,
    pub calls_lost: Option<u64>,
    pub calls_drained: Option<u64>,
    pub falsely_lost: Option<u64>,
    pub packets_sent: Option<u64>,
    pub packets_returned: Option<u64>,
    pub kill_to_signed_in_ms: Option<Quantiles>,
    pub kill_to_media_ms: Option<Quantiles>,
    pub way_back_ms: Option<Steps>,
    pub sign_in_ms: Option<Quantiles>,
    pub sign_ins_failed_by: Option<Failures>,
    pub requests: Option<u64>,
    pub requests_failed: Option<u64>,
    pub requests_failed_by: Option<Failures>,
    pub requests_told_gone: Option<u64>,
    pub misrouted: Option<u64>,
    pub over_capacity: Option<u64>,
    pub lag_ms: Option<Lags>,
    pub recovery_lag_ms: Option<Lags>,
    pub cores: Option<Cores>,
    pub recovery_cores: Option<Cores>,
    // loss, fault
    pub user_failovers: Option<u64>,
    pub rules_broken: Option<Vec<String>>,
    pub rounds: Option<Value>,
    // reach
    pub sip_server: Option<Value>,
    pub kills: Option<u64>,
    pub never_reached: Option<u64>,
    pub unreachable_ms: Option<Quantiles>,
    pub calls_placed: Option<u64>,
    pub calls_rung: Option<u64>,
    pub calls_answered: Option<u64>,
    pub gap_calls: Option<u64>,
    pub gap_calls_rung_share: Option<f64>,
    pub calls_refused_by_status: Option<Value>,
    // bench media
    pub peers: Option<u64>,
    pub cpu_us_per_echoed_packet: Option<f64>,
    pub floor_udp_us: Option<f64>,
    pub floor_srtp_us: Option<f64>,
    pub kb_per_peer: Option<f64>,
    pub connects_per_cpu_second: Option<f64>,
    // bench proxy
    pub requests_per_cpu_second: Option<f64>,
    pub added_p50_us: Option<f64>,
    pub kib_per_idle_websocket: Option<f64>,
    pub haproxy_requests_per_cpu_second: Option<f64>,
    pub haproxy_added_p50_us: Option<f64>,
    pub haproxy_kib_per_idle_websocket: Option<f64>,
    // bench sip
    pub bridged_calls_per_core: Option<f64>,
    pub transcoded_calls_per_core: Option<f64>,
    pub registrations_per_second: Option<f64>,
    pub kb_per_call: Option<f64>,
    pub call_setups_per_second: Option<f64>,
    pub bridged_calls: Option<u64>,
    pub transcoded_calls: Option<u64>,
    pub one_way_transcoded_calls_per_core: Option<f64>,
    pub cpu_ms_per_call_second: Option<CallCosts>,
    pub rtpengine_bridged_calls_per_core: Option<f64>,
    pub rtpengine_legs: Option<String>,
}

/// CPU milliseconds of a call's second: with few calls, and with the largest number that lost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in the report")]
pub struct CallCosts {
    pub bridged_few: Option<f64>,
    pub bridged_most: Option<f64>,
    pub transcoded_few: Option<f64>,
    pub transcoded_most: Option<f64>,
    pub rtpengine_few: Option<f64>,
    pub rtpengine_most: Option<f64>,
}

impl Report {
    /// Nothing measured yet; `flags` are printed with it.
    #[must_use]
    pub fn new(command: &str, flags: Value) -> Self {
        Self { command: command.to_owned(), flags, ..Self::default() }
    }

    /// The measured figures, one line each; the single rounds are for the JSON.
    #[must_use]
    pub fn table(&self) -> String {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else { return String::new() };
        let measured = fields.into_iter().filter(|(name, value)| !value.is_null() && name != "rounds");
        measured.map(|(name, value)| format!("  {name:<34} {}\n", plain(&value))).collect()
    }

    /// Prints the table, and writes the JSON where it is wanted.
    pub fn publish(&self, json: Option<&Path>) -> anyhow::Result<()> {
        print!("{}", self.table());
        if let Some(path) = json {
            std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        }
        Ok(())
    }
}

/// The value of `--json`: a file that can be written when the work is done.
pub fn json_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() || !folder.is_dir() {
        return Err("a file in a folder that exists is allowed".to_owned());
    }
    Ok(path)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join("  ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_to_a_file_in_a_folder_that_exists() {
        assert!(json_file("figures.json").is_ok());
        assert!(json_file("/nowhere/figures.json").is_err());
        assert!(json_file("/").is_err());
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(Quantiles::of(&times), Some(Quantiles { p50: 50.0, p95: 95.0, p99: 99.0, max: 100.0, count: 100 }));
        let one = Quantiles::of(&[Duration::from_micros(1500)]).expect("one time");
        assert_eq!((one.p50, one.max), (1.5, 1.5));
        assert_eq!(Quantiles::of(&[]), None);
    }

    #[test]
    fn every_key_is_present_and_null_if_not_measured() {
        let json = serde_json::to_value(Report::new("run", Value::Null)).expect("it is plain data");
        for key in ["users", "falsely_lost", "kill_to_media_ms", "floor_srtp_us", "haproxy_added_p50_us", "kb_per_call"]
        {
            assert_eq!(json.get(key), Some(&Value::Null), "{key}");
        }
    }
}
