//! Digits as RTP events (RFC 4733): made for the far side, and told once when they arrive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Digits that wait; more are dropped.
const MAX_WAITING: usize = 64;
const PACKET_TIME: Duration = Duration::from_millis(20);
/// Packets of a tone that goes on, so that it lasts 120 ms with its end.
const TONE_PACKETS: u16 = 5;
/// The end is sent three times (RFC 4733 §2.5.1.4).
const END_PACKETS: u16 = 3;
/// Silence between digits.
const PAUSE: Duration = Duration::from_millis(80);
/// -10 dBm0.
const VOLUME: u8 = 10;
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// A packet of an event that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// The first of its event: it sets the timestamp, and carries the marker.
    pub(super) first: bool,
    pub(super) payload: [u8; 4],
}

/// Makes events.
#[derive(Debug, Default)]
pub(super) struct DtmfSender {
    waiting: VecDeque<u8>,
    packet: u16,
    due: Option<Instant>,
}

impl DtmfSender {
    /// Adds digits; what is none is skipped.
    pub(super) fn push(&mut self, digits: &str, now: Instant) {
        let events = digits.bytes().filter_map(event);
        self.waiting.extend(events.take(MAX_WAITING - self.waiting.len()));
        if !self.waiting.is_empty() {
            self.due.get_or_insert(now);
        }
    }

    /// When [`DtmfSender::frame`] has something; `None` while idle.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a digit is being sent, so that sound waits.
    pub(super) fn is_busy(&self) -> bool {
        self.packet > 0
    }

    /// The packet that is due.
    pub(super) fn frame(&mut self, clock: u32, now: Instant) -> Option<Frame> {
        let due = self.due.filter(|due| *due <= now)?;
        let Some(&event) = self.waiting.front() else {
            self.due = None;
            return None;
        };
        let number = self.packet;
        let ends = number >= TONE_PACKETS;
        let duration = (number.min(TONE_PACKETS) + 1) * (clock / 50) as u16;
        let flags = VOLUME | if ends { 0x80 } else { 0 };
        self.packet += 1;
        self.due = Some(due.max(now.checked_sub(PACKET_TIME).unwrap_or(now)) + PACKET_TIME);
        if self.packet == TONE_PACKETS + END_PACKETS {
            self.packet = 0;
            self.waiting.pop_front();
            self.due = Some(now + PAUSE);
        }
        let [high, low] = duration.to_be_bytes();
        Some(Frame { first: number == 0, payload: [event, flags, high, low] })
    }
}

/// Tells each digit that arrives once.
#[derive(Debug, Default)]
pub(super) struct DtmfReceiver {
    last: Option<u32>,
}

impl DtmfReceiver {
    /// Takes an event packet: its digit when the event is new.
    pub(super) fn digit(&mut self, timestamp: u32, payload: &[u8]) -> Option<char> {
        let digit = char::from(*DIGITS.get(usize::from(*payload.first()?))?);
        if self.last.is_some_and(|last| timestamp.wrapping_sub(last) as i32 <= 0) {
            return None;
        }
        self.last = Some(timestamp);
        Some(digit)
    }

    /// Another source has other timestamps.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}

/// Converts an event's duration to another clock, in place.
pub(super) fn rescale(payload: &mut [u8], from: u32, to: u32) {
    if let Some([high, low]) = payload.get(2..4).map(|two| [two[0], two[1]])
        && from != to
    {
        let duration = u64::from(u16::from_be_bytes([high, low])) * u64::from(to) / u64::from(from.max(1));
        payload[2..4].copy_from_slice(&u16::try_from(duration).unwrap_or(u16::MAX).to_be_bytes());
    }
}

fn event(digit: u8) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    DIGITS.iter().position(|one| *one == digit).map(|at| at as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sender: &mut DtmfSender, clock: u32, start: Instant) -> Vec<(Duration, Frame)> {
        let mut frames = Vec::new();
        while let Some(due) = sender.poll_timeout() {
            frames.extend(sender.frame(clock, due).map(|frame| (due - start, frame)));
        }
        frames
    }

    #[test]
    fn a_digit_is_five_packets_and_three_ends() {
        let start = Instant::now();
        let mut sender = DtmfSender::default();
        sender.push("x1#", start);
        let frames = run(&mut sender, 8_000, start);
        assert_eq!(frames.len(), 16);
        assert_eq!(frames[0].1, Frame { first: true, payload: [1, 10, 0, 160] });
        assert_eq!(frames[4].1, Frame { first: false, payload: [1, 10, 3, 32] });
        for frame in &frames[5..8] {
            assert_eq!(frame.1, Frame { first: false, payload: [1, 0x8a, 3, 192] });
        }
        assert_eq!(frames[7].0, Duration::from_millis(140));
        assert_eq!((frames[8].0, frames[8].1.payload[0]), (Duration::from_millis(220), 11));
    }

    #[test]
    fn each_event_is_told_once() {
        let mut receiver = DtmfReceiver::default();
        assert_eq!(receiver.digit(100, &[5, 10, 0, 160]), Some('5'));
        assert_eq!(receiver.digit(100, &[5, 0x8a, 0, 160]), None);
        assert_eq!(receiver.digit(900, &[5, 10, 0, 160]), Some('5'));
        assert_eq!(receiver.digit(100, &[5, 0x8a, 0, 160]), None, "late");
        assert_eq!(receiver.digit(1000, &[99, 10, 0, 160]), None);
        assert_eq!(receiver.digit(1000, &[]), None);
        receiver.reset();
        assert_eq!(receiver.digit(3, &[10, 10, 0, 160]), Some('*'));
    }

    #[test]
    fn durations_follow_the_clock() {
        let mut payload = [1, 10, 0x03, 0xc0];
        rescale(&mut payload, 48_000, 8_000);
        assert_eq!(payload, [1, 10, 0, 160]);
        rescale(&mut payload, 8_000, 48_000);
        assert_eq!(payload, [1, 10, 0x03, 0xc0]);
        let mut long = [1, 10, 0xff, 0xff];
        rescale(&mut long, 8_000, 48_000);
        assert_eq!(long, [1, 10, 0xff, 0xff]);
        rescale(&mut [], 8_000, 48_000);
    }

    #[test]
    fn only_so_many_digits_wait() {
        let mut sender = DtmfSender::default();
        sender.push(&"7".repeat(1000), Instant::now());
        assert_eq!(sender.waiting.len(), MAX_WAITING);
    }
}
