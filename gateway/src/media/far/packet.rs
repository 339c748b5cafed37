//! Looking into RTP packets (RFC 3550 §5.1) and making them plain: no contributing sources, no header extension.

use crate::media::rtp::HEADER;
use std::ops::Range;

/// Where the payload of a packet lies, without padding; `None` when the packet is malformed.
pub(super) fn payload(packet: &[u8]) -> Option<Range<usize>> {
    let start = header_len(packet)?;
    let padding = if packet[0] & 0x20 == 0 { 0 } else { usize::from(*packet.last()?) };
    let end = packet.len().checked_sub(padding)?;
    (start <= end).then_some(start..end)
}

/// Removes contributing sources, header extension and padding in place and returns what is left; `None` when the packet
/// is malformed.
pub(super) fn plain(packet: &mut [u8]) -> Option<&mut [u8]> {
    if packet.len() >= HEADER && packet[0] == 0x80 {
        return Some(packet);
    }
    let payload = payload(packet)?;
    let len = payload.len();
    packet.copy_within(payload, HEADER);
    packet[0] = 0x80;
    Some(&mut packet[..HEADER + len])
}

fn header_len(packet: &[u8]) -> Option<usize> {
    if packet.len() < HEADER || packet[0] >> 6 != 2 {
        return None;
    }
    let sources = HEADER + 4 * usize::from(packet[0] & 0x0f);
    if packet[0] & 0x10 == 0 {
        return Some(sources);
    }
    let words = packet.get(sources + 2..sources + 4)?;
    Some(sources + 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(first: u8) -> Vec<u8> {
        let mut packet = vec![first, 0, 0, 1];
        packet.extend([7; 8]);
        packet
    }

    #[test]
    fn everything_but_the_payload_goes() {
        let mut packet = header(0xb2);
        packet.extend([1; 8]); // two contributing sources
        packet.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        packet.extend(b"sound");
        packet.extend([0, 0, 3]);
        let plain = plain(&mut packet).expect("well-formed");
        assert_eq!((plain[0], &plain[HEADER..]), (0x80, &b"sound"[..]));
    }

    #[test]
    fn malformed_packets_are_none() {
        let mut long_extension = header(0x90);
        long_extension.extend([0xbe, 0xde, 0xff, 0xff, 0]);
        let mut long_padding = header(0xa0);
        long_padding.extend([0, 14]);
        for mut packet in
            [vec![], vec![0x80; 11], header(0x40), header(0x8f), header(0x90), long_extension, long_padding]
        {
            assert!(plain(&mut packet).is_none(), "{packet:?}");
        }
        assert_eq!(plain(&mut header(0x80)).map(|packet| packet.len()), Some(HEADER));
    }
}
