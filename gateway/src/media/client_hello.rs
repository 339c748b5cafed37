//! Finds out which SRTP profiles a DTLS client offers before the DTLS endpoint sees its ClientHello.
//!
//! The endpoint takes the client's first profile that it knows, and browsers list the costlier ones first. So the
//! endpoint is given a configuration with one profile, the cheapest that the client lists; that takes reading the
//! ClientHello, which may come in several fragments and datagrams.

/// Longest ClientHello that is reassembled. Post-quantum ones have some 1.5 KiB.
const MAX_HELLO: usize = 8 * 1024;

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;
const AEAD_AES_128_GCM: u16 = 0x0007;
const AEAD_AES_256_GCM: u16 = 0x0008;

/// What is known of the ClientHello after a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    /// The datagram holds no part of one.
    Foreign,
    /// Fragments are missing.
    Partial,
    /// It lists AES-128-GCM.
    Gcm128,
    /// Of the GCM profiles it lists AES-256 alone.
    Gcm256,
    /// It lists no GCM, or no SRTP at all.
    NoGcm,
}

/// Collects the fragments of the first ClientHello.
#[derive(Debug, Default)]
pub(super) struct HelloReader {
    body: Vec<u8>,
    present: Vec<bool>,
}

impl HelloReader {
    /// Reads one datagram.
    pub(super) fn read(&mut self, datagram: &[u8]) -> Hello {
        let mut rest = datagram;
        let mut taken = false;
        while let Some((record, next)) = split_record(rest) {
            taken |= self.record(record);
            rest = next;
        }
        if !taken {
            return Hello::Foreign;
        }
        if self.present.is_empty() || self.present.contains(&false) {
            return Hello::Partial;
        }
        let listed = profiles(&self.body).unwrap_or_default();
        match (listed.contains(&AEAD_AES_128_GCM), listed.contains(&AEAD_AES_256_GCM)) {
            (true, _) => Hello::Gcm128,
            (false, true) => Hello::Gcm256,
            (false, false) => Hello::NoGcm,
        }
    }

    /// Takes the fragments of a record; false when it has none.
    fn record(&mut self, record: &[u8]) -> bool {
        let mut taken = false;
        let is_plain_handshake = record[0] == CONTENT_HANDSHAKE && record[3..5] == [0, 0];
        let mut rest = &record[RECORD_HEADER..];
        while is_plain_handshake && rest.len() >= HANDSHAKE_HEADER {
            let length = u24(&rest[1..]);
            let (offset, fragment) = (u24(&rest[6..]), u24(&rest[9..]));
            let Some(bytes) = rest.get(HANDSHAKE_HEADER..HANDSHAKE_HEADER + fragment) else { break };
            taken |= rest[0] == CLIENT_HELLO && self.fragment(length, offset, bytes);
            rest = &rest[HANDSHAKE_HEADER + fragment..];
        }
        taken
    }

    fn fragment(&mut self, length: usize, offset: usize, bytes: &[u8]) -> bool {
        if self.present.is_empty() && (1..=MAX_HELLO).contains(&length) {
            self.body = vec![0; length];
            self.present = vec![false; length];
        }
        let range = offset..offset + bytes.len();
        let fits = length > 0 && length == self.body.len() && range.end <= length;
        if fits {
            self.body[range.clone()].copy_from_slice(bytes);
            self.present[range].fill(true);
        }
        fits
    }
}

fn split_record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*datagram.get(11)?, *datagram.get(12)?]));
    datagram.split_at_checked(RECORD_HEADER + length)
}

fn u24(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

/// The protection profiles of the use_srtp extension (RFC 5764 §4.1.1).
fn profiles(hello: &[u8]) -> Option<Vec<u16>> {
    let mut rest = hello.get(34..)?; // version, random
    for length_bytes in [1, 1, 2, 1] {
        // session id, cookie, cipher suites, compression methods
        rest = take(rest, length_bytes)?.1;
    }
    let (mut extensions, _) = take(rest, 2)?;
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes([*extensions.first()?, *extensions.get(1)?]);
        let (value, next) = take(&extensions[2..], 2)?;
        if kind == USE_SRTP {
            let (list, _) = take(value, 2)?;
            return Some(list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect());
        }
        extensions = next;
    }
    None
}

/// Splits off a vector whose length stands before it in `length_bytes` bytes.
fn take(data: &[u8], length_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(profiles: &[u16]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([7; 32]);
        body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let list: Vec<u8> = profiles.iter().flat_map(|one| one.to_be_bytes()).collect();
        let mut srtp = vec![0, 23, 0, 0, 0, 14];
        srtp.extend((list.len() as u16 + 3).to_be_bytes());
        srtp.extend((list.len() as u16).to_be_bytes());
        srtp.extend(&list);
        srtp.push(0);
        body.extend((srtp.len() as u16).to_be_bytes());
        body.extend(srtp);
        body
    }

    fn record(body: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
        let fragment = &body[range.clone()];
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, range.start as u8];
        datagram.extend((fragment.len() as u16 + 12).to_be_bytes());
        datagram.push(1);
        datagram.extend(&(body.len() as u32).to_be_bytes()[1..]);
        datagram.extend([0, 0]);
        datagram.extend(&(range.start as u32).to_be_bytes()[1..]);
        datagram.extend(&(fragment.len() as u32).to_be_bytes()[1..]);
        datagram.extend(fragment);
        datagram
    }

    #[test]
    fn a_whole_hello_is_read_at_once() {
        for (profiles, expected) in
            [(&[1, 8, 7][..], Hello::Gcm128), (&[8, 1], Hello::Gcm256), (&[1, 2], Hello::NoGcm), (&[], Hello::NoGcm)]
        {
            let body = hello(profiles);
            assert_eq!(HelloReader::default().read(&record(&body, 0..body.len())), expected);
        }
    }

    #[test]
    fn two_fragments_in_any_order_make_a_hello() {
        let body = hello(&[1, 7]);
        let (first, second) = (record(&body, 0..20), record(&body, 20..body.len()));
        for order in [[&first, &second], [&second, &first]] {
            let mut reader = HelloReader::default();
            assert_eq!(reader.read(order[0]), Hello::Partial);
            assert_eq!(reader.read(order[1]), Hello::Gcm128);
        }
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&[first, second].concat()), Hello::Gcm128);
    }

    #[test]
    fn garbage_is_foreign() {
        let body = hello(&[7]);
        let good = record(&body, 0..body.len());
        for cut in 0..good.len() {
            assert_eq!(HelloReader::default().read(&good[..cut]), Hello::Foreign);
        }
        assert_eq!(HelloReader::default().read(&[22; 200]), Hello::Foreign);
    }
}
