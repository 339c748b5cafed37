//! Who may send datagrams, and how many, so that a flood from one address leaves the others their share.

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
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

/// Somebody who is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Where.
    pub ip: IpAddr,
    /// Any port if absent.
    pub port: Option<u16>,
}

impl Source {
    fn is(&self, from: SocketAddr) -> bool {
        self.ip == from.ip() && self.port.is_none_or(|port| port == from.port())
    }
}

/// Those who alone are listened to; they need no limit.
#[derive(Debug)]
struct Only {
    trusted: Vec<Source>,
    /// Those whom the machine opened a flow to.
    opened: ArcSwap<Vec<SocketAddr>>,
}

impl Only {
    fn knows(&self, from: SocketAddr) -> bool {
        self.opened.load().contains(&from) || self.trusted.iter().any(|source| source.is(from))
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    /// Shared by all who read, and by the one who says to whom flows are opened.
    only: Option<Arc<Only>>,
    left: HashMap<SocketAddr, (f64, Instant)>,
}

impl Sources {
    pub(super) fn new(only_from: Option<Vec<Source>>) -> Self {
        let only = only_from.map(|trusted| Arc::new(Only { trusted, opened: ArcSwap::default() }));
        Self { only, left: HashMap::new() }
    }

    /// From now on this one is listened to, exactly this address and port: over UDP nothing else says who it is.
    pub(super) fn open(&self, addr: SocketAddr) {
        let Some(only) = self.only.as_ref().filter(|only| !only.opened.load().contains(&addr)) else { return };
        only.opened.rcu(|opened| opened.iter().copied().chain([addr]).collect::<Vec<_>>());
    }

    /// No more, unless it is trusted anyway: by now somebody else may have the address.
    pub(super) fn forget(&self, addr: SocketAddr) {
        if let Some(only) = &self.only {
            only.opened.rcu(|opened| opened.iter().copied().filter(|other| *other != addr).collect::<Vec<_>>());
        }
    }

    /// Of a connection, whose port says nothing.
    pub(super) fn may_connect(&self, from: IpAddr) -> bool {
        self.only.as_ref().is_none_or(|only| {
            only.opened.load().iter().any(|addr| addr.ip() == from) || only.trusted.iter().any(|one| one.ip == from)
        })
    }

    pub(super) fn take(&mut self, from: SocketAddr, now: Instant) -> Verdict {
        if let Some(only) = &self.only {
            return if only.knows(from) { Verdict::Taken } else { Verdict::Stranger };
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
    fn only_those_to_whom_flows_are_opened_are_listened_to() {
        let (mut sources, now) = (Sources::new(Some(Vec::new())), Instant::now());
        let mut reader = sources.clone();
        sources.open(addr(5_060));
        assert_eq!(reader.take(addr(5_060), now), Verdict::Taken);
        assert_eq!(sources.take(addr(5_061), now), Verdict::Stranger);
        assert!(sources.may_connect(addr(1).ip()) && !sources.may_connect(IpAddr::from([127, 0, 0, 2])));
        sources.forget(addr(5_060));
        assert_eq!(reader.take(addr(5_060), now), Verdict::Stranger);
    }

    #[test]
    fn a_trusted_source_is_listened_to_from_its_port_or_from_any() {
        let trusted = |last: u8, port| Source { ip: IpAddr::from([192, 0, 2, last]), port };
        let mut sources = Sources::new(Some(vec![trusted(1, None), trusted(2, Some(5_070))]));
        let mut take = |last, port| sources.take(SocketAddr::from(([192, 0, 2, last], port)), Instant::now());
        assert_eq!([take(1, 5_060), take(1, 40_000), take(2, 5_070)], [Verdict::Taken; 3]);
        assert_eq!([take(2, 5_060), take(3, 5_060)], [Verdict::Stranger; 2]);
    }
}
