//! Follows WebSocket frame headers (RFC 6455 §5.2) in a byte stream, to know when the stream is between two frames.
//!
//! Pure. The tunnel feeds it everything that goes to the browser; it looks at headers alone and skips payloads unread.

/// 2 bytes, an extended length of up to 8, a mask of 4.
const LONGEST_HEADER: usize = 14;
const OPCODE_CLOSE: u8 = 8;

/// Where a stream of frames stands.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct FrameFollower {
    header: [u8; LONGEST_HEADER],
    header_len: u8,
    payload_left: u64,
    closed: bool,
}

impl FrameFollower {
    /// The next bytes of the stream.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len() as u64);
                self.payload_left -= skipped;
                bytes = &bytes[skipped as usize..];
            } else {
                self.header_byte(*first);
                bytes = rest;
            }
        }
    }

    /// True if a control frame may stand here.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    /// True once a close frame has begun: nothing may follow it (RFC 6455 §5.5.1).
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn header_byte(&mut self, byte: u8) {
        self.header[usize::from(self.header_len)] = byte;
        self.header_len += 1;
        if let Some(payload) = self.complete_header() {
            self.closed |= self.header[0] & 0x0f == OPCODE_CLOSE;
            self.payload_left = payload;
            self.header_len = 0;
        }
    }

    /// The payload's length, once the header is whole.
    fn complete_header(&self) -> Option<u64> {
        let header = &self.header[..usize::from(self.header_len)];
        let second = *header.get(1)?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if header.len() < 2 + extended + mask {
            return None;
        }
        Some(match extended {
            0 => u64::from(second & 0x7f),
            _ => header[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        })
    }
}

/// An unmasked close frame, as a server sends it. A control frame holds at most 125 bytes: a longer reason is cut.
pub(crate) fn close_frame(code: u16, reason: &'static str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let mut frame = vec![0x80 | OPCODE_CLOSE, 2 + reason.len() as u8];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..=125 => bytes.push(mask_bit | length as u8),
            126..=0xffff => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0xaa; 4][..if masked { 4 } else { 0 }]);
        bytes.resize(bytes.len() + length, 0x88);
        bytes
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let length = prop_oneof![0..200_usize, 120..130_usize, 65_530..65_540_usize];
        prop::collection::vec((0..3_u8, any::<bool>(), length).prop_map(|(o, m, l)| frame(o, m, l)), 1..6)
    }

    proptest! {
        #[test]
        fn it_is_between_frames_exactly_at_their_ends(frames in frames(), cuts in prop::collection::vec(1..3000_usize, 1..40)) {
            let stream = frames.concat();
            let ends: Vec<usize> = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let mut follower = FrameFollower::default();
            let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
            while at < stream.len() {
                let next = stream.len().min(at + cuts.next().expect("a cycle"));
                follower.feed(&stream[at..next]);
                at = next;
                prop_assert_eq!(follower.is_between_frames(), ends.contains(&at));
            }
            prop_assert!(!follower.is_closed());
        }

        #[test]
        fn any_bytes_in_any_chunks_end_in_the_same_state(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..300_usize) {
            let cut = cut.min(bytes.len());
            let (mut whole, mut parts) = (FrameFollower::default(), FrameFollower::default());
            whole.feed(&bytes);
            parts.feed(&bytes[..cut]);
            parts.feed(&bytes[cut..]);
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn a_close_frame_is_recognised() {
        let mut follower = FrameFollower::default();
        follower.feed(&frame(1, false, 5));
        assert!(!follower.is_closed());
        follower.feed(&close_frame(4503, "gone"));
        assert!(follower.is_closed() && follower.is_between_frames());
    }
}
