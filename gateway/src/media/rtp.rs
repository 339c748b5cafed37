//! The RTP side of one media section: what is received is counted, what is sent has one source of our own, whatever
//! sources and sequence numbers the far side uses.

use super::rtcp::{ReportBlock, SenderInfo};
use std::time::{Duration, Instant};

/// RTP's fixed header.
pub(super) const HEADER: usize = 12;
/// A second source replaces the first when that was silent for so long; until then it is dropped.
const SOURCE_SILENT: Duration = Duration::from_millis(500);

/// What the negotiation fixed for a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Bit n is set when payload type n belongs here.
    pub(super) payload_types: u128,
    /// RTP clock, in Hz.
    pub(super) clock: u32,
    /// Our source.
    pub(super) ssrc: u32,
    /// Whether the offer lets us send.
    pub(super) sends: bool,
    pub(super) video: bool,
}

/// A section at work.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) section: Section,
    /// The clock of what is sent, in Hz; another than the section's while another codec is sent than received.
    pub(super) send_clock: u32,
    created: Instant,
    sent: Sent,
    source: Option<Source>,
}

#[derive(Debug, Default)]
struct Sent {
    packets: u32,
    octets: u32,
    /// Highest sequence number used, with its rollovers.
    sequence: u64,
    /// That of the newest packet, and when it left.
    timestamp: u32,
    at: Option<Instant>,
    /// When the first packet with this timestamp left: those of a digit or a picture share one.
    stamped: Option<Instant>,
}

/// The far source that is being received.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    jitter: f32,
    transit: Option<i64>,
    last_report: Option<(u32, Instant)>,
    last_at: Instant,
    /// How its sequence numbers and timestamps become ours; lower results than `floor` would repeat old ones.
    sequence_offset: i64,
    floor: u64,
    timestamp_offset: u32,
}

impl Stream {
    /// Nothing received or sent yet; our sequence numbers start at `first_sequence`, kept under 2^15 so that the
    /// rollover counters of both ends agree whatever the order of the first packets (RFC 3711 §3.3.1).
    pub(super) fn new(section: Section, first_sequence: u16, now: Instant) -> Self {
        let sequence = u64::from(first_sequence & 0x7fff);
        Self {
            send_clock: section.clock,
            section,
            created: now,
            sent: Sent { sequence, ..Sent::default() },
            source: None,
        }
    }

    /// Whether this payload type belongs here.
    pub(super) fn takes(&self, payload_type: u8) -> bool {
        self.section.payload_types >> payload_type & 1 == 1
    }

    /// The far source being received.
    pub(super) fn far_source(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// When the last packet left.
    pub(super) fn last_sent(&self) -> Option<Instant> {
        self.sent.at
    }

    /// Counts a received packet; false when it is of a second source and must be dropped.
    pub(super) fn received(&mut self, packet: &[u8], now: Instant) -> bool {
        let (sequence, timestamp, ssrc) = fields(packet);
        match &mut self.source {
            Some(source) if source.ssrc == ssrc => {}
            Some(source) if now.saturating_duration_since(source.last_at) < SOURCE_SILENT => return false,
            _ => self.source = Some(self.new_source(ssrc, sequence, timestamp, now)),
        }
        let arrival = self.in_clock(now);
        if let Some(source) = &mut self.source {
            source.count(sequence, i64::from(arrival) - i64::from(timestamp), now);
        }
        true
    }

    /// Makes a received packet one of ours, in place; false when its number would repeat one already used.
    pub(super) fn adopt(&mut self, packet: &mut [u8], now: Instant) -> bool {
        let Some(source) = &self.source else { return false };
        let (sequence, timestamp, _) = fields(packet);
        let ours = source.extend(sequence).wrapping_add_signed(source.sequence_offset);
        if ours < source.floor {
            return false;
        }
        let timestamp = timestamp.wrapping_add(source.timestamp_offset);
        packet[2..4].copy_from_slice(&(ours as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.section.ssrc.to_be_bytes());
        self.note_sent(ours, timestamp, packet.len() - HEADER, now);
        true
    }

    /// Appends a packet that is made here.
    pub(super) fn originate(
        &mut self,
        header: &mut [u8; HEADER],
        payload_type: u8,
        samples: u32,
        bytes: usize,
        now: Instant,
    ) {
        let first = self.sent.at.is_none();
        let sequence = self.sent.sequence + 1;
        let timestamp = self.sent.timestamp.wrapping_add(samples);
        header[0] = 0x80;
        header[1] = payload_type | if first { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.section.ssrc.to_be_bytes());
        self.note_sent(sequence, timestamp, bytes, now);
    }

    /// The sequence number, with its rollovers, that follows the highest one sent.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sent.sequence + 1
    }

    /// Our timestamp as of now, which goes on while nothing is sent; `None` before the first packet.
    pub(super) fn timestamp_at(&self, now: Instant) -> Option<u32> {
        let silence = now.saturating_duration_since(self.sent.stamped?);
        Some(self.sent.timestamp.wrapping_add(clock_units(silence, self.send_clock)))
    }

    /// Makes a packet ours in place, under this number and timestamp. The caller never uses a number twice.
    pub(super) fn claim(&mut self, packet: &mut [u8], sequence: u64, timestamp: u32, now: Instant) {
        packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.section.ssrc.to_be_bytes());
        self.note_sent(sequence, timestamp, packet.len() - HEADER, now);
    }

    /// The next packet may be of another source.
    pub(super) fn forget_source(&mut self) {
        self.source = None;
    }

    /// Takes note of a sender report of the far source.
    pub(super) fn sender_report(&mut self, ssrc: u32, ntp_middle: u32, now: Instant) {
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            source.last_report = Some((ntp_middle, now));
        }
    }

    /// What to report of our own source; `None` before the first packet.
    pub(super) fn sender_info(&self, now: Instant) -> Option<SenderInfo> {
        let at = self.sent.stamped?;
        let elapsed = clock_units(now.saturating_duration_since(at), self.send_clock);
        Some(SenderInfo {
            ntp: ntp(now.saturating_duration_since(self.created)),
            timestamp: self.sent.timestamp.wrapping_add(elapsed),
            packets: self.sent.packets,
            octets: self.sent.octets,
        })
    }

    /// What to report of the far source since the last report.
    pub(super) fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        self.source.as_mut().map(|source| source.report(now))
    }

    fn new_source(&self, ssrc: u32, sequence: u16, timestamp: u32, now: Instant) -> Source {
        // One cycle up, so that packets that arrive before the first one still have a positive number.
        let first = 0x1_0000 + u64::from(sequence);
        let floor = self.sent.sequence + 1;
        let silence = self.sent.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let ours = self.sent.timestamp.wrapping_add(clock_units(silence, self.section.clock));
        let timestamp_offset = if self.sent.at.is_some() { ours.wrapping_sub(timestamp) } else { 0 };
        Source {
            ssrc,
            first,
            highest: first,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0.0,
            transit: None,
            last_report: None,
            last_at: now,
            sequence_offset: floor as i64 - first as i64,
            floor,
            timestamp_offset,
        }
    }

    fn note_sent(&mut self, sequence: u64, timestamp: u32, bytes: usize, now: Instant) {
        self.sent.packets = self.sent.packets.wrapping_add(1);
        self.sent.octets = self.sent.octets.wrapping_add(bytes as u32);
        if sequence > self.sent.sequence {
            if self.sent.timestamp != timestamp || self.sent.at.is_none() {
                self.sent.stamped = Some(now);
            }
            self.sent.sequence = sequence;
            self.sent.timestamp = timestamp;
        }
        self.sent.at = Some(now);
    }

    fn in_clock(&self, now: Instant) -> u32 {
        clock_units(now.saturating_duration_since(self.created), self.section.clock)
    }
}

impl Source {
    /// The sequence number with its rollovers, nearest to the highest seen.
    fn extend(&self, sequence: u16) -> u64 {
        let ahead = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(i64::from(ahead))
    }

    fn count(&mut self, sequence: u16, transit: i64, now: Instant) {
        self.highest = self.highest.max(self.extend(sequence));
        self.received += 1;
        self.last_at = now;
        // RFC 3550 §A.8, on 32-bit clocks that wrap.
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit - before) as i32;
            self.jitter += (change.unsigned_abs() as f32 - self.jitter) / 16.0;
        }
    }

    fn report(&mut self, now: Instant) -> ReportBlock {
        let expected = self.highest - self.first + 1;
        let (expected_now, received_now) = (expected - self.expected_before, self.received - self.received_before);
        self.expected_before = expected;
        self.received_before = self.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let delay = |at: Instant| (now.saturating_duration_since(at).as_nanos() * 65_536 / 1_000_000_000) as u32;
        ReportBlock {
            source: self.ssrc,
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            lost: expected.saturating_sub(self.received).min(0x7f_ffff) as u32,
            highest: self.highest as u32,
            jitter: self.jitter as u32,
            last_report: self.last_report.map_or(0, |(middle, _)| middle),
            delay: self.last_report.map_or(0, |(_, at)| delay(at)),
        }
    }
}

/// Sequence number, timestamp and source of a packet of at least [`HEADER`] bytes.
pub(super) fn fields(packet: &[u8]) -> (u16, u32, u32) {
    let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    (word(0) as u16, word(4), word(8))
}

fn clock_units(span: Duration, clock: u32) -> u32 {
    (span.as_nanos() * u128::from(clock) / 1_000_000_000) as u32
}

/// NTP's 32.32 fixed point, counted from the peer's creation: reports need a steady clock, not the date.
fn ntp(since: Duration) -> u64 {
    (since.as_secs() << 32) | ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(now: Instant) -> Stream {
        let section = Section { payload_types: 1 << 111, clock: 48_000, ssrc: 5, sends: true, video: false };
        Stream::new(section, 100, now)
    }

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> [u8; 16] {
        let mut packet = [0; 16];
        packet[0] = 0x80;
        packet[1] = 111;
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        packet
    }

    /// The sequence number and timestamp under which a packet is sent on.
    fn echo(stream: &mut Stream, ssrc: u32, sequence: u16, timestamp: u32, now: Instant) -> Option<(u16, u32)> {
        let mut packet = packet(ssrc, sequence, timestamp);
        (stream.received(&packet, now) && stream.adopt(&mut packet, now)).then(|| {
            let (sequence, timestamp, ssrc) = fields(&packet);
            assert_eq!(ssrc, 5);
            (sequence, timestamp)
        })
    }

    #[test]
    fn order_and_gaps_are_kept_and_nothing_precedes_the_first() {
        let now = Instant::now();
        let mut stream = stream(now);
        assert_eq!(echo(&mut stream, 1, 65_534, 10, now), Some((101, 10)));
        assert_eq!(echo(&mut stream, 1, 1, 13, now), Some((104, 13)));
        assert_eq!(echo(&mut stream, 1, 65_535, 11, now), Some((102, 11)));
        assert_eq!(echo(&mut stream, 1, 65_533, 9, now), None);
    }

    #[test]
    fn another_source_takes_over_only_after_silence_and_never_repeats_a_number() {
        let now = Instant::now();
        let mut stream = stream(now);
        echo(&mut stream, 1, 7, 1000, now);
        assert_eq!(echo(&mut stream, 2, 500, 0, now + Duration::from_millis(499)), None);
        let later = now + Duration::from_millis(500);
        assert_eq!(echo(&mut stream, 2, 500, 0, later), Some((102, 25_000)));
        assert_eq!(echo(&mut stream, 2, 499, 0, later), None, "101 was used by the first source");
        assert_eq!(echo(&mut stream, 1, 8, 0, later), None);
        assert_eq!(stream.far_source(), Some(2));
    }

    #[test]
    fn the_report_tells_loss_and_delay() {
        let now = Instant::now();
        let mut stream = stream(now);
        for sequence in [10, 11, 13] {
            echo(&mut stream, 1, sequence, 0, now);
        }
        stream.sender_report(1, 0xabcd, now);
        let block = stream.report_block(now + Duration::from_secs(1)).expect("a source");
        assert_eq!((block.source, block.lost, block.fraction_lost), (1, 1, 64));
        assert_eq!((block.last_report, block.delay), (0xabcd, 65_536));
        assert_eq!(stream.report_block(now).map(|block| block.fraction_lost), Some(0));
    }

    #[test]
    fn the_sender_report_extrapolates_the_clock() {
        let now = Instant::now();
        let mut stream = stream(now);
        assert_eq!(stream.sender_info(now), None);
        echo(&mut stream, 1, 1, 960, now);
        let info = stream.sender_info(now + Duration::from_millis(500)).expect("sent");
        assert_eq!(info, SenderInfo { ntp: 1 << 31, timestamp: 960 + 24_000, packets: 1, octets: 4 });
    }
}
