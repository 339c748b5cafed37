//! Session descriptions of a phone: one sound, plain RTP.

use super::rtp::Voice;
use std::net::SocketAddr;

/// What a phone needs of the other side's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theirs {
    /// Where its sound is received.
    pub(crate) address: SocketAddr,
    /// Its number for Opus.
    pub(crate) opus: Option<u8>,
}

impl Theirs {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let ip = lines.clone().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim().parse().ok()?;
        let port = lines.find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?.parse().ok()?;
        let opus = text.lines().find_map(|line| {
            let (number, codec) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            codec.to_ascii_lowercase().starts_with("opus/").then(|| number.parse().ok())?
        });
        Some(Self { address: SocketAddr::new(ip, port), opus })
    }

    /// The payload type for a voice, if the other side has one.
    pub(crate) fn number(&self, voice: Voice) -> Option<u8> {
        match voice {
            Voice::Opus => self.opus,
            Voice::Pcmu => Some(0),
        }
    }
}

/// A description of our own, an offer or an answer.
pub(crate) fn ours(address: SocketAddr, voice: Voice, number: u8) -> String {
    let codec = match voice {
        Voice::Opus => "opus/48000/2",
        Voice::Pcmu => "PCMU/8000",
    };
    let (ip, port) = (address.ip(), address.port());
    format!(
        "v=0\r\no=phone 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {number}\r\n\
         a=rtpmap:{number} {codec}\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_we_read() {
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let opus = Theirs::parse(&ours(address, Voice::Opus, 96));
        assert_eq!(opus, Some(Theirs { address, opus: Some(96) }));
        let pcmu = Theirs::parse(&ours(address, Voice::Pcmu, 0)).expect("it is whole");
        assert_eq!((pcmu.number(Voice::Opus), pcmu.number(Voice::Pcmu)), (None, Some(0)));
        assert_eq!(Theirs::parse("v=0\r\n"), None);
    }
}
