//! The addresses of one peer that STUN has checked, and the choice of the one that media is sent to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Checked addresses kept per peer; the one heard least recently makes room for a ninth. Browsers have one to four.
const MAX_ADDRESSES: usize = 8;
/// A path that brought nothing authenticated for so long gives way to an address that did.
const STALE: Duration = Duration::from_millis(200);

/// The send path rule: the address of the last fresh USE-CANDIDATE; before the first one of an ICE generation that of
/// its first valid check; and when the current path went stale, the address of the newest authenticated packet.
#[derive(Debug, Default)]
pub(super) struct Paths {
    heard: Vec<(SocketAddr, Instant)>,
    chosen: Option<SocketAddr>,
    /// The current ICE generation had a check, so a later check without USE-CANDIDATE moves nothing.
    checked: bool,
}

impl Paths {
    /// Where media goes; `None` before the first check.
    pub(super) fn chosen(&self) -> Option<SocketAddr> {
        self.chosen
    }

    /// Whether STUN has checked this address.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        self.heard.iter().any(|&(known, _)| known == address)
    }

    /// All checked addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.heard.iter().map(|&(address, _)| address)
    }

    /// A new ICE generation begins: its first check decides, whatever the old one had nominated.
    pub(super) fn restart(&mut self) {
        self.checked = false;
    }

    /// Takes a valid, fresh check and returns the address that had to make room, if any.
    pub(super) fn checked(&mut self, from: SocketAddr, nominated: bool, now: Instant) -> Option<SocketAddr> {
        let evicted = self.make_room(from);
        if !self.contains(from) {
            self.heard.push((from, now));
        }
        if nominated || !self.checked {
            self.chosen = Some(from);
        }
        self.checked = true;
        self.heard(from, now);
        evicted
    }

    /// Takes note of an authenticated packet from a checked address.
    pub(super) fn heard(&mut self, from: SocketAddr, now: Instant) {
        let mut chosen_heard = None;
        for (address, heard) in &mut self.heard {
            if *address == from {
                *heard = now;
            }
            if Some(*address) == self.chosen {
                chosen_heard = Some(*heard);
            }
        }
        let stale = chosen_heard.is_none_or(|heard| now.saturating_duration_since(heard) >= STALE);
        if stale && self.contains(from) {
            self.chosen = Some(from);
        }
    }

    /// Drops an address that now belongs to another peer.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.heard.retain(|&(known, _)| known != address);
        if self.chosen == Some(address) {
            self.chosen = self.heard.iter().max_by_key(|(_, heard)| *heard).map(|&(address, _)| address);
        }
    }

    fn make_room(&mut self, from: SocketAddr) -> Option<SocketAddr> {
        if self.heard.len() < MAX_ADDRESSES || self.contains(from) {
            return None;
        }
        let candidates = self.heard.iter().enumerate().filter(|(_, (address, _))| Some(*address) != self.chosen);
        let oldest = candidates.min_by_key(|(_, (_, heard))| *heard).map(|(index, _)| index)?;
        Some(self.heard.swap_remove(oldest).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_first_check_decides_until_a_nomination() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(address(1), false, start);
        paths.checked(address(2), false, after(start, 10));
        assert_eq!(paths.chosen(), Some(address(1)));
        paths.checked(address(2), true, after(start, 20));
        assert_eq!(paths.chosen(), Some(address(2)));
        paths.checked(address(1), true, after(start, 30));
        assert_eq!(paths.chosen(), Some(address(1)));
    }

    #[test]
    fn a_new_generation_moves_with_its_first_check() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(address(1), true, start);
        paths.restart();
        assert_eq!(paths.chosen(), Some(address(1)), "the old path serves until then");
        paths.checked(address(2), false, after(start, 10));
        assert_eq!(paths.chosen(), Some(address(2)));
    }

    #[test]
    fn a_stale_path_gives_way_to_the_address_that_is_heard() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(address(1), true, start);
        paths.checked(address(2), false, after(start, 10));
        paths.heard(address(2), after(start, 199));
        assert_eq!(paths.chosen(), Some(address(1)));
        paths.heard(address(2), after(start, 200));
        assert_eq!(paths.chosen(), Some(address(2)));
    }

    #[test]
    fn an_unchecked_address_is_never_chosen() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.heard(address(9), start);
        assert_eq!(paths.chosen(), None);
        paths.checked(address(1), true, start);
        paths.heard(address(9), after(start, 5000));
        assert_eq!(paths.chosen(), Some(address(1)));
    }

    #[test]
    fn the_ninth_address_evicts_the_one_heard_least_recently_but_never_the_path() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(address(1), true, start);
        for port in 2..=8 {
            assert_eq!(paths.checked(address(port), false, after(start, u64::from(port))), None);
        }
        assert_eq!(paths.checked(address(9), false, after(start, 20)), Some(address(2)));
        assert_eq!(paths.chosen(), Some(address(1)));
        assert_eq!(paths.addresses().count(), 8);
    }

    #[test]
    fn a_forgotten_path_falls_back_to_the_address_heard_last() {
        let start = Instant::now();
        let mut paths = Paths::default();
        paths.checked(address(1), true, start);
        paths.checked(address(2), false, after(start, 5));
        paths.forget(address(1));
        assert_eq!(paths.chosen(), Some(address(2)));
    }
}
