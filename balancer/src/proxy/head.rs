//! Watches the raw bytes of a client's connection for what a lenient HTTP parser would repair in silence: a line of a
//! request's head that ends in a bare LF, and a Content-Length beside a Transfer-Encoding (RFC 9112 §2.2, §6.1).
//!
//! Pure. It follows heads and bodies just far enough to know where the next head begins. It refuses, and never repairs:
//! what it lets pass is parsed again, strictly, by hyper, so that being fooled here costs a refusal and no safety.

use std::io::BufRead;

/// As much of a line as is kept when it arrives in pieces; names and values that matter are shorter.
const KEPT_LINE: usize = 256;

/// What a client did that no proxy may repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawFault {
    /// A line of the head does not end in CR LF.
    BareLf,
    /// Content-Length and Transfer-Encoding in one head.
    LengthAndEncoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the request line, where empty lines are skipped.
    Start,
    /// After the request line.
    Fields,
    /// So many bytes of a body.
    Body(u64),
    /// In the line with a chunk's size.
    ChunkSize { size: u64, digits: bool },
    /// So many bytes of a chunk and its line end.
    Chunk(u64),
    /// In the lines after the last chunk.
    Trailers,
    /// Not HTTP any more, or refused: nothing is looked at.
    Pass,
}

/// The watcher of one connection.
#[derive(Debug)]
pub(crate) struct HeadGuard {
    state: State,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    line_ends_in_cr: bool,
    length: Option<u64>,
    encoding: bool,
    upgrade: bool,
    heads: u64,
    fault: Option<(u64, RawFault)>,
}

impl Default for HeadGuard {
    fn default() -> Self {
        Self {
            state: State::Start,
            line: Vec::new(),
            line_ends_in_cr: false,
            length: None,
            encoding: false,
            upgrade: false,
            heads: 0,
            fault: None,
        }
    }
}

impl HeadGuard {
    /// The next bytes of the connection.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Start | State::Fields | State::Trailers => self.in_lines(bytes),
                State::Body(left) => self.in_body(left, bytes),
                State::ChunkSize { size, digits } => self.in_chunk_size(size, digits, bytes),
                State::Chunk(left) => self.in_chunk(left, bytes),
                State::Pass => return,
            };
        }
    }

    /// The fault of the connection's `index`th request, counted from 1.
    pub(crate) fn fault_of(&self, index: u64) -> Option<RawFault> {
        self.fault.filter(|(at, _)| *at == index).map(|(_, fault)| fault)
    }

    /// Complete heads so far.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// True if a head has begun and is not complete.
    pub(crate) fn is_in_head(&self) -> bool {
        self.state == State::Fields || !self.line.is_empty()
    }

    fn in_lines<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        let length = rest.skip_until(b'\n').unwrap_or(bytes.len());
        let piece = &bytes[..length];
        match piece.strip_suffix(b"\n") {
            None => self.keep(piece),
            Some(end) if self.line.is_empty() => self.line(end, end.ends_with(b"\r")),
            Some(end) => {
                self.keep(end);
                let line = std::mem::take(&mut self.line);
                self.line(&line, self.line_ends_in_cr);
            }
        }
        &bytes[length..]
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = KEPT_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        if let Some(last) = piece.last() {
            self.line_ends_in_cr = *last == b'\r';
        }
    }

    /// A line, or as much of it as is kept, without its LF.
    fn line(&mut self, line: &[u8], ends_in_cr: bool) {
        if !ends_in_cr {
            return self.refuse(RawFault::BareLf);
        }
        match (self.state, line == b"\r") {
            (State::Start, true) => {}
            (State::Start, false) => self.state = State::Fields,
            (State::Fields, true) => self.end_of_head(),
            (State::Fields, false) => self.field(line),
            (State::Trailers, true) => self.state = State::Start,
            _ => {}
        }
    }

    fn field(&mut self, line: &[u8]) {
        if let Some(value) = value_of(line, b"content-length:") {
            self.length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()).or(self.length);
            self.fault_if(self.encoding);
            self.length.get_or_insert(0);
        } else if value_of(line, b"transfer-encoding:").is_some() {
            self.encoding = true;
            self.fault_if(self.length.is_some());
        } else if value_of(line, b"upgrade:").is_some() {
            self.upgrade = true;
        }
    }

    fn fault_if(&mut self, both: bool) {
        if both {
            self.refuse(RawFault::LengthAndEncoding);
        }
    }

    /// The head that is being read is the one to refuse; nothing behind it will be served.
    fn refuse(&mut self, fault: RawFault) {
        self.fault = Some((self.heads + 1, fault));
        self.state = State::Pass;
    }

    fn end_of_head(&mut self) {
        self.heads += 1;
        let length = self.length.take().unwrap_or(0);
        let (encoding, upgrade) = (std::mem::take(&mut self.encoding), std::mem::take(&mut self.upgrade));
        self.state = if upgrade {
            State::Pass
        } else if encoding {
            State::ChunkSize { size: 0, digits: true }
        } else if length > 0 {
            State::Body(length)
        } else {
            State::Start
        };
    }

    fn in_body<'a>(&mut self, left: u64, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = left.min(bytes.len() as u64);
        self.state = if skipped == left { State::Start } else { State::Body(left - skipped) };
        &bytes[skipped as usize..]
    }

    fn in_chunk<'a>(&mut self, left: u64, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = left.min(bytes.len() as u64);
        self.state =
            if skipped == left { State::ChunkSize { size: 0, digits: true } } else { State::Chunk(left - skipped) };
        &bytes[skipped as usize..]
    }

    fn in_chunk_size<'a>(&mut self, size: u64, digits: bool, bytes: &'a [u8]) -> &'a [u8] {
        let digit = char::from(bytes[0]).to_digit(16);
        self.state = match (bytes[0], digit) {
            (b'\n', _) if size == 0 => State::Trailers,
            (b'\n', _) => State::Chunk(size.saturating_add(2)),
            (_, Some(digit)) if digits => {
                State::ChunkSize { size: size.saturating_mul(16).saturating_add(u64::from(digit)), digits }
            }
            _ => State::ChunkSize { size, digits: false },
        };
        &bytes[1..]
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = line.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watched(pieces: &[&[u8]]) -> HeadGuard {
        let mut guard = HeadGuard::default();
        pieces.iter().for_each(|piece| guard.feed(piece));
        guard
    }

    #[test]
    fn length_beside_encoding_is_a_fault_in_either_order() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: x\r\nTRANSFER-ENCODING:chunked\r\n\r\n",
        ] {
            assert_eq!(watched(&[head.as_bytes()]).fault_of(1), Some(RawFault::LengthAndEncoding), "{head}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_a_fault_wherever_it_stands_in_a_head() {
        for head in
            ["GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\n"]
        {
            assert_eq!(watched(&[head.as_bytes()]).fault_of(1), Some(RawFault::BareLf), "{head}");
        }
    }

    #[test]
    fn bodies_are_skipped_and_the_next_head_is_watched() {
        let first = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\nb\n";
        let second = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0\r\nT: 1\r\n\r\n";
        let third = b"GET / HTTP/1.1\nHost: a\r\n\r\n";
        let guard = watched(&[first, second, third]);
        assert_eq!(guard.heads(), 2);
        assert_eq!((guard.fault_of(1), guard.fault_of(2), guard.fault_of(3)), (None, None, Some(RawFault::BareLf)));
    }

    #[test]
    fn after_an_upgrade_nothing_is_watched() {
        let guard = watched(&[b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"\x81\x01\n\n"]);
        assert_eq!((guard.heads(), guard.fault_of(2)), (1, None));
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            Just(b"POST / HTTP/1.1\r\ncontent-length: 7\r\n\r\n1234567".to_vec()),
            Just(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n".to_vec()),
            Just(b"GET / HTTP/1.1\r\nX: y\n\r\n".to_vec()),
            Just([b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'y'; 600], b"\r\n\r\n".to_vec()].concat()),
            Just(b"POST / HTTP/1.1\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_chunks_give_the_same_verdict(pieces in prop::collection::vec(piece(), 1..6), size in 1..50_usize) {
            let stream = pieces.concat();
            let (mut whole, mut parts) = (HeadGuard::default(), HeadGuard::default());
            whole.feed(&stream);
            stream.chunks(size).for_each(|chunk| parts.feed(chunk));
            prop_assert_eq!((whole.heads, whole.fault, whole.state), (parts.heads, parts.fault, parts.state));
        }
    }
}
