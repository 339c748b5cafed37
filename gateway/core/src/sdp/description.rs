//! Reads a session description (RFC 8866) as far as a call needs it: tolerant of what it does not know, bounded, borrowing.

use super::SdpError;
use super::codec::Codec;
use super::crypto::Crypto;
use super::media::Feedback;
use super::section::{Profile, is_token};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Longest description read; phones send 0.3 to 4 KiB.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
/// Media sections read; a video phone with a slide channel has four.
pub(super) const MAX_MEDIA: usize = 8;
/// Formats read per section.
pub(super) const MAX_FORMATS: usize = 64;

/// Who sends, as the description's author sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// The author.
    SendOnly,
    /// The other side.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// The direction of an author who sends and receives so.
    #[must_use]
    pub fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the author sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the author receives.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    fn read(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive].into_iter().find(|one| one.name() == name)
    }
}

/// A description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description<'a> {
    pub(super) media: Vec<Media<'a>>,
}

/// One media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Media<'a> {
    pub(super) media: &'a str,
    /// 0 when it is refused.
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    pub(super) profile: Profile,
    pub(super) format: &'a str,
    /// Those that are spoken here, in the author's order of preference.
    pub(super) codecs: Vec<Codec>,
    /// `None` when it is a name, multicast, or missing.
    pub(super) address: Option<IpAddr>,
    pub(super) rtcp: Option<(u16, Option<IpAddr>)>,
    pub(super) rtcp_mux: bool,
    pub(super) direction: Direction,
    pub(super) crypto: Vec<Crypto>,
    pub(super) feedback: Feedback,
    pub(super) ptime_ms: Option<u16>,
    pub(super) maxptime_ms: Option<u16>,
}

impl<'a> Description<'a> {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// When it is too long, is none, or an `m=` line breaks the grammar; other lines that do are skipped.
    pub fn parse(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLong(text.len()));
        }
        let mut lines = text.lines().map(str::trim).enumerate().skip_while(|(_, line)| line.is_empty());
        if lines.next().map(|(_, line)| line) != Some("v=0") {
            return Err(SdpError::NotSdp);
        }
        let mut blocks = vec![Block::default()];
        for (index, line) in lines {
            if let Some(value) = line.strip_prefix("m=") {
                if blocks.len() > MAX_MEDIA {
                    return Err(SdpError::TooManyMedia);
                }
                blocks.push(Block { media_line: value, number: index + 1, ..Block::default() });
            } else if let Some(block) = blocks.last_mut() {
                block.take(line);
            }
        }
        let session = blocks.remove(0);
        Ok(Self { media: blocks.iter().map(|block| Media::read(block, &session)).collect::<Result<_, _>>()? })
    }

    /// Whether a section of video is open, and the codecs that it shares with this side, best first.
    #[must_use]
    pub fn video(&self) -> Option<Vec<Codec>> {
        let video = self.media.iter().find(|media| media.media == "video" && media.port != 0)?;
        Some(video.codecs.clone()).filter(|codecs| !codecs.is_empty())
    }
}

/// The lines of the session or of one section.
#[derive(Default)]
struct Block<'a> {
    media_line: &'a str,
    number: usize,
    connection: Option<&'a str>,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Block<'a> {
    fn take(&mut self, line: &'a str) {
        if let Some(value) = line.strip_prefix("c=") {
            self.connection.get_or_insert(value);
        } else if let Some(value) = line.strip_prefix("a=") {
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            self.attributes.push((name.trim(), value.trim()));
        }
    }

    fn attributes(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes(name).next()
    }

    /// A number of milliseconds, of which some write parts.
    fn milliseconds(&self, name: &str) -> Option<u16> {
        self.attribute(name)?.split('.').next()?.trim().parse().ok().filter(|ms| *ms > 0)
    }

    /// What follows the payload type in an rtpmap or fmtp.
    fn of_type(&self, name: &str, payload_type: u8) -> Option<&'a str> {
        self.attributes(name)
            .filter_map(|value| value.split_once(' '))
            .find(|(number, _)| number.parse() == Ok(payload_type))
            .map(|(_, rest)| rest)
    }

    fn codecs(&self, formats: impl Iterator<Item = &'a str>) -> Vec<Codec> {
        let types = formats.filter_map(|one| one.parse().ok()).filter(|one| *one < 128);
        let mut codecs: Vec<Codec> = Vec::new();
        for payload_type in types {
            let codec =
                Codec::read(payload_type, self.of_type("rtpmap", payload_type), self.of_type("fmtp", payload_type));
            codecs.extend(codec.filter(|new| !codecs.iter().any(|old| old.payload_type == new.payload_type)));
        }
        codecs
    }

    fn direction(&self) -> Option<Direction> {
        self.attributes.iter().find_map(|(name, _)| Direction::read(name))
    }

    fn feedback(&self) -> Feedback {
        self.attributes("rtcp-fb").filter_map(|value| value.split_once(' ')).map(|(_, what)| what.trim()).fold(
            Feedback::default(),
            |known, what| match what {
                "nack" => Feedback { nack: true, ..known },
                "nack pli" => Feedback { pli: true, ..known },
                "ccm fir" => Feedback { fir: true, ..known },
                "goog-remb" => Feedback { remb: true, ..known },
                _ => known,
            },
        )
    }
}

impl<'a> Media<'a> {
    fn read(block: &Block<'a>, session: &Block<'a>) -> Result<Self, SdpError> {
        let malformed = SdpError::Malformed(block.number);
        let mut words = block.media_line.split_ascii_whitespace();
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed);
        };
        let formats = words.clone();
        let Some(format) = words.next() else { return Err(malformed) };
        if words.count() + 1 > MAX_FORMATS {
            return Err(SdpError::TooManyFormats);
        }
        // `49170/2` is a number of ports (RFC 8866 §5.14).
        let port = port.split('/').next().and_then(|port| port.parse().ok());
        let port = port.filter(|_| [media, protocol, format].into_iter().all(is_token)).ok_or(malformed)?;
        let profile = Profile::read(protocol);
        Ok(Self {
            media,
            port,
            protocol,
            profile,
            format,
            codecs: if profile == Profile::Other { Vec::new() } else { block.codecs(formats) },
            address: block.connection.or(session.connection).and_then(address),
            rtcp: block.attribute("rtcp").and_then(rtcp),
            rtcp_mux: block.attribute("rtcp-mux").is_some(),
            direction: block.direction().or_else(|| session.direction()).unwrap_or_default(),
            crypto: block.attributes("crypto").filter_map(Crypto::read).take(MAX_FORMATS).collect(),
            feedback: block.feedback(),
            ptime_ms: block.milliseconds("ptime"),
            maxptime_ms: block.milliseconds("maxptime"),
        })
    }
}

/// `IN IP4 192.0.2.1`
fn address(value: &str) -> Option<IpAddr> {
    let mut words = value.split_ascii_whitespace();
    let (Some("IN"), Some("IP4" | "IP6"), Some(address)) = (words.next(), words.next(), words.next()) else {
        return None;
    };
    address.parse().ok().filter(|address: &IpAddr| !address.is_multicast())
}

/// `53020` or `53020 IN IP4 192.0.2.1` (RFC 3605).
fn rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let (port, rest) = value.split_once(' ').unwrap_or((value, ""));
    Some((port.parse().ok().filter(|port| *port != 0)?, address(rest)))
}
