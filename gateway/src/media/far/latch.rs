//! Whom a far port listens to: symmetric RTP learned once from the address of the description, then locked.
//!
//! | state | a packet from the told address | from another one |
//! |---|---|---|
//! | open | locks | locks when it came alone for [`PROBATION`] |
//! | locked to the told one | passes | is dropped |
//! | locked to another one | locks in its place | passes if it is the locked one |
//!
//! A lock on the told address is for good. Another one may be a phone that still talks to whoever had the port before, and was
//! heard first because the told one was silent.
//!
//! A locked address may change its source (SSRC) after a new negotiation, or when the old one was silent.

use crate::media::stats::Drop;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// For so long another address than the told one must be the only one heard.
const PROBATION: Duration = Duration::from_millis(100);
/// And with at least so many packets, so that two strays do not suffice.
const PROBATION_PACKETS: u32 = 4;
/// A source that was silent for so long may be replaced: five packets of sound.
const SOURCE_SILENT: Duration = Duration::from_millis(100);

/// What a packet may do once it is authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is of the locked source.
    Known,
    /// It is the first of a source, which it locks.
    Fresh,
}

#[derive(Debug, Clone, Copy)]
struct Locked {
    address: SocketAddr,
    ssrc: u32,
    heard: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    address: SocketAddr,
    since: Instant,
    heard: Instant,
    packets: u32,
}

/// The rule for one RTP port.
#[derive(Debug, Default)]
pub(super) struct Latch {
    told: Option<SocketAddr>,
    locked: Option<Locked>,
    candidate: Option<Candidate>,
    renegotiated: bool,
}

impl Latch {
    /// The far side's description came, or came again.
    pub(super) fn told(&mut self, address: SocketAddr) {
        if self.told != Some(address) {
            // On hold the old way nobody moved.
            if !address.ip().is_unspecified() {
                self.locked = None;
            }
            self.candidate = None;
        }
        self.told = Some(address);
        self.renegotiated = true;
    }

    /// Where packets go; `None` before the description, and while it names no address.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        let told = self.told.filter(|told| !told.ip().is_unspecified())?;
        Some(self.locked.map_or(told, |locked| locked.address))
    }

    /// Judges a packet by where it comes from, before anything is spent on it.
    pub(super) fn admit(&mut self, from: SocketAddr, ssrc: u32, now: Instant) -> Result<Admission, Drop> {
        let Some(told) = self.told else { return Err(Drop::FarEarly) };
        match self.locked {
            Some(locked) if locked.address != from && from == told => Ok(Admission::Fresh),
            Some(locked) if locked.address != from => Err(Drop::FarAddress),
            Some(locked) if locked.ssrc == ssrc => Ok(Admission::Known),
            Some(locked) if self.renegotiated || now.saturating_duration_since(locked.heard) >= SOURCE_SILENT => {
                Ok(Admission::Fresh)
            }
            Some(_) => Err(Drop::FarSource),
            None if from == told => Ok(Admission::Fresh),
            None => self.on_probation(from, now),
        }
    }

    /// The packet was authentic.
    pub(super) fn commit(&mut self, from: SocketAddr, ssrc: u32, now: Instant) {
        if self.locked.is_none_or(|locked| locked.ssrc != ssrc) {
            self.renegotiated = false;
        }
        self.locked = Some(Locked { address: from, ssrc, heard: now });
    }

    fn on_probation(&mut self, from: SocketAddr, now: Instant) -> Result<Admission, Drop> {
        let fresh = Candidate { address: from, since: now, heard: now, packets: 0 };
        let known = self.candidate.filter(|one| now.saturating_duration_since(one.heard) < PROBATION);
        let candidate = match known {
            Some(one) if one.address != from => return Err(Drop::FarAddress),
            Some(one) => one,
            None => fresh,
        };
        let candidate = Candidate { heard: now, packets: candidate.packets + 1, ..candidate };
        self.candidate = Some(candidate);
        let passed =
            candidate.packets >= PROBATION_PACKETS && now.saturating_duration_since(candidate.since) >= PROBATION;
        if passed { Ok(Admission::Fresh) } else { Err(Drop::FarAddress) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn pass(latch: &mut Latch, port: u16, ssrc: u32, now: Instant) -> Result<Admission, Drop> {
        let admission = latch.admit(address(port), ssrc, now)?;
        latch.commit(address(port), ssrc, now);
        Ok(admission)
    }

    #[test]
    fn the_told_address_locks_at_once_and_for_good() {
        let now = Instant::now();
        let mut latch = Latch::default();
        assert_eq!(pass(&mut latch, 1, 7, now), Err(Drop::FarEarly));
        latch.told(address(1));
        assert_eq!(latch.destination(), Some(address(1)));
        assert_eq!(pass(&mut latch, 1, 7, now), Ok(Admission::Fresh));
        assert_eq!(pass(&mut latch, 1, 7, now), Ok(Admission::Known));
        for step in 0..100 {
            assert_eq!(pass(&mut latch, 2, 7, now + MS * 20 * step), Err(Drop::FarAddress));
        }
        assert_eq!(latch.destination(), Some(address(1)));
    }

    #[test]
    fn another_address_is_learned_when_it_is_heard_alone() {
        let now = Instant::now();
        let mut latch = Latch::default();
        latch.told(address(1));
        for step in 0..5 {
            assert_eq!(pass(&mut latch, 2, 7, now + MS * 20 * step), Err(Drop::FarAddress));
            assert_eq!(pass(&mut latch, 3, 9, now + MS * 20 * step), Err(Drop::FarAddress), "a second one waits");
        }
        assert_eq!(pass(&mut latch, 2, 7, now + MS * 100), Ok(Admission::Fresh));
        assert_eq!(latch.destination(), Some(address(2)));
        assert_eq!(pass(&mut latch, 3, 9, now + MS * 120), Err(Drop::FarAddress), "it was learned once");
    }

    #[test]
    fn a_stranger_that_was_heard_first_gives_way_to_the_told_address() {
        let now = Instant::now();
        let mut latch = Latch::default();
        latch.told(address(1));
        for step in 0..6 {
            let _ = pass(&mut latch, 2, 7, now + MS * 20 * step);
        }
        assert_eq!(latch.destination(), Some(address(2)));
        assert_eq!(pass(&mut latch, 1, 7, now + MS * 120), Ok(Admission::Fresh));
        assert_eq!(latch.destination(), Some(address(1)));
        for step in 7..100 {
            assert_eq!(pass(&mut latch, 2, 7, now + MS * 20 * step), Err(Drop::FarAddress));
        }
    }

    #[test]
    fn the_told_address_wins_while_another_is_on_probation() {
        let now = Instant::now();
        let mut latch = Latch::default();
        latch.told(address(1));
        assert!(pass(&mut latch, 2, 7, now).is_err());
        assert_eq!(pass(&mut latch, 1, 8, now + MS * 50), Ok(Admission::Fresh));
        assert_eq!(pass(&mut latch, 2, 7, now + MS * 200), Err(Drop::FarAddress));
    }

    #[test]
    fn another_source_comes_after_silence_or_a_negotiation() {
        let now = Instant::now();
        let mut latch = Latch::default();
        latch.told(address(1));
        pass(&mut latch, 1, 7, now).expect("the told address");
        assert_eq!(pass(&mut latch, 1, 8, now + MS * 99), Err(Drop::FarSource));
        assert_eq!(pass(&mut latch, 1, 8, now + MS * 100), Ok(Admission::Fresh));
        latch.told(address(1));
        assert_eq!(pass(&mut latch, 1, 8, now + MS * 101), Ok(Admission::Known), "the old one may go on");
        assert_eq!(pass(&mut latch, 1, 9, now + MS * 102), Ok(Admission::Fresh));
        assert_eq!(pass(&mut latch, 1, 10, now + MS * 103), Err(Drop::FarSource), "once per negotiation");
    }

    #[test]
    fn a_new_address_opens_the_lock_and_hold_does_not() {
        let now = Instant::now();
        let mut latch = Latch::default();
        latch.told(address(1));
        pass(&mut latch, 1, 7, now).expect("the told address");
        latch.told(([0, 0, 0, 0], 1).into());
        assert_eq!(latch.destination(), None);
        assert_eq!(pass(&mut latch, 2, 7, now), Err(Drop::FarAddress));
        latch.told(address(2));
        assert_eq!(latch.destination(), Some(address(2)));
        assert_eq!(pass(&mut latch, 2, 9, now), Ok(Admission::Fresh));
    }
}
