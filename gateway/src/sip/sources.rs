//! Who may send datagrams, and how many, so that a flood from one address leaves the others their share.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Datagrams of one address in a second. An instance needs half of it for 200 calls a second.
const RATE: f64 = 2_000.0;
/// At once: the REGISTERs of all users of an instance, and as much again.
const BURST: f64 = 8_192.0;
/// Addresses that are remembered. When there are more, the quiet ones are forgotten.
const MAX_SOURCES: usize = 4_096;

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// Its sender is none of those who are listened to.
    Stranger,
    /// Its sender has used up his share.
    TooMany,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    /// Nobody else, if there is such a list; they need no limit.
    only_from: Option<Vec<SocketAddr>>,
    left: HashMap<SocketAddr, (f64, Instant)>,
}

impl Sources {
    pub(super) fn new(only_from: Option<Vec<SocketAddr>>) -> Self {
        Self { only_from, left: HashMap::new() }
    }

    /// Of a connection, whose port says nothing.
    pub(super) fn may_connect(&self, from: IpAddr) -> bool {
        self.only_from.as_ref().is_none_or(|only| only.iter().any(|addr| addr.ip() == from))
    }

    pub(super) fn take(&mut self, from: SocketAddr, now: Instant) -> Verdict {
        if let Some(only) = &self.only_from {
            return if only.contains(&from) { Verdict::Taken } else { Verdict::Stranger };
        }
        if self.left.len() >= MAX_SOURCES && !self.left.contains_key(&from) {
            let refilled = Duration::from_secs_f64(BURST / RATE);
            self.left.retain(|_, (_, seen)| now.saturating_duration_since(*seen) < refilled);
            if self.left.len() >= MAX_SOURCES {
                return Verdict::TooMany;
            }
        }
        let (left, seen) = self.left.entry(from).or_insert((BURST, now));
        *left = (*left + now.saturating_duration_since(*seen).as_secs_f64() * RATE).min(BURST);
        *seen = now;
        if *left < 1.0 {
            return Verdict::TooMany;
        }
        *left -= 1.0;
        Verdict::Taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_flood_uses_up_its_own_share_alone() {
        let (mut sources, now) = (Sources::new(None), Instant::now());
        let taken = (0..20_000).filter(|_| sources.take(addr(1), now) == Verdict::Taken).count();
        assert_eq!(taken, BURST as usize);
        assert_eq!(sources.take(addr(2), now), Verdict::Taken);
        let later = now + Duration::from_millis(500);
        let taken = (0..20_000).filter(|_| sources.take(addr(1), later) == Verdict::Taken).count();
        assert_eq!(taken, 1_000);
    }

    #[test]
    fn more_addresses_than_are_remembered_wait_for_the_quiet_ones() {
        let (mut sources, now) = (Sources::new(None), Instant::now());
        let taken = (1..=5_000).filter(|port| sources.take(addr(*port), now) == Verdict::Taken).count();
        assert_eq!(taken, MAX_SOURCES);
        assert_eq!(sources.take(addr(9_999), now + Duration::from_secs(10)), Verdict::Taken);
    }

    #[test]
    fn only_those_named_are_listened_to() {
        let (mut sources, now) = (Sources::new(Some(vec![addr(5_060)])), Instant::now());
        assert_eq!(sources.take(addr(5_060), now), Verdict::Taken);
        assert_eq!(sources.take(addr(5_061), now), Verdict::Stranger);
        assert!(sources.may_connect(addr(1).ip()) && !sources.may_connect(IpAddr::from([127, 0, 0, 2])));
    }
}
