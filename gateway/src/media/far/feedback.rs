//! RTCP feedback for video, carried from one leg to the other with the names and numbers of that leg (RFC 4585, RFC 5104).

use super::relay::Relay;
use crate::media::rtcp::{self, PAYLOAD_FEEDBACK, TRANSPORT_FEEDBACK, put_header};
use bytes::{BufMut, BytesMut};
use gateway_core::sdp;

const NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;
const APPLICATION: u8 = 15;
/// Lost packets asked for at once: 16 groups of 17.
const MAX_GROUPS: usize = 16;

/// What the receiver of video wants of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// A picture that needs no other.
    Keyframe,
    /// These packets again: groups of a number and a mask of the 16 after it.
    Packets(&'a [u8]),
    /// No more than this bitrate, as exponent and mantissa.
    Bitrate([u8; 3]),
}

/// Reads what a compound packet wants.
pub(super) fn wanted(compound: &[u8]) -> impl Iterator<Item = Wanted<'_>> {
    rtcp::packets(compound).filter_map(|packet| match (packet[1], packet[0] & 0x1f) {
        (TRANSPORT_FEEDBACK, NACK) => Some(Wanted::Packets(packet.get(12..)?)),
        (PAYLOAD_FEEDBACK, PICTURE_LOSS | FULL_INTRA) => Some(Wanted::Keyframe),
        (PAYLOAD_FEEDBACK, APPLICATION) if packet.get(12..16)? == b"REMB" => {
            Some(Wanted::Bitrate([*packet.get(17)?, *packet.get(18)?, *packet.get(19)?]))
        }
        _ => None,
    })
}

/// How a leg names things.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Our source on the leg to the video's sender.
    pub(super) ours: u32,
    /// The sender's.
    pub(super) theirs: u32,
    /// What that sender understands.
    pub(super) feedback: sdp::Feedback,
}

/// Appends what is wanted in the names of the sender's leg. `relay` carried its packets to whoever wants this.
pub(super) fn put(out: &mut BytesMut, wanted: Wanted<'_>, names: Names, relay: &Relay, intra_number: &mut u8) {
    match wanted {
        // Who named no feedback at all is still asked: an unknown packet does no harm, a frozen picture does.
        Wanted::Keyframe if names.feedback.fir && !names.feedback.pli => put_full_intra(out, names, intra_number),
        Wanted::Keyframe => rtcp::put_picture_loss(out, names.ours, names.theirs),
        Wanted::Packets(groups) if names.feedback.nack => put_nack(out, groups, names, relay),
        Wanted::Bitrate(rate) if names.feedback.remb => put_bitrate(out, rate, names),
        Wanted::Packets(_) | Wanted::Bitrate(_) => {}
    }
}

fn put_full_intra(out: &mut BytesMut, names: Names, number: &mut u8) {
    *number = number.wrapping_add(1);
    put_header(out, FULL_INTRA, PAYLOAD_FEEDBACK, 4);
    out.put_u32(names.ours);
    out.put_u32(0);
    out.put_u32(names.theirs);
    out.put_slice(&[*number, 0, 0, 0]);
}

fn put_nack(out: &mut BytesMut, groups: &[u8], names: Names, relay: &Relay) {
    let translated = groups.chunks_exact(4).take(MAX_GROUPS).filter_map(|group| {
        let (_, number) = relay.original(u16::from_be_bytes([group[0], group[1]]))?;
        let [high, low] = number.to_be_bytes();
        Some([high, low, group[2], group[3]])
    });
    let groups: Vec<[u8; 4]> = translated.collect();
    if !groups.is_empty() {
        put_header(out, NACK, TRANSPORT_FEEDBACK, 2 + groups.len() as u16);
        out.put_u32(names.ours);
        out.put_u32(names.theirs);
        groups.iter().for_each(|group| out.put_slice(group));
    }
}

fn put_bitrate(out: &mut BytesMut, rate: [u8; 3], names: Names) {
    put_header(out, APPLICATION, PAYLOAD_FEEDBACK, 5);
    out.put_u32(names.ours);
    out.put_u32(0);
    out.put_slice(b"REMB");
    out.put_u8(1);
    out.put_slice(&rate);
    out.put_u32(names.theirs);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::{Section, Stream};
    use std::time::Instant;

    fn names(feedback: sdp::Feedback) -> Names {
        Names { ours: 5, theirs: 9, feedback }
    }

    const ALL: sdp::Feedback = sdp::Feedback { nack: true, pli: true, fir: true, remb: true };

    /// A relay that made number 101 of the source's 7.
    fn relay() -> Relay {
        let now = Instant::now();
        let mut to =
            Stream::new(Section { payload_types: 0, clock: 90_000, ssrc: 5, sends: true, video: true }, 100, now);
        let mut relay = Relay::default();
        let mut packet = [0x80, 96, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9];
        assert!(relay.pass(&mut packet, &mut to, (90_000, 90_000), now));
        relay
    }

    fn translated(wanted: Wanted<'_>, feedback: sdp::Feedback) -> BytesMut {
        let mut out = BytesMut::new();
        put(&mut out, wanted, names(feedback), &relay(), &mut 0);
        out
    }

    #[test]
    fn everything_wanted_is_read_back_in_the_other_legs_names() {
        let packet = translated(Wanted::Packets(&[0, 101, 0, 0]), ALL);
        assert_eq!(packet[4..], [0, 0, 0, 5, 0, 0, 0, 9, 0, 7, 0, 0]);
        let packet = translated(Wanted::Bitrate([0x0b, 1, 2]), ALL);
        assert_eq!(wanted(&packet).collect::<Vec<_>>(), [Wanted::Bitrate([0x0b, 1, 2])]);
        assert_eq!(packet[20..], [0, 0, 0, 9]);
        for feedback in [ALL, sdp::Feedback::default(), sdp::Feedback { fir: true, ..sdp::Feedback::default() }] {
            let packet = translated(Wanted::Keyframe, feedback);
            assert_eq!(rtcp::parts(&packet).collect::<Vec<_>>(), [rtcp::Part::KeyframeWanted { media: 9 }]);
        }
    }

    #[test]
    fn what_the_sender_does_not_understand_is_not_asked() {
        let none = sdp::Feedback::default();
        assert!(translated(Wanted::Packets(&[0, 101, 0, 0]), none).is_empty());
        assert!(translated(Wanted::Bitrate([1, 2, 3]), none).is_empty());
        assert!(translated(Wanted::Packets(&[0, 200, 0, 0]), ALL).is_empty(), "never sent");
    }

    #[test]
    fn garbage_wants_nothing() {
        for packet in
            [&[0x81, 205, 0, 1, 0, 0, 0, 0][..], &[0x8f, 206, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, b'R', b'E', b'M', b'C']]
        {
            assert_eq!(wanted(packet).count(), 0);
        }
    }
}
