//! A media section that this side says: everything that its lines hold, so that two descriptions can be compared.

use super::codec::{Codec, CodecKind};
use super::crypto::Crypto;
use super::description::{Direction, Media};
use super::media::Feedback;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::net::IpAddr;

/// Longest word of a refused section that is repeated.
const MAX_TOKEN: usize = 64;

/// A word of an `m=` line that can be repeated.
pub(super) fn is_token(word: &str) -> bool {
    word.len() <= MAX_TOKEN && word.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The RTP profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Profile {
    Avp,
    Avpf,
    Savp,
    Savpf,
    /// None of them: DTLS-SRTP, T.38, ..
    Other,
}

impl Profile {
    pub(super) fn read(protocol: &str) -> Self {
        match protocol {
            "RTP/AVP" => Self::Avp,
            "RTP/AVPF" => Self::Avpf,
            "RTP/SAVP" => Self::Savp,
            "RTP/SAVPF" => Self::Savpf,
            _ => Self::Other,
        }
    }

    pub(super) fn is_secure(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf | Self::Other => "RTP/SAVPF",
        }
    }
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Section {
    /// Sound or picture.
    Open(Open),
    /// Port 0, with the words of whoever offered it.
    Refused { media: String, protocol: String, format: String },
}

/// A section in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) video: bool,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) profile: Profile,
    pub(super) codecs: Vec<Codec>,
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    pub(super) crypto: Vec<Crypto>,
    pub(super) feedback: Feedback,
}

impl Section {
    /// The refusal of an offered section.
    pub(super) fn refusal(offered: &Media<'_>) -> Self {
        Self::Refused {
            media: offered.media.to_owned(),
            protocol: offered.protocol.to_owned(),
            format: offered.format.to_owned(),
        }
    }

    /// The section if it is in use.
    pub(super) fn open(&self) -> Option<&Open> {
        match self {
            Self::Open(open) => Some(open),
            Self::Refused { .. } => None,
        }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        match self {
            Self::Open(open) => open.write(text),
            Self::Refused { media, protocol, format } => write!(text, "m={media} 0 {protocol} {format}\r\n"),
        }
    }
}

impl Open {
    /// The same section, refused.
    pub(super) fn refused(&self) -> Section {
        Section::Refused {
            media: self.media().to_owned(),
            protocol: self.profile.name().to_owned(),
            format: self.codecs.first().map_or(0, |codec| codec.payload_type).to_string(),
        }
    }

    /// `audio` or `video`.
    pub(super) fn media(&self) -> &'static str {
        if self.video { "video" } else { "audio" }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        write!(text, "m={} {} {}", self.media(), self.port, self.profile.name())?;
        self.codecs.iter().try_for_each(|codec| write!(text, " {}", codec.payload_type))?;
        text.write_str("\r\n")?;
        for codec in &self.codecs {
            let number = codec.payload_type;
            write!(text, "a=rtpmap:{number} {}\r\n", codec.rtpmap())?;
            if let Some(fmtp) = codec.fmtp() {
                write!(text, "a=fmtp:{number} {fmtp}\r\n")?;
            }
            for name in self.feedback.names().filter(|_| codec.kind != CodecKind::TelephoneEvent) {
                write!(text, "a=rtcp-fb:{number} {name}\r\n")?;
            }
        }
        if !self.video {
            text.write_str("a=ptime:20\r\n")?;
        }
        if self.rtcp_mux {
            text.write_str("a=rtcp-mux\r\n")?;
        }
        self.crypto.iter().try_for_each(|crypto| write!(text, "a=crypto:{}\r\n", crypto.write()))?;
        write!(text, "a={}\r\n", self.direction.name())
    }
}

/// Writes a description of these sections.
pub(super) fn write(session_id: u64, version: u64, ip: IpAddr, sections: &[Section]) -> String {
    let mut text = String::with_capacity(1024);
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "v=0\r\no=holdfast {session_id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n"
    );
    let _ = sections.iter().try_for_each(|section| section.write(&mut text));
    text
}
