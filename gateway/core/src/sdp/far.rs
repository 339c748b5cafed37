//! The offers and answers of one call with a far end (RFC 3264), as plain data.
//!
//! | last exchanged | an answer | an offer of theirs | an offer of ours |
//! |---|---|---|---|
//! | nothing | [`SdpError::NoOffer`] | answered | all codecs |
//! | our offer | agreed; any number of times, for forked and repeated answers | answered; glare is the caller's to refuse | all codecs, or those agreed |
//! | our answer | [`SdpError::NoOffer`] | answered | the same |

use super::SdpError;
use super::codec::{Codec, CodecKind};
use super::crypto::{Crypto, SrtpKeys, SrtpSecret, SrtpSuite};
use super::description::{Description, Direction, Media};
use super::media::{DtmfType, FarMedia, FarStream, Feedback};
use super::section::{Open, Profile, Section, write};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The sound this side speaks, best first: Opus is what browsers send, so it is never transcoded.
const AUDIO: [(CodecKind, u32); 5] = [
    (CodecKind::Opus, 48_000),
    (CodecKind::Pcmu, 8_000),
    (CodecKind::Pcma, 8_000),
    (CodecKind::TelephoneEvent, 8_000),
    (CodecKind::TelephoneEvent, 48_000),
];

/// Where this side receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarLocal {
    /// The advertised address.
    pub ip: IpAddr,
    /// The RTP port of sound; RTCP is one above.
    pub audio: u16,
    /// That of pictures.
    pub video: Option<FarVideo>,
}

/// The video that the browser can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarVideo {
    /// The RTP port; RTCP is one above.
    pub port: u16,
    /// Its codecs, best first.
    pub codecs: Vec<CodecKind>,
}

/// What our own offers say of SRTP. Offers of the far side are answered in kind whatever is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Plain RTP.
    #[default]
    Plain,
    /// Plain RTP with keys, for whoever understands them.
    Optional,
    /// SRTP or nothing.
    Required,
}

/// The machine of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarSdp {
    session_id: u64,
    version: u64,
    local: FarLocal,
    secrets: [SrtpSecret; 2],
    security: Security,
    held: bool,
    /// What this side said last.
    said: Vec<Section>,
    /// What both sides agreed on last, as this side's lines.
    agreed: Vec<Section>,
    held_as_agreed: bool,
    last: Last,
}

/// Who described the session last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Last {
    /// Nobody, or an offer of ours failed.
    Nothing,
    /// We offered; `answered` once it was.
    Offer { answered: bool },
    /// We answered.
    Answer,
}

impl FarSdp {
    /// A call without any description yet. `session_id` and the keys for sound and picture are random.
    #[must_use]
    pub fn new(session_id: u64, local: FarLocal, secrets: [SrtpSecret; 2], security: Security) -> Self {
        Self {
            // It travels as decimal digits through machines that count in signed 64 bits.
            session_id: session_id >> 2,
            version: 1,
            local,
            secrets,
            security,
            held: false,
            said: Vec::new(),
            agreed: Vec::new(),
            held_as_agreed: false,
            last: Last::Nothing,
        }
    }

    /// An offer of everything: for an INVITE, and for the 2xx to one without an offer.
    pub fn offer(&mut self) -> String {
        let mut sections = self.said.clone();
        if sections.is_empty() {
            sections.push(Section::Open(self.fresh(false)));
        }
        let has_video = sections.iter().any(|section| match section {
            Section::Open(open) => open.video,
            Section::Refused { media, .. } => media == "video",
        });
        if self.local.video.is_some() && !has_video {
            sections.push(Section::Open(self.fresh(true)));
        }
        for section in &mut sections {
            self.widen(section);
        }
        self.say_offer(sections)
    }

    /// An offer of what was agreed, with hold as it is: refreshes a session, or announces a new address after
    /// [`FarSdp::move_to`].
    pub fn reoffer(&mut self) -> String {
        if self.agreed.is_empty() {
            return self.offer();
        }
        let mut sections = self.agreed.clone();
        for section in &mut sections {
            if let Section::Open(open) = section {
                self.settle(open);
                open.direction = Direction::of(true, !self.held);
            }
        }
        self.say_offer(sections)
    }

    /// An offer that puts the far side on hold, or takes it back.
    pub fn hold(&mut self, hold: bool) -> String {
        self.held = hold;
        self.reoffer()
    }

    /// Our offer was refused or never answered: what was agreed before holds.
    pub fn offer_refused(&mut self) {
        self.held = self.held_as_agreed;
        self.last = Last::Nothing;
    }

    /// Whether an offer of ours waits for its answer, so that one of theirs is glare (RFC 3261 §14.2).
    #[must_use]
    pub fn is_offering(&self) -> bool {
        self.last == Last::Offer { answered: false }
    }

    /// Whether this side holds.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Whether anything was agreed yet.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        !self.agreed.is_empty()
    }

    /// Another instance goes on with this call: new ports, and new keys, because nobody knows how far the old ones were
    /// used. A [`FarSdp::reoffer`] must follow.
    pub fn move_to(&mut self, local: FarLocal, secrets: [SrtpSecret; 2]) {
        self.local = local;
        self.secrets = secrets;
    }

    /// Where this side receives, and its keys: what [`FarSdp::move_to`] takes.
    #[must_use]
    pub fn place(&self) -> (FarLocal, [SrtpSecret; 2]) {
        (self.local.clone(), self.secrets)
    }

    /// Takes the answer to our last offer. After an error everything is as before.
    ///
    /// # Errors
    ///
    /// See [`SdpError`].
    pub fn handle_answer(&mut self, text: &str) -> Result<FarMedia, SdpError> {
        // After the first answer more may follow, from other branches of a fork or repeated in the 200.
        let Last::Offer { .. } = self.last else { return Err(SdpError::NoOffer) };
        let answer = Description::parse(text)?;
        let mut outcome = Outcome::default();
        let mut agreed = Vec::with_capacity(self.said.len());
        for (index, ours) in self.said.iter().enumerate() {
            let theirs = answer.media.get(index);
            agreed.push(match (ours.open(), theirs) {
                (Some(ours), Some(theirs)) => self.accept(ours, theirs, &mut outcome),
                (Some(ours), None) => ours.refused(),
                (None, _) => ours.clone(),
            });
        }
        let media = outcome.media()?;
        self.agreed = agreed;
        self.held_as_agreed = self.held;
        self.last = Last::Offer { answered: true };
        Ok(media)
    }

    /// Answers an offer of theirs. After an error everything is as before.
    ///
    /// # Errors
    ///
    /// See [`SdpError`].
    pub fn handle_offer(&mut self, text: &str) -> Result<(String, FarMedia), SdpError> {
        let offer = Description::parse(text)?;
        if offer.media.len() < self.agreed.len() {
            return Err(SdpError::SectionsMissing { found: offer.media.len(), before: self.agreed.len() });
        }
        let mut outcome = Outcome::default();
        let sections = offer.media.iter().map(|theirs| self.answer_section(theirs, &mut outcome)).collect::<Vec<_>>();
        let media = outcome.media()?;
        self.agreed.clone_from(&sections);
        self.held_as_agreed = self.held;
        self.last = Last::Answer;
        Ok((self.say(sections), media))
    }

    fn fresh(&self, video: bool) -> Open {
        let profile = if self.security == Security::Required { Profile::Savp } else { Profile::Avp };
        let suites = if self.security == Security::Plain { &[][..] } else { &SrtpSuite::ALL };
        let crypto =
            suites.iter().zip(1..).map(|(suite, tag)| Crypto { tag, suite: *suite, secret: self.secret(video) });
        Open {
            video,
            ip: self.local.ip,
            port: 0,
            profile,
            codecs: Vec::new(),
            direction: Direction::SendRecv,
            rtcp_mux: false,
            crypto: crypto.collect(),
            feedback: if video { Feedback::ALL } else { Feedback::default() },
        }
    }

    /// Makes a section one that offers everything, keeping the numbers that were said (RFC 3264 §8.3.2).
    fn widen(&self, section: &mut Section) {
        let reopened = match section {
            Section::Refused { media, .. } if media == "video" && self.local.video.is_some() => Some(self.fresh(true)),
            Section::Open(_) | Section::Refused { .. } => None,
        };
        if let Some(open) = reopened {
            *section = Section::Open(open);
        }
        let Section::Open(open) = section else { return };
        if open.video && self.local.video.is_none() {
            *section = open.refused();
            return;
        }
        for codec in self.codecs(open.video) {
            if !open.codecs.iter().any(|known| known.matches(&codec)) {
                let payload_type = free_number(&open.codecs, codec.payload_type);
                open.codecs.push(Codec { payload_type, ..codec });
            }
        }
        open.direction = Direction::of(true, !self.held);
        self.settle(open);
    }

    /// Where the section is received now, and under which key.
    fn settle(&self, open: &mut Open) {
        open.ip = self.local.ip;
        open.port = self.port(open.video);
        for crypto in &mut open.crypto {
            crypto.secret = self.secret(open.video);
        }
    }

    fn port(&self, video: bool) -> u16 {
        if video { self.local.video.as_ref().map_or(0, |video| video.port) } else { self.local.audio }
    }

    fn secret(&self, video: bool) -> SrtpSecret {
        self.secrets[usize::from(video)]
    }

    /// What this side speaks, under its customary numbers.
    fn codecs(&self, video: bool) -> Vec<Codec> {
        if video {
            let kinds = self.local.video.iter().flat_map(|video| &video.codecs);
            kinds.map(|kind| Codec::usual(*kind, 90_000)).collect()
        } else {
            AUDIO.iter().map(|(kind, clock)| Codec::usual(*kind, *clock)).collect()
        }
    }

    fn say_offer(&mut self, sections: Vec<Section>) -> String {
        self.last = Last::Offer { answered: false };
        self.say(sections)
    }

    /// The version counts changes (RFC 3264 §8): a repeated description has the same one.
    fn say(&mut self, sections: Vec<Section>) -> String {
        if !self.said.is_empty() && self.said != sections {
            self.version += 1;
        }
        self.said = sections;
        write(self.session_id, self.version, self.local.ip, &self.said)
    }

    /// What their answer makes of a section of our offer.
    fn accept(&self, ours: &Open, theirs: &Media<'_>, outcome: &mut Outcome) -> Section {
        let found = self.accepted(ours, theirs);
        let agreed = match &found {
            Ok((open, _)) => Section::Open(open.clone()),
            Err(_) => ours.refused(),
        };
        outcome.note(theirs, found.map(|(_, stream)| stream));
        agreed
    }

    fn accepted(&self, ours: &Open, theirs: &Media<'_>) -> Result<(Open, FarStream), SdpError> {
        if theirs.media != ours.media() || theirs.port == 0 || theirs.profile == Profile::Other {
            return Err(SdpError::NoAudio);
        }
        let known = |codec: &&Codec| ours.codecs.iter().any(|one| one.matches(codec));
        let sent: Vec<Codec> = theirs.codecs.iter().filter(known).copied().collect();
        let taken = ours.codecs.iter().filter(|one| sent.iter().any(|codec| codec.matches(one))).copied().collect();
        let keys = theirs.crypto.iter().find_map(|theirs| {
            let ours = ours.crypto.iter().find(|ours| (ours.tag, ours.suite) == (theirs.tag, theirs.suite))?;
            Some((*ours, SrtpKeys { suite: ours.suite, local: ours.secret, remote: theirs.secret }))
        });
        if keys.is_none() && (ours.profile.is_secure() || theirs.profile.is_secure()) {
            return Err(SdpError::NoCrypto);
        }
        let open = Open {
            codecs: taken,
            rtcp_mux: ours.rtcp_mux && theirs.rtcp_mux,
            crypto: keys.iter().map(|(crypto, _)| *crypto).collect(),
            feedback: if ours.video { ours.feedback } else { Feedback::default() },
            ..ours.clone()
        };
        let stream = self.stream(&open, theirs, &sent, keys.map(|(_, keys)| keys))?;
        Ok((open, stream))
    }

    fn answer_section(&self, theirs: &Media<'_>, outcome: &mut Outcome) -> Section {
        let video = theirs.media == "video";
        let wanted = match theirs.media {
            "audio" => outcome.audio.is_none(),
            "video" => self.local.video.is_some() && outcome.video.is_none(),
            _ => false,
        };
        if !wanted || theirs.port == 0 || theirs.profile == Profile::Other {
            return Section::refusal(theirs);
        }
        let found = self.answered(video, theirs);
        let section = match &found {
            Ok((open, _)) => Section::Open(open.clone()),
            Err(_) => Section::refusal(theirs),
        };
        outcome.note(theirs, found.map(|(_, stream)| stream));
        section
    }

    /// One codec, so that the far side never changes it within a call, and its digits.
    fn answered(&self, video: bool, theirs: &Media<'_>) -> Result<(Open, FarStream), SdpError> {
        let mine = self.codecs(video);
        let common = |one: &Codec| theirs.codecs.iter().find(|codec| codec.matches(one)).copied();
        let main = mine.iter().filter(|one| one.kind != CodecKind::TelephoneEvent).find_map(common);
        let main = main.ok_or(SdpError::NoCodec)?;
        let codecs: Vec<Codec> = std::iter::once(main).chain(digits(&theirs.codecs, main.clock)).collect();
        let crypto = theirs.crypto.first().copied();
        if crypto.is_none() && theirs.profile.is_secure() {
            return Err(SdpError::NoCrypto);
        }
        let secret = self.secret(video);
        let keys = crypto.map(|theirs| SrtpKeys { suite: theirs.suite, local: secret, remote: theirs.secret });
        let open = Open {
            video,
            ip: self.local.ip,
            port: self.port(video),
            profile: theirs.profile,
            direction: Direction::of(theirs.direction.receives(), theirs.direction.sends() && !self.held),
            rtcp_mux: theirs.rtcp_mux,
            crypto: crypto.map(|theirs| Crypto { secret, ..theirs }).into_iter().collect(),
            feedback: if video { theirs.feedback.and(Feedback::ALL) } else { Feedback::default() },
            codecs: codecs.clone(),
        };
        let stream = self.stream(&open, theirs, &codecs, keys)?;
        Ok((open, stream))
    }

    /// The stream between a section of ours, under our numbers, and one of theirs, in which `sent` are the numbers we use.
    fn stream(
        &self,
        ours: &Open,
        theirs: &Media<'_>,
        sent: &[Codec],
        srtp: Option<SrtpKeys>,
    ) -> Result<FarStream, SdpError> {
        let address = theirs.address.ok_or(SdpError::Address)?;
        let send = *sent.iter().find(|codec| codec.kind != CodecKind::TelephoneEvent).ok_or(SdpError::NoCodec)?;
        let is_digits = |codec: &&Codec| codec.kind == CodecKind::TelephoneEvent;
        let rtp = SocketAddr::new(address, theirs.port);
        Ok(FarStream {
            rtp,
            rtcp: if ours.rtcp_mux { rtp } else { rtcp_address(rtp, theirs) },
            send,
            receive: ours.codecs.iter().filter(|codec| !is_digits(codec)).copied().collect(),
            dtmf_send: digits(sent, send.clock).map(dtmf_type),
            dtmf_receive: ours.codecs.iter().filter(is_digits).map(|codec| dtmf_type(*codec)).collect(),
            // Nothing of a user on hold is heard, not even by a far side that would listen.
            sends: !self.held && hears(theirs),
            receives: ours.direction.receives() && theirs.direction.sends(),
            srtp,
            feedback: theirs.feedback,
            ptime_ms: theirs.ptime_ms,
            maxptime_ms: theirs.maxptime_ms,
        })
    }
}

/// The far side wants to receive; the old way to hold is the address 0.0.0.0 (RFC 3264 §8.4).
fn hears(theirs: &Media<'_>) -> bool {
    theirs.direction.receives() && theirs.address.is_some_and(|address| !address.is_unspecified())
}

fn rtcp_address(rtp: SocketAddr, theirs: &Media<'_>) -> SocketAddr {
    let (port, address) = theirs.rtcp.unwrap_or((rtp.port().saturating_add(1), None));
    SocketAddr::new(address.unwrap_or(rtp.ip()), port)
}

/// The digits that go with a codec of this clock: those of the same clock, or any (RFC 4733 §2.6 wants the same).
fn digits(codecs: &[Codec], clock: u32) -> Option<Codec> {
    let all = || codecs.iter().filter(|codec| codec.kind == CodecKind::TelephoneEvent);
    all().find(|codec| codec.clock == clock).or_else(|| all().next()).copied()
}

fn dtmf_type(codec: Codec) -> DtmfType {
    DtmfType { payload_type: codec.payload_type, clock: codec.clock }
}

/// `wanted`, or the highest dynamic number that is free. 64 formats at most leave some of the 32 only if few are ours,
/// which [`AUDIO`] sees to.
fn free_number(used: &[Codec], wanted: u8) -> u8 {
    let free = |number: &u8| !used.iter().any(|codec| codec.payload_type == *number);
    Some(wanted).filter(free).or_else(|| (96..=127).rev().find(free)).unwrap_or(wanted)
}

/// What became of the sections.
#[derive(Default)]
struct Outcome {
    audio: Option<Result<FarStream, SdpError>>,
    video: Option<FarStream>,
    held_by_far: bool,
}

impl Outcome {
    fn note(&mut self, theirs: &Media<'_>, found: Result<FarStream, SdpError>) {
        match (theirs.media, found) {
            ("audio", found) => {
                self.audio = Some(found);
                self.held_by_far = !hears(theirs);
            }
            (_, Ok(stream)) => self.video = Some(stream),
            // A picture that cannot be had costs no call.
            (_, Err(_)) => {}
        }
    }

    fn media(self) -> Result<FarMedia, SdpError> {
        let audio = self.audio.ok_or(SdpError::NoAudio)??;
        Ok(FarMedia { audio, video: self.video, held_by_far: self.held_by_far })
    }
}
