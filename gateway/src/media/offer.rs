//! Reads a browser's SDP offer (RFC 8866, RFC 9429) as far as an answer needs it. Borrows, judges no codecs.

use super::fingerprint::Fingerprint;
use super::{MAX_OFFER_BYTES, OfferError};

/// Sections read; a browser with two tracks and a data channel has three.
const MAX_SECTIONS: usize = 16;
/// Payload types read per section; Chromium's video lists about 40.
const MAX_CODECS: usize = 96;

/// An offer.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) ufrag: &'a str,
    pub(super) fingerprint: Fingerprint,
    pub(super) sections: Vec<OfferedSection<'a>>,
}

/// One media section.
#[derive(Debug)]
pub(super) struct OfferedSection<'a> {
    /// `audio`, `video`, `application`, ..
    pub(super) media: &'a str,
    pub(super) protocol: &'a str,
    /// The formats as they stand in the m-line.
    pub(super) formats: &'a str,
    pub(super) mid: &'a str,
    pub(super) codecs: Vec<Codec<'a>>,
    pub(super) direction: Direction,
    /// It can go over the one transport: not refused, multiplexed, and in the BUNDLE group (or the only one).
    pub(super) usable: bool,
}

/// A payload type, in the offer's order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Codec<'a> {
    pub(super) payload_type: u8,
    pub(super) name: &'a str,
    pub(super) clock: u32,
    /// `opus/48000/2`, for repeating it in the answer.
    pub(super) rtpmap: &'a str,
    pub(super) fmtp: Option<&'a str>,
}

/// Who sends, as the offerer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    /// What the answer says.
    pub(super) fn reversed(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "recvonly",
            Self::RecvOnly => "sendonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the offerer wants to receive.
    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

impl<'a> Offer<'a> {
    /// Reads an offer.
    pub(super) fn parse(text: &'a str) -> Result<Self, OfferError> {
        if text.len() > MAX_OFFER_BYTES {
            return Err(OfferError::TooLong(text.len()));
        }
        let mut blocks = Block::split(text)?;
        let session = blocks.remove(0);
        if blocks.is_empty() {
            return Err(OfferError::Malformed("it has no media section"));
        }
        let bundle = session.attributes("group").find_map(|value| value.strip_prefix("BUNDLE "));
        let sections: Vec<_> =
            blocks.iter().map(|block| OfferedSection::read(block, &session, bundle)).collect::<Result<_, _>>()?;
        if !sections.iter().any(|section| section.usable && section.media == "audio") {
            return Err(OfferError::NoAudio);
        }
        // With BUNDLE all sections share the transport of the first usable one.
        let transport =
            blocks.iter().zip(&sections).find(|(_, section)| section.usable).map_or(&session, |(block, _)| block);
        let find = |name| transport.attribute(name).or_else(|| session.attribute(name));
        let ufrag = find("ice-ufrag").filter(|ufrag| is_ufrag(ufrag));
        let fingerprint = find("fingerprint").and_then(Fingerprint::parse);
        if !matches!(find("setup"), Some("actpass" | "active")) {
            return Err(OfferError::Malformed("a=setup must be actpass or active"));
        }
        Ok(Self {
            ufrag: ufrag.ok_or(OfferError::Malformed("a=ice-ufrag is missing or malformed"))?,
            fingerprint: fingerprint.ok_or(OfferError::Malformed("a=fingerprint with sha-256 or better is missing"))?,
            sections,
        })
    }
}

/// The lines of the session or of one section.
struct Block<'a> {
    media_line: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Block<'a> {
    /// The session's block first, then one per section.
    fn split(text: &'a str) -> Result<Vec<Self>, OfferError> {
        let mut lines = text.lines();
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(OfferError::Malformed("it does not begin with v=0"));
        }
        let mut blocks = vec![Block { media_line: "", attributes: Vec::new() }];
        for line in lines.map(str::trim_end) {
            if let Some(media_line) = line.strip_prefix("m=") {
                blocks.push(Block { media_line, attributes: Vec::with_capacity(32) });
                if blocks.len() > MAX_SECTIONS + 1 {
                    return Err(OfferError::Malformed("it has more than 16 media sections"));
                }
            } else if let (Some(attribute), Some(block)) = (line.strip_prefix("a="), blocks.last_mut()) {
                block.attributes.push(attribute.split_once(':').unwrap_or((attribute, "")));
            }
        }
        Ok(blocks)
    }

    fn attributes(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes(name).next()
    }

    fn codecs(&self, formats: &str) -> Vec<Codec<'a>> {
        let types = formats.split(' ').filter_map(|format| format.parse::<u8>().ok()).filter(|one| *one < 128);
        types.take(MAX_CODECS).filter_map(|payload_type| self.codec(payload_type)).collect()
    }

    fn codec(&self, payload_type: u8) -> Option<Codec<'a>> {
        let of_type = |name| {
            self.attributes(name)
                .filter_map(|value| value.split_once(' '))
                .find(|(number, _)| number.parse() == Ok(payload_type))
                .map(|(_, rest)| rest)
        };
        // The static types of RFC 3551 may come without a map.
        let rtpmap = of_type("rtpmap").or(match payload_type {
            0 => Some("PCMU/8000"),
            8 => Some("PCMA/8000"),
            _ => None,
        })?;
        let (name, clock) = rtpmap.split_once('/')?;
        let clock = clock.split('/').next()?.parse().ok().filter(|clock| (8_000..=192_000).contains(clock))?;
        Some(Codec { payload_type, name, clock, rtpmap, fmtp: of_type("fmtp") })
    }

    fn direction(&self) -> Option<Direction> {
        self.attributes.iter().find_map(|(name, _)| match *name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    }
}

impl<'a> OfferedSection<'a> {
    fn read(block: &Block<'a>, session: &Block<'a>, bundle: Option<&str>) -> Result<Self, OfferError> {
        let mut words = block.media_line.splitn(4, ' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let (Some(media), Some(port), Some(protocol), Some(formats)) = (word(), word(), word(), word()) else {
            return Err(OfferError::Malformed("an m= line is not media, port, protocol, formats"));
        };
        let mid = block.attribute("mid").unwrap_or("");
        if mid.len() > 32 || !mid.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OfferError::Malformed("an a=mid is malformed"));
        }
        let bundled = bundle.is_some_and(|group| !mid.is_empty() && group.split(' ').any(|one| one == mid));
        let refused = port == "0" && block.attribute("bundle-only").is_none();
        let rtp = matches!(protocol, "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP");
        Ok(Self {
            media,
            protocol,
            formats,
            mid,
            codecs: if rtp { block.codecs(formats) } else { Vec::new() },
            direction: block.direction().or_else(|| session.direction()).unwrap_or(Direction::SendRecv),
            usable: rtp
                && !refused
                && block.attribute("rtcp-mux").is_some()
                && (bundled || bundle.is_none() && media == "audio"),
        })
    }
}

/// RFC 8839 §5.4: 4 to 256 ice-chars.
fn is_ufrag(ufrag: &str) -> bool {
    (4..=256).contains(&ufrag.len())
        && ufrag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}
