//! Every bound of an instance, by name. At a limit something is refused with a reason; nothing grows without one.

use gateway_protocol::message::MAX_SDP_BYTES;
use std::time::Duration;

/// The server pings this often.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A socket that brought nothing for so long is lost.
pub const SILENCE: Duration = Duration::from_secs(15);
/// A detached session without live media is kept this long.
pub const GRACE: Duration = Duration::from_secs(60);
/// A SIP call that nobody answers ends after this.
pub const RING_TIME: Duration = Duration::from_secs(120);
/// A call to a user whose browser is not there waits this long for it, then the caller hears 480.
pub const WAIT_FOR_BROWSER: Duration = Duration::from_secs(4);
/// A session that nobody attached to ends after this.
pub const UNATTACHED: Duration = Duration::from_secs(30);
/// A socket has this long for its `attach`.
pub const ATTACH_TIMEOUT: Duration = Duration::from_millis(gateway_protocol::close::ATTACH_TIMEOUT_MS as u64);
/// The machine wants to be driven at least this often, so that it notices when the process stood still.
pub const TICK: Duration = Duration::from_millis(100);
/// Between two looks at the clock no more than this may pass; otherwise the process was frozen.
pub const MAX_TICK_GAP: Duration = Duration::from_millis(300);
/// Shortest and longest time over which lost clients are asked to spread their return.
pub const RECONNECT_WINDOW_MS: std::ops::RangeInclusive<u32> = 20..=2_000;
/// Answers remembered per session, four times the requests that may be open.
pub const REMEMBERED_ANSWERS: usize = 256;
/// SDP bytes kept in remembered answers, per session; beyond it the oldest answers lose theirs.
pub const REMEMBERED_SDP_BYTES: usize = 32 * 1024;
/// Ended calls told in a snapshot.
pub const REMEMBERED_ENDS: usize = 64;
/// Closed sessions that are answered 410; older ones are forgotten and answered 404, which clients treat alike.
pub const TOMBSTONES: usize = 8_192;
/// 201s kept to be repeated for the same idempotency key; beyond it the oldest is forgotten.
pub const REPEATABLE_SIGN_INS: usize = 2_048;
/// How long a 201 can be repeated.
pub const REPEATABLE_FOR: Duration = UNATTACHED;

/// What one instance can hold, and what it lets one client do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions from the 201 on; beyond it `instance-full`.
    pub sessions: u32,
    /// Calls; beyond it `call-capacity`.
    pub calls: u32,
    /// Sessions set up in a second; beyond it `not-acted`.
    pub setup_rate: u32,
    /// Live calls of a session; beyond it `too-many-calls`.
    pub calls_per_session: usize,
    /// Calls that a user starts in a minute; beyond it `rate-limited`.
    pub calls_per_minute: u32,
    /// Sign-ins of a user in a minute; beyond it 429.
    pub sign_ins_per_minute: u32,
    /// Messages of a socket in a second, twice that at once; beyond it the socket is closed with 1013.
    pub messages_per_second: u32,
    /// Longest offer; beyond it `too-large`.
    pub sdp_bytes: usize,
    /// Sockets that did not attach yet; beyond it a new one is closed with 1013.
    pub unattached_sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 2_000,
            calls: 500,
            setup_rate: 2_000,
            calls_per_session: 8,
            calls_per_minute: 120,
            sign_ins_per_minute: 120,
            messages_per_second: 50,
            sdp_bytes: MAX_SDP_BYTES,
            unattached_sockets: 2_048,
        }
    }
}

/// Some instant to count from, for tests.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
pub(crate) fn test_clock() -> std::time::Instant {
    std::time::Instant::now()
}
