//! The peer's offer, and what it reads of an answer.

use std::net::SocketAddr;

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A line is missing or malformed.
    #[error("the answer has no usable {0}")]
    Missing(&'static str),
    /// The audio section came back with port 0.
    #[error("the answer refuses audio")]
    Refused,
}

pub(super) struct OfferFacts<'a> {
    pub(super) session_id: u64,
    pub(super) version: u32,
    pub(super) ufrag: &'a str,
    pub(super) pwd: &'a str,
    pub(super) fingerprint: &'a str,
    pub(super) payload_type: u8,
    pub(super) g711: bool,
    pub(super) ssrc: u32,
}

pub(super) fn offer(facts: &OfferFacts<'_>) -> String {
    let OfferFacts { session_id, version, ufrag, pwd, fingerprint, payload_type, g711, ssrc } = facts;
    let (numbers, maps) = if *g711 { (" 0 8", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n") } else { ("", "") };
    format!(
        "v=0\r\no=- {session_id} {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF {payload_type}{numbers}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\n\
         a=ice-pwd:{pwd}\r\na=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=sendrecv\r\na=rtcp-mux\r\n\
         a=rtpmap:{payload_type} opus/48000/2\r\n{maps}\
         a=ssrc:{ssrc} cname:loadtest\r\n"
    )
}

/// What a peer needs of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) ufrag: String,
    pub(super) pwd: String,
    pub(super) fingerprint: Vec<u8>,
    pub(super) candidate: SocketAddr,
}

impl Answer {
    pub(super) fn parse(text: &str) -> Result<Self, AnswerError> {
        let find = |name: &'static str| {
            text.lines()
                .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
                .ok_or(AnswerError::Missing(name))
        };
        if text.lines().any(|line| line.starts_with("m=audio 0 ")) {
            return Err(AnswerError::Refused);
        }
        let digest = find("fingerprint")?.strip_prefix("sha-256 ").ok_or(AnswerError::Missing("fingerprint"))?;
        let digest = digest.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>();
        let mut words = find("candidate")?.split(' ').skip(4);
        let candidate = words
            .next()
            .zip(words.next())
            .and_then(|(ip, port)| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)));
        Ok(Self {
            ufrag: find("ice-ufrag")?.to_owned(),
            pwd: find("ice-pwd")?.to_owned(),
            fingerprint: digest.ok_or(AnswerError::Missing("fingerprint"))?,
            candidate: candidate.ok_or(AnswerError::Missing("candidate"))?,
        })
    }
}

/// The SHA-256 of a certificate.
pub(super) fn digest(certificate: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    Sha256::digest(certificate).to_vec()
}

/// A certificate's fingerprint as SDP writes it.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let bytes: Vec<_> = digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    format!("sha-256 {}", bytes.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_refused_one_is_told_apart() {
        let text = "v=0\r\nm=audio 40001 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:uuuu\r\na=ice-pwd:pppp\r\n\
                    a=fingerprint:sha-256 0A:FF\r\na=candidate:1 1 udp 2130706431 127.0.0.1 40001 typ host\r\n";
        let answer = Answer::parse(text).expect("an answer");
        assert_eq!((answer.ufrag.as_str(), answer.pwd.as_str()), ("uuuu", "pppp"));
        assert_eq!(answer.fingerprint, [10, 255]);
        assert_eq!(answer.candidate, SocketAddr::from(([127, 0, 0, 1], 40_001)));
        assert_eq!(Answer::parse(&text.replace("40001 UDP", "0 UDP")), Err(AnswerError::Refused));
        assert_eq!(Answer::parse("v=0\r\n"), Err(AnswerError::Missing("fingerprint")));
    }
}
