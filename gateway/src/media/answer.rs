//! Decides what of an offer is taken, and writes the answer. Pure; random values come from the caller.

use super::FarLeg;
use super::OfferError;
use super::far::BrowserTypes;
use super::far::link::LinkSetup;
use super::ice::Generation;
use super::offer::{Codec, Offer, OfferedSection};
use super::peer::{CNAME, FarSetup};
use super::rtp::Section;
use super::tone::Law;
use gateway_core::sdp::CodecKind;
use std::fmt::Write;
use std::net::SocketAddr;

/// Our sources, chosen once per peer connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) audio: u32,
    pub(super) video: u32,
}

/// What was taken of an offer.
#[derive(Debug)]
pub(super) struct Agreement<'a> {
    audio: Taken<'a>,
    video: Option<Taken<'a>>,
    pub(super) far: FarSetup,
}

#[derive(Debug)]
struct Taken<'a> {
    index: usize,
    codecs: Vec<Codec<'a>>,
    section: Section,
    /// To a far side that can be asked for lost packets and told a bitrate.
    relayed: bool,
}

impl<'a> Agreement<'a> {
    /// Takes the first usable audio section, and unless the peer hears a tone the first usable video section.
    pub(super) fn reach(offer: &Offer<'a>, far: FarLeg, sources: Sources) -> Result<Self, OfferError> {
        let names: &[&str] = match far {
            FarLeg::Echo => &["opus", "PCMU", "PCMA"],
            FarLeg::Tone => &["PCMU", "PCMA"],
            FarLeg::Rtp { .. } => &["opus", "PCMU", "PCMA", "telephone-event"],
        };
        let choose = |section: &OfferedSection<'a>| match far {
            FarLeg::Rtp { .. } => all_named(section, names),
            FarLeg::Echo | FarLeg::Tone => audio_codecs(section, names),
        };
        let audio = take(offer, "audio", choose, sources.audio);
        let audio = audio.ok_or(OfferError::NoAudio)?;
        let video = match far {
            FarLeg::Echo => take(offer, "video", video_codecs, sources.video),
            FarLeg::Tone => None,
            FarLeg::Rtp { video: wanted } => {
                let taken = take(offer, "video", |section| relayed_video(section, wanted), sources.video);
                taken.map(|taken| Taken { relayed: true, ..taken })
            }
        };
        let main = audio.codecs[0];
        let far = match far {
            FarLeg::Echo => FarSetup::Echo,
            FarLeg::Tone if main.name.eq_ignore_ascii_case("PCMA") => FarSetup::Tone(Law::A, main.payload_type),
            FarLeg::Tone => FarSetup::Tone(Law::Mu, main.payload_type),
            FarLeg::Rtp { .. } => FarSetup::Rtp(LinkSetup {
                types: browser_types(audio.codecs.iter().chain(video.iter().flat_map(|taken| &taken.codecs))),
                ..LinkSetup::default()
            }),
        };
        Ok(Self { audio, video, far })
    }

    /// The audio section.
    pub(super) fn audio(&self) -> &Section {
        &self.audio.section
    }

    /// The video section, if one was taken.
    pub(super) fn video(&self) -> Option<&Section> {
        self.video.as_ref().map(|taken| &taken.section)
    }

    fn taken(&self, index: usize) -> Option<&Taken<'a>> {
        [Some(&self.audio), self.video.as_ref()].into_iter().flatten().find(|taken| taken.index == index)
    }
}

fn take<'a>(
    offer: &Offer<'a>,
    media: &str,
    choose: impl Fn(&OfferedSection<'a>) -> Vec<Codec<'a>>,
    ssrc: u32,
) -> Option<Taken<'a>> {
    offer.sections.iter().enumerate().filter(|(_, section)| section.usable && section.media == media).find_map(
        |(index, offered)| {
            let codecs = choose(offered);
            let section = Section {
                payload_types: codecs.iter().fold(0, |bits, codec| bits | 1 << codec.payload_type),
                clock: codecs.first()?.clock,
                ssrc,
                sends: offered.direction.receives(),
                video: media == "video",
            };
            Some(Taken { index, codecs, section, relayed: false })
        },
    )
}

/// One codec, so that the browser never changes it within a call, and its telephone events.
fn audio_codecs<'a>(section: &OfferedSection<'a>, names: &[&str]) -> Vec<Codec<'a>> {
    let named = |name: &str| section.codecs.iter().find(|codec| codec.name.eq_ignore_ascii_case(name)).copied();
    let Some(main) = names.iter().find_map(|name| named(name)) else { return Vec::new() };
    let is_event = |codec: &&Codec<'a>| codec.name.eq_ignore_ascii_case("telephone-event") && codec.clock == main.clock;
    [Some(main), section.codecs.iter().find(is_event).copied()].into_iter().flatten().collect()
}

/// Everything of these names, in their order; sound must be among it.
fn all_named<'a>(section: &OfferedSection<'a>, names: &[&str]) -> Vec<Codec<'a>> {
    let known = section.codecs.iter().filter(|codec| CodecKind::of(codec.name, codec.clock).is_some());
    let place = |codec: &Codec<'_>| names.iter().position(|name| codec.name.eq_ignore_ascii_case(name));
    let mut codecs: Vec<_> = known.filter(|codec| place(codec).is_some()).copied().collect();
    codecs.sort_by_key(place);
    if codecs.first().is_some_and(|codec| !codec.name.eq_ignore_ascii_case("telephone-event")) {
        codecs
    } else {
        Vec::new()
    }
}

/// VP8 and one H264, in the browser's order but for the one that is wanted.
fn relayed_video<'a>(section: &OfferedSection<'a>, wanted: Option<CodecKind>) -> Vec<Codec<'a>> {
    let kind = |codec: &Codec<'a>| CodecKind::of(codec.name, codec.clock);
    let vp8 = section.codecs.iter().find(|codec| kind(codec) == Some(CodecKind::Vp8));
    let h264 = |profile: &str| {
        section.codecs.iter().find(|codec| {
            let fmtp = codec.fmtp.unwrap_or("").to_ascii_lowercase();
            kind(codec) == Some(CodecKind::H264)
                && fmtp.contains("packetization-mode=1")
                && fmtp.contains(&format!("profile-level-id={profile}"))
        })
    };
    let h264 = h264("42e0").or_else(|| h264("42"));
    let mut codecs: Vec<_> = [vp8, h264].into_iter().flatten().copied().collect();
    let place = |codec: &Codec<'a>| section.codecs.iter().position(|one| one.payload_type == codec.payload_type);
    codecs.sort_by_key(|codec| (wanted.is_some() && kind(codec) != wanted, place(codec)));
    codecs
}

fn browser_types<'a>(codecs: impl Iterator<Item = &'a Codec<'a>>) -> BrowserTypes {
    let mut types = BrowserTypes::default();
    for codec in codecs {
        if let Some(kind) = CodecKind::of(codec.name, codec.clock) {
            types.add(kind, codec.clock, codec.payload_type);
        }
    }
    types
}

fn video_codecs<'a>(section: &OfferedSection<'a>) -> Vec<Codec<'a>> {
    let known = |codec: &&Codec<'a>| {
        let packetized = codec.fmtp.is_some_and(|fmtp| fmtp.contains("packetization-mode=1"));
        codec.clock == 90_000
            && (codec.name.eq_ignore_ascii_case("VP8") || codec.name.eq_ignore_ascii_case("H264") && packetized)
    };
    section.codecs.iter().find(known).copied().into_iter().collect()
}

/// What the answer says beside the agreement.
#[derive(Debug)]
pub(super) struct AnswerFacts<'a> {
    pub(super) generation: &'a Generation,
    pub(super) fingerprint: &'a str,
    /// At least one.
    pub(super) candidates: &'a [SocketAddr],
    pub(super) session_id: u64,
    pub(super) version: u32,
}

/// Writes the answer.
pub(super) fn write(offer: &Offer<'_>, agreement: &Agreement<'_>, facts: &AnswerFacts<'_>) -> String {
    let mut text = String::with_capacity(2048);
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, offer, agreement, facts);
    text
}

fn write_all(
    text: &mut String,
    offer: &Offer<'_>,
    agreement: &Agreement<'_>,
    facts: &AnswerFacts<'_>,
) -> std::fmt::Result {
    write!(text, "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", facts.session_id, facts.version)?;
    let mids = offer.sections.iter().enumerate().filter(|(index, _)| agreement.taken(*index).is_some());
    let mids: Vec<_> = mids.map(|(_, section)| section.mid).filter(|mid| !mid.is_empty()).collect();
    if !mids.is_empty() {
        write!(text, "a=group:BUNDLE {}\r\n", mids.join(" "))?;
    }
    write!(text, "a=ice-lite\r\na=msid-semantic: WMS *\r\n")?;
    for (index, section) in offer.sections.iter().enumerate() {
        match agreement.taken(index) {
            Some(taken) => write_taken(text, section, taken, facts)?,
            None => write_refused(text, section)?,
        }
    }
    Ok(())
}

fn write_taken(
    text: &mut String,
    offered: &OfferedSection<'_>,
    taken: &Taken<'_>,
    facts: &AnswerFacts<'_>,
) -> std::fmt::Result {
    let main = facts.candidates.first().copied().unwrap_or_else(|| ([0, 0, 0, 0], 9).into());
    write!(text, "m={} {} {}", offered.media, main.port(), offered.protocol)?;
    taken.codecs.iter().try_for_each(|codec| write!(text, " {}", codec.payload_type))?;
    write!(text, "\r\nc=IN {} {}\r\n", family(main), main.ip())?;
    write_mid(text, offered)?;
    let Generation { local_ufrag, local_pwd, .. } = facts.generation;
    write!(text, "a=ice-ufrag:{local_ufrag}\r\na=ice-pwd:{local_pwd}\r\n")?;
    write!(text, "a=fingerprint:{}\r\na=setup:passive\r\n", facts.fingerprint)?;
    write!(text, "a={}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n", offered.direction.reversed())?;
    for codec in &taken.codecs {
        write_codec(text, codec)?;
        if taken.section.video {
            let feedback = if taken.relayed {
                &["ccm fir", "nack pli", "nack", "goog-remb"][..]
            } else {
                &["ccm fir", "nack pli"]
            };
            feedback.iter().try_for_each(|one| write!(text, "a=rtcp-fb:{} {one}\r\n", codec.payload_type))?;
        }
    }
    if taken.section.sends {
        let Section { ssrc, .. } = taken.section;
        write!(text, "a=msid:{CNAME} {}\r\n", offered.media)?;
        write!(text, "a=ssrc:{ssrc} cname:{CNAME}\r\na=ssrc:{ssrc} msid:{CNAME} {}\r\n", offered.media)?;
    }
    for (index, candidate) in facts.candidates.iter().enumerate() {
        // RFC 8445 §5.1.2.1: type preference 126 for host candidates, earlier addresses preferred.
        let priority = (126 << 24) + ((65_535 - index as u32) << 8) + 255;
        let (ip, port) = (candidate.ip(), candidate.port());
        write!(text, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", index + 1)?;
    }
    write!(text, "a=end-of-candidates\r\n")
}

fn write_codec(text: &mut String, codec: &Codec<'_>) -> std::fmt::Result {
    let number = codec.payload_type;
    write!(text, "a=rtpmap:{number} {}\r\n", codec.rtpmap)?;
    if let Some(fmtp) = codec.fmtp {
        write!(text, "a=fmtp:{number} {fmtp}\r\n")?;
    }
    Ok(())
}

fn write_refused(text: &mut String, offered: &OfferedSection<'_>) -> std::fmt::Result {
    write!(text, "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\n", offered.media, offered.protocol, offered.formats)?;
    write_mid(text, offered)?;
    write!(text, "a=inactive\r\n")
}

fn write_mid(text: &mut String, offered: &OfferedSection<'_>) -> std::fmt::Result {
    if offered.mid.is_empty() { Ok(()) } else { write!(text, "a=mid:{}\r\n", offered.mid) }
}

fn family(address: SocketAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}
