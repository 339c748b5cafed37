//! Packets between browsers and phones over a stretch of time, and what the process in between used of the CPU.

use crate::peer_io::PoolPeer;
use crate::sip_phone::rtp::RtpPhones;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Calls that lose no more than this share of their packets lose nothing worth a word.
const LOSSLESS: f64 = 0.0005;
/// Below this share of the packets that should have been sent or received, somebody was too slow. Above it a load that is a
/// little late distorts nothing, since the cost is counted per packet.
const ON_TIME: f64 = 0.9;
/// In one direction of a call.
const PACKETS_A_SECOND: f64 = 50.0;

/// Packets so far in one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    sent: u64,
    received: u64,
    missed: u64,
}

impl Count {
    /// From browsers to phones, and back.
    fn both(browsers: &[&PoolPeer], phones: &RtpPhones) -> [Self; 2] {
        let there = phones.counts();
        let mut up = Self { sent: 0, received: there.received, missed: there.missed };
        let mut down = Self { sent: there.sent, received: 0, missed: 0 };
        for here in browsers.iter().map(|browser| browser.counts()) {
            up.sent += here.sent;
            down.received += here.received;
            down.missed += here.missed;
        }
        [up, down]
    }

    fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
            missed: self.missed.saturating_sub(before.missed),
        }
    }

    fn lost(&self) -> f64 {
        self.missed as f64 / (self.received + self.missed).max(1) as f64
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Step {
    /// Calls at once.
    pub(super) calls: usize,
    /// Cores that the process used.
    pub(super) cores: f64,
    /// CPU milliseconds of a call's second, that is of 50 packets each way.
    pub(super) cpu_ms_per_call_second: f64,
    /// Share of the packets that did not arrive, the worse of the two directions.
    pub(super) lost: f64,
    /// Share of the packets that should have been sent and were, likewise.
    pub(super) sent: f64,
    /// Share of them that were received, likewise.
    pub(super) received: f64,
}

impl Step {
    /// Watches the calls for a while.
    pub(super) async fn measure(
        browsers: &[&PoolPeer],
        phones: &RtpPhones,
        time: Duration,
        cpu: impl Fn() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Self> {
        let (start, used, before) = (Instant::now(), cpu()?, Count::both(browsers, phones));
        tokio::time::sleep(time).await;
        let (used, after) = (cpu()? - used, Count::both(browsers, phones));
        let seconds = start.elapsed().as_secs_f64();
        let calls = browsers.len();
        let [up, down] = [0, 1].map(|way: usize| after[way].since(before[way]));
        let share = |packets: u64| packets as f64 / (PACKETS_A_SECOND * calls as f64 * seconds);
        let carried = (up.received + down.received) as f64 / (2.0 * PACKETS_A_SECOND);
        Ok(Self {
            calls,
            cores: used.as_secs_f64() / seconds,
            cpu_ms_per_call_second: used.as_secs_f64() * 1000.0 / carried,
            lost: up.lost().max(down.lost()),
            sent: share(up.sent.min(down.sent)),
            received: share(up.received.min(down.received)),
        })
    }

    /// Nothing was lost, and everything was sent and received in time.
    pub(super) fn is_lossless(&self) -> bool {
        self.lost <= LOSSLESS && self.sent >= ON_TIME && self.received >= ON_TIME
    }

    /// How many such calls one core carries.
    pub(super) fn calls_per_core(&self) -> f64 {
        1000.0 / self.cpu_ms_per_call_second
    }
}
