//! One direction of a relay: packets of a source become packets of ours, with numbers and timestamps that go on whatever
//! the source does.
//!
//! Order and gaps are kept. A source that starts anew, or packets of our own in between, start a new mapping, so that no
//! number is ever used twice: under SRTP that would betray the key stream.

use crate::media::rtp::{HEADER, Stream, fields};
use bytes::BytesMut;
use std::time::Instant;

/// A number that leaps further ahead is a new start (RFC 3550 §A.1).
const MAX_LEAP: i64 = 3000;
/// How late a packet may be, in packets; that many are remembered.
const WINDOW: i64 = 128;
/// A timestamp that leaps further, in seconds, is a new start.
const MAX_GAP_S: i64 = 60;

/// How one clock's timestamps become another's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    input: u32,
    output: u32,
}

impl Timeline {
    /// Our timestamp for one of the source. `start` is ours when the source begins.
    pub(super) fn map(
        known: &mut Option<Self>,
        input: u32,
        clocks: (u32, u32),
        start: impl FnOnce() -> Option<u32>,
    ) -> u32 {
        let (from, to) = (i64::from(clocks.0.max(1)), i64::from(clocks.1));
        let step = |line: &Self| i64::from(input.wrapping_sub(line.input) as i32);
        let Some(line) = known.as_mut().filter(|line| step(line).abs() <= MAX_GAP_S * from) else {
            let output = start().unwrap_or(input);
            *known = Some(Self { input, output });
            return output;
        };
        let step = step(line);
        let output = line.output.wrapping_add((step * to / from) as u32);
        if step > 0 {
            *line = Self { input, output };
        }
        output
    }
}

#[derive(Debug)]
struct Mapping {
    ssrc: u32,
    /// The highest number of the source, its rollovers ignored, and ours for it.
    input: u16,
    output: u64,
    /// Bit n: the number n below the highest was sent.
    sent: u128,
    line: Option<Timeline>,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Relay {
    mapping: Option<Mapping>,
}

impl Relay {
    /// The next packet starts a new mapping: the ones before it were not passed.
    pub(super) fn interrupt(&mut self) {
        self.mapping = None;
    }

    /// Makes a plain packet one of `to`, in place; false when it must be dropped as repeated or too late.
    pub(super) fn pass(&mut self, packet: &mut [u8], to: &mut Stream, clocks: (u32, u32), now: Instant) -> bool {
        let (sequence, timestamp, ssrc) = fields(packet);
        let step = |mapping: &Mapping| i64::from(sequence.wrapping_sub(mapping.input) as i16);
        let goes_on = |mapping: &Mapping| {
            mapping.ssrc == ssrc
                && mapping.output + 1 == to.next_sequence()
                && (-WINDOW..=MAX_LEAP).contains(&step(mapping))
        };
        if !self.mapping.as_ref().is_some_and(goes_on) {
            let output = to.next_sequence() - 1;
            self.mapping = Some(Mapping { ssrc, input: sequence.wrapping_sub(1), output, sent: u128::MAX, line: None });
            if !to.section.video {
                packet[1] |= 0x80;
            }
        }
        let Some(mapping) = &mut self.mapping else { return false };
        let step = i64::from(sequence.wrapping_sub(mapping.input) as i16);
        if !mapping.take(step, sequence) {
            return false;
        }
        let number = if step > 0 { mapping.output } else { mapping.output.saturating_add_signed(step) };
        let timestamp = Timeline::map(&mut mapping.line, timestamp, clocks, || to.timestamp_at(now));
        to.claim(packet, number, timestamp, now);
        true
    }

    /// The source, and its number for one of ours, as far as the current mapping reaches.
    pub(super) fn original(&self, ours: u16) -> Option<(u32, u16)> {
        let mapping = self.mapping.as_ref()?;
        let back = (mapping.output as u16).wrapping_sub(ours);
        (i64::from(back) <= MAX_LEAP).then(|| (mapping.ssrc, mapping.input.wrapping_sub(back)))
    }

    /// The source that is being passed.
    pub(super) fn source(&self) -> Option<u32> {
        self.mapping.as_ref().map(|mapping| mapping.ssrc)
    }
}

impl Mapping {
    /// Takes note of a number; false when it was used, or is too old to tell.
    fn take(&mut self, step: i64, sequence: u16) -> bool {
        if step > 0 {
            self.sent = if step < WINDOW { self.sent << step } else { 0 } | 1;
            self.input = sequence;
            self.output += step as u64;
            return true;
        }
        let bit = u32::try_from(-step).ok().and_then(|back| 1u128.checked_shl(back)).unwrap_or(0);
        let fresh = bit != 0 && self.sent & bit == 0;
        self.sent |= bit;
        fresh
    }
}

/// Makes a packet of our own, after `lost` numbers that are left out so that the receiver conceals them.
pub(super) fn originate(to: &mut Stream, head: Head, payload: &[u8], now: Instant) -> BytesMut {
    let mut packet = BytesMut::with_capacity(HEADER + payload.len() + 16);
    packet.extend_from_slice(&[0x80, head.payload_type | if head.marker { 0x80 } else { 0 }]);
    packet.extend_from_slice(&[0; HEADER - 2]);
    packet.extend_from_slice(payload);
    let number = to.next_sequence() + u64::from(head.lost);
    to.claim(&mut packet, number, head.timestamp, now);
    packet
}

/// What a packet of our own says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) lost: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::Section;
    use std::time::Duration;

    fn stream(now: Instant) -> Stream {
        Stream::new(Section { payload_types: 0, clock: 8_000, ssrc: 5, sends: true, video: false }, 100, now)
    }

    fn pass(relay: &mut Relay, to: &mut Stream, source: (u32, u16, u32), now: Instant) -> Option<(u16, u32)> {
        let mut packet = [0; 16];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&source.1.to_be_bytes());
        packet[4..8].copy_from_slice(&source.2.to_be_bytes());
        packet[8..12].copy_from_slice(&source.0.to_be_bytes());
        relay.pass(&mut packet, to, (48_000, 8_000), now).then(|| {
            let (sequence, timestamp, ssrc) = fields(&packet);
            assert_eq!(ssrc, 5);
            (sequence, timestamp)
        })
    }

    #[test]
    fn order_gaps_and_rollover_are_kept_and_nothing_goes_twice() {
        let now = Instant::now();
        let (mut relay, mut to) = (Relay::default(), stream(now));
        assert_eq!(pass(&mut relay, &mut to, (1, 65_534, 960), now), Some((101, 960)));
        assert_eq!(pass(&mut relay, &mut to, (1, 1, 960 * 4), now), Some((104, 960 + 480)));
        assert_eq!(pass(&mut relay, &mut to, (1, 65_535, 960 * 2), now), Some((102, 960 + 160)));
        assert_eq!(pass(&mut relay, &mut to, (1, 65_535, 960 * 2), now), None);
        assert_eq!(pass(&mut relay, &mut to, (1, 1, 960 * 4), now), None);
        assert_eq!(pass(&mut relay, &mut to, (1, 65_533, 0), now), None, "before the first");
        assert_eq!(relay.original(102), Some((1, 65_535)));
        assert_eq!(relay.original(105), None);
    }

    #[test]
    fn another_source_or_a_restarted_one_goes_on_behind_what_was_sent() {
        let now = Instant::now();
        let (mut relay, mut to) = (Relay::default(), stream(now));
        pass(&mut relay, &mut to, (1, 7, 4800), now);
        let later = now + Duration::from_secs(1);
        assert_eq!(pass(&mut relay, &mut to, (2, 30_000, 9), later), Some((102, 4800 + 8000)));
        assert_eq!(pass(&mut relay, &mut to, (2, 100, 77), later), Some((103, 4800 + 8000)), "it started anew");
        assert_eq!(pass(&mut relay, &mut to, (2, 99, 77), later), None);
    }

    #[test]
    fn packets_of_our_own_in_between_shift_the_rest() {
        let now = Instant::now();
        let (mut relay, mut to) = (Relay::default(), stream(now));
        pass(&mut relay, &mut to, (1, 7, 960), now);
        let head = Head { payload_type: 101, marker: true, timestamp: 5, lost: 2 };
        let own = originate(&mut to, head, b"event", now);
        assert_eq!((own[1], &own[2..4], &own[HEADER..]), (0xe5, &[0, 104][..], &b"event"[..]));
        assert_eq!(pass(&mut relay, &mut to, (1, 8, 1920), now).map(|(sequence, _)| sequence), Some(105));
        relay.interrupt();
        assert_eq!(pass(&mut relay, &mut to, (1, 20, 1920), now).map(|(sequence, _)| sequence), Some(106));
    }

    #[test]
    fn a_timeline_survives_its_rollover_and_leaps() {
        let mut line = None;
        let mut map = |input| Timeline::map(&mut line, input, (48_000, 8_000), || Some(1000));
        assert_eq!(map(u32::MAX - 959), 1000);
        assert_eq!(map(0), 1160);
        assert_eq!(map(u32::MAX - 959), 1000, "late");
        assert_eq!(map(960), 1320);
        assert_eq!(map(1 << 30), 1000, "a new start");
    }
}
