//! STUN binding requests and their answers, as far as an ICE-lite responder needs them (RFC 8489, RFC 8445 §7.3).
//! Parsing borrows the datagram and allocates nothing.

use bytes::{BufMut, BytesMut};
use rtc::crypto::{HmacAlgorithm, RTCCrypto};
use rtc::stun::fingerprint::fingerprint_value;
use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;

const INTEGRITY_BYTES: usize = 20;

/// 96 random bits that pair a response with its request.
pub(super) type Transaction = [u8; 12];

/// A well-formed binding request whose FINGERPRINT holds; [`Request::verify`] proves who sent it.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) transaction: Transaction,
    /// The answerer's half of USERNAME: our own user fragment.
    pub(super) local_ufrag: &'a str,
    /// The offerer's half of USERNAME.
    pub(super) remote_ufrag: &'a str,
    pub(super) use_candidate: bool,
    /// The sender believes that it is controlled, as we are.
    pub(super) controlled: bool,
    datagram: &'a [u8],
    integrity_at: usize,
}

/// Whether this is neither DTLS nor RTP but STUN (RFC 7983).
pub(super) fn looks_like(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && datagram[0] < 4 && datagram[4..8] == MAGIC_COOKIE
}

impl<'a> Request<'a> {
    /// Reads a binding request; `None` when it is anything else. Attributes behind MESSAGE-INTEGRITY are not
    /// authenticated, so all but FINGERPRINT are ignored there (RFC 8489 §14.5).
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        if !looks_like(datagram) || u16_at(datagram, 0)? != BINDING_REQUEST {
            return None;
        }
        if usize::from(u16_at(datagram, 2)?) + HEADER != datagram.len() {
            return None;
        }
        let mut username = None;
        let mut integrity_at = None;
        let mut fingerprint = None;
        let (mut use_candidate, mut controlled) = (false, false);
        for attribute in Attributes(datagram, HEADER) {
            let (kind, at, value) = attribute?;
            match kind {
                FINGERPRINT => fingerprint = Some((at, value)),
                _ if integrity_at.is_some() => {}
                MESSAGE_INTEGRITY if value.len() == INTEGRITY_BYTES => integrity_at = Some(at),
                USERNAME => username = std::str::from_utf8(value).ok(),
                USE_CANDIDATE => use_candidate = true,
                ICE_CONTROLLED => controlled = true,
                _ => {}
            }
        }
        let (at, value) = fingerprint?;
        if value != fingerprint_value(&datagram[..at]).to_be_bytes() {
            return None;
        }
        let (local_ufrag, remote_ufrag) = username?.split_once(':')?;
        Some(Self {
            transaction: datagram[8..HEADER].try_into().ok()?,
            local_ufrag,
            remote_ufrag,
            use_candidate,
            controlled,
            datagram,
            integrity_at: integrity_at?,
        })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`.
    pub(super) fn verify(&self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        let covered = &self.datagram[..self.integrity_at];
        let tag = &self.datagram[self.integrity_at + 4..self.integrity_at + 4 + INTEGRITY_BYTES];
        // The length field counts up to and with MESSAGE-INTEGRITY, whatever follows it (RFC 8489 §14.5).
        let length = ((self.integrity_at - HEADER + 4 + INTEGRITY_BYTES) as u16).to_be_bytes();
        crypto
            .new_hmac(HmacAlgorithm::Sha1, password.as_bytes())
            .and_then(|mut mac| mac.verify(&[&covered[..2], &length, &covered[4..]], tag))
            .is_ok()
    }

    /// The success response, telling the sender its address.
    pub(super) fn success(&self, from: SocketAddr, password: &str, crypto: &dyn RTCCrypto) -> Option<BytesMut> {
        let mut message = Response::new(BINDING_SUCCESS, &self.transaction);
        message.xor_mapped_address(from);
        message.finish(password, crypto)
    }

    /// The response "role conflict" (RFC 8445 §7.3.1.1): a lite agent stays controlled.
    pub(super) fn role_conflict(&self, password: &str, crypto: &dyn RTCCrypto) -> Option<BytesMut> {
        let mut message = Response::new(BINDING_ERROR, &self.transaction);
        message.attribute(ERROR_CODE, b"\0\0\x04\x57Role Conflict");
        message.finish(password, crypto)
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

/// Walks the attributes: kind, offset of its header, value. Yields `None` once when they are malformed.
struct Attributes<'a>(&'a [u8], usize);

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(u16, usize, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self(data, at) = *self;
        if at >= data.len() {
            return None;
        }
        let one = u16_at(data, at).zip(u16_at(data, at + 2)).and_then(|(kind, length)| {
            let value = data.get(at + 4..at + 4 + usize::from(length))?;
            Some((kind, at, value))
        });
        self.1 = one.map_or(data.len(), |(_, _, value)| at + 4 + value.len().next_multiple_of(4));
        Some(one)
    }
}

struct Response(BytesMut);

impl Response {
    fn new(kind: u16, transaction: &Transaction) -> Self {
        let mut message = BytesMut::with_capacity(96);
        message.put_u16(kind);
        message.put_u16(0);
        message.put_slice(&MAGIC_COOKIE);
        message.put_slice(transaction);
        Self(message)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.put_u16(kind);
        self.0.put_u16(value.len() as u16);
        self.0.put_slice(value);
        self.0.put_bytes(0, value.len().next_multiple_of(4) - value.len());
        self.set_length(self.0.len());
    }

    fn set_length(&mut self, total: usize) {
        self.0[2..4].copy_from_slice(&((total - HEADER) as u16).to_be_bytes());
    }

    fn xor_mapped_address(&mut self, address: SocketAddr) {
        let mut value = Vec::with_capacity(20);
        value.put_u8(0);
        value.put_u8(if address.is_ipv4() { 1 } else { 2 });
        value.put_u16(address.port() ^ 0x2112);
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        value.extend(octets(address.ip()).iter().zip(&self.0[4..HEADER]).map(|(byte, mask)| byte ^ mask));
        self.attribute(XOR_MAPPED_ADDRESS, &value);
    }

    fn finish(mut self, password: &str, crypto: &dyn RTCCrypto) -> Option<BytesMut> {
        self.set_length(self.0.len() + 4 + INTEGRITY_BYTES);
        let mut tag = [0; INTEGRITY_BYTES];
        crypto.new_hmac(HmacAlgorithm::Sha1, password.as_bytes()).ok()?.sign(&[&self.0], &mut tag).ok()?;
        self.attribute(MESSAGE_INTEGRITY, &tag);
        self.set_length(self.0.len() + 8);
        let value = fingerprint_value(&self.0).to_be_bytes();
        self.attribute(FINGERPRINT, &value);
        Some(self.0)
    }
}
