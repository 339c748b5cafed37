//! The few RTCP packets that are written and read here (RFC 3550 §6, RFC 4585 §6.3): reports, names, keyframe requests.

use bytes::{BufMut, BytesMut};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;
const CNAME_ITEM: u8 = 1;

/// How well a source is received (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReportBlock {
    pub(super) source: u32,
    pub(super) fraction_lost: u8,
    pub(super) lost: u32,
    pub(super) highest: u32,
    pub(super) jitter: u32,
    /// Middle 32 bits of the NTP time in its last sender report; 0 without one.
    pub(super) last_report: u32,
    /// Since that report, in 1/65536 s.
    pub(super) delay: u32,
}

/// What a source has sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SenderInfo {
    pub(super) ntp: u64,
    pub(super) timestamp: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

/// Appends a sender report, or a receiver report when nothing was sent.
pub(super) fn put_report(out: &mut BytesMut, source: u32, sent: Option<SenderInfo>, block: Option<ReportBlock>) {
    let kind = if sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    let words = 1 + if sent.is_some() { 5 } else { 0 } + if block.is_some() { 6 } else { 0 };
    put_header(out, u8::from(block.is_some()), kind, words);
    out.put_u32(source);
    if let Some(sent) = sent {
        out.put_u64(sent.ntp);
        out.put_u32(sent.timestamp);
        out.put_u32(sent.packets);
        out.put_u32(sent.octets);
    }
    if let Some(block) = block {
        out.put_u32(block.source);
        out.put_u32(u32::from(block.fraction_lost) << 24 | (block.lost & 0x00ff_ffff));
        out.put_u32(block.highest);
        out.put_u32(block.jitter);
        out.put_u32(block.last_report);
        out.put_u32(block.delay);
    }
}

/// Appends the canonical name of a source.
pub(super) fn put_cname(out: &mut BytesMut, source: u32, cname: &str) {
    let item = 2 + cname.len();
    let padded = (item + 1).next_multiple_of(4);
    put_header(out, 1, SOURCE_DESCRIPTION, (1 + padded / 4) as u16);
    out.put_u32(source);
    out.put_u8(CNAME_ITEM);
    out.put_u8(cname.len() as u8);
    out.put_slice(cname.as_bytes());
    out.put_bytes(0, padded - item);
}

/// Appends a picture loss indication: `media` is to send a keyframe.
pub(super) fn put_picture_loss(out: &mut BytesMut, source: u32, media: u32) {
    put_header(out, PICTURE_LOSS, PAYLOAD_FEEDBACK, 2);
    out.put_u32(source);
    out.put_u32(media);
}

pub(super) fn put_header(out: &mut BytesMut, count: u8, kind: u8, words: u16) {
    out.put_u8(0x80 | count);
    out.put_u8(kind);
    out.put_u16(words);
}

/// A part of a compound packet that something must be done about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A source reported; the middle 32 bits of its NTP time.
    SenderReport { source: u32, ntp_middle: u32 },
    /// A keyframe of our source is wanted.
    KeyframeWanted { media: u32 },
}

/// Reads the parts of a decrypted compound packet; malformed rest is skipped.
pub(super) fn parts(packet: &[u8]) -> impl Iterator<Item = Part> {
    packets(packet).filter_map(part)
}

/// The packets of a compound one, each of at least its 4 bytes of header.
pub(super) fn packets(mut compound: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = 4 * (1 + usize::from(u16::from_be_bytes([*compound.get(2)?, *compound.get(3)?])));
        let (one, rest) = compound.split_at_checked(length)?;
        compound = rest;
        Some(one)
    })
}

fn part(packet: &[u8]) -> Option<Part> {
    match (packet[1], packet[0] & 0x1f) {
        (SENDER_REPORT, _) => Some(Part::SenderReport { source: u32_at(packet, 4)?, ntp_middle: u32_at(packet, 10)? }),
        (PAYLOAD_FEEDBACK, PICTURE_LOSS) => Some(Part::KeyframeWanted { media: u32_at(packet, 8)? }),
        // A full intra request names its media source in its first entry (RFC 5104 §4.3.1).
        (PAYLOAD_FEEDBACK, FULL_INTRA) => Some(Part::KeyframeWanted { media: u32_at(packet, 12)? }),
        _ => None,
    }
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compound_packet_has_whole_words_and_is_read_back() {
        let mut out = BytesMut::new();
        let sent = SenderInfo { ntp: 0x0000_0001_8000_0000, timestamp: 3, packets: 4, octets: 5 };
        put_report(&mut out, 7, Some(sent), None);
        for name in ["", "a", "ab", "abc", "abcd"] {
            put_cname(&mut out, 7, name);
        }
        put_picture_loss(&mut out, 7, 9);
        assert_eq!(
            parts(&out).collect::<Vec<_>>(),
            [Part::SenderReport { source: 7, ntp_middle: 0x0001_8000 }, Part::KeyframeWanted { media: 9 }]
        );
    }

    #[test]
    fn garbage_has_no_parts() {
        for packet in [&[][..], &[0x80], &[0x80, 200, 0xff, 0xff, 1, 2, 3, 4], &[0x81, 206, 0, 0]] {
            assert_eq!(parts(packet).count(), 0);
        }
    }
}
