//! The far leg of one peer: what the browser sends becomes the far side's, and back.
//!
//! The peer owes it every decrypted packet of the browser, every datagram of the far ports, and
//! [`FarLink::handle_timeout`] no later than [`FarLink::poll_timeout`] says.

use super::convert::{Converter, Way};
use super::dtmf::{DtmfReceiver, DtmfSender, rescale};
use super::feedback;
use super::fill::{Filler, Noise};
use super::framer::FRAME;
use super::packet::plain;
use super::relay::{Head, originate};
use super::side::Side;
use super::{BrowserTypes, FarPort, FarSend};
use crate::media::MediaEventKind;
use crate::media::peer::Effects;
use crate::media::rtcp;
use crate::media::rtp::{HEADER, Stream, fields};
use crate::media::srtp::Srtp;
use crate::media::stats::Drop;
use bytes::BytesMut;
use gateway_core::sdp::{Codec, CodecKind, DtmfType, FarMedia, Feedback};
use rtc::crypto::RTCCryptoProvider;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Comfort noise of a far side that speaks G.711 (RFC 3389 §4).
const COMFORT_NOISE: u8 = 13;
/// An Opus packet this short is the last one before its encoder falls silent (RFC 6716 §2.1.9).
const LONGEST_DTX: usize = 2;
/// RFC 3550 §6.2.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// What a far leg begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::media) struct LinkSetup {
    pub(in crate::media) types: BrowserTypes,
    /// Our sources towards the far side.
    pub(in crate::media) ssrcs: [u32; 2],
    pub(in crate::media) first_sequence: u16,
    /// Without a packet for so long, the far side is called silent.
    pub(in crate::media) silence: Duration,
}

/// The browser's side of the peer, for the time of a call.
pub(in crate::media) struct Browser<'a> {
    pub(in crate::media) audio: &'a mut Stream,
    pub(in crate::media) video: Option<&'a mut Stream>,
    pub(in crate::media) srtp: Option<&'a mut Srtp>,
    pub(in crate::media) path: Option<SocketAddr>,
}

impl Browser<'_> {
    fn send(&mut self, packet: &[u8], send: &mut Vec<(SocketAddr, BytesMut)>) {
        let protected = self.srtp.as_mut().and_then(|srtp| srtp.protect_rtp(packet).ok());
        send.extend(self.path.zip(protected));
    }

    fn stream(&mut self, video: bool) -> Option<&mut Stream> {
        let stream = if video { self.video.as_deref_mut() } else { Some(&mut *self.audio) };
        stream.filter(|stream| stream.section.sends)
    }
}

/// The machine.
pub(in crate::media) struct FarLink {
    types: BrowserTypes,
    audio: Side,
    video: Option<Box<Side>>,
    ssrcs: [u32; 2],
    first_sequence: u16,
    silence: Duration,
    heard: Heard,
    report_due: Instant,
    digits_out: DtmfSender,
    /// Timestamp and clock of the digit that is being sent.
    digit_began: u32,
    digits_in: DtmfReceiver,
    browser_digits: DtmfReceiver,
    event_out: Option<Event>,
    event_back: Option<Event>,
    to_far: Converter,
    to_browser: Converter,
    /// What a far side with G.711 is owed while the browser is silent.
    pause: Filler,
    /// What the browser hears while the far side is.
    comfort: Option<Box<Comfort>>,
    keyframe: Keyframe,
}

/// The far side sends no sound, but said how its silence is.
struct Comfort {
    noise: Noise,
    codec: Codec,
    pause: Filler,
}

/// The far side cannot begin to show a picture that was under way before it was there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyframe {
    /// From the next picture of the browser on.
    Due,
    Now,
    No,
}

/// When the far side was last heard, and what was told of it.
struct Heard {
    ever: bool,
    /// `None` while nothing is expected.
    since: Option<Instant>,
    silent: bool,
}

/// The timestamps of one digit on both legs, so that all its packets have one.
#[derive(Clone, Copy)]
struct Event {
    input: u32,
    output: u32,
}

impl FarLink {
    pub(in crate::media) fn new(setup: &LinkSetup, now: Instant) -> Self {
        Self {
            types: setup.types,
            audio: Side::new(false, setup.ssrcs[0], setup.first_sequence, now),
            video: None,
            ssrcs: setup.ssrcs,
            first_sequence: setup.first_sequence,
            silence: setup.silence,
            heard: Heard { ever: false, since: None, silent: false },
            report_due: now + REPORT_INTERVAL,
            digits_out: DtmfSender::default(),
            digit_began: 0,
            digits_in: DtmfReceiver::default(),
            browser_digits: DtmfReceiver::default(),
            event_out: None,
            event_back: None,
            to_far: Converter::default(),
            to_browser: Converter::default(),
            pause: Filler::default(),
            comfort: None,
            keyframe: Keyframe::No,
        }
    }

    /// Takes what was agreed with the far side, for the first time or anew.
    pub(in crate::media) fn connect(
        &mut self,
        media: FarMedia,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
        events: &mut Vec<MediaEventKind>,
    ) {
        let codec = media.audio.send.kind;
        if self.audio.agreed.as_ref().is_none_or(|old| old.send.kind != codec) {
            events.push(MediaEventKind::FarCodec(codec));
            self.audio.out.interrupt();
            self.to_far.interrupt();
        }
        if media.audio.dtmf_send.is_none() {
            self.digits_out = DtmfSender::default();
        }
        if !media.audio.receives {
            self.heard.since = None;
            self.comfort = None;
        } else if self.heard.since.is_none() {
            self.heard.since = Some(now);
        }
        self.audio.agree(media.audio, provider);
        if !codec.is_g711() || self.audio.destination().is_none() {
            self.pause.stop();
            self.to_far.interrupt();
        } else if !self.pause.is_running() {
            self.pause.expect(now, false);
        }
        match (media.video, &mut self.video) {
            (Some(stream), known) => {
                let at = |side: &Side| side.agreed.as_ref().map(|agreed| agreed.rtp);
                if known.as_deref().and_then(at) != Some(stream.rtp) {
                    self.keyframe = Keyframe::Due;
                }
                let fresh = || Box::new(Side::new(true, self.ssrcs[1], self.first_sequence, now));
                known.get_or_insert_with(fresh).agree(stream, provider);
            }
            (None, Some(side)) => side.disagree(),
            (None, None) => {}
        }
    }

    /// Sends digits to the far side, if it takes them in RTP.
    pub(in crate::media) fn send_digits(&mut self, digits: &str, now: Instant) {
        if self.audio.agreed.as_ref().is_some_and(|agreed| agreed.dtmf_send.is_some()) {
            self.digits_out.push(digits, now);
        }
    }

    /// When [`FarLink::handle_timeout`] is due.
    pub(in crate::media) fn poll_timeout(&self) -> Instant {
        let silent = self.heard.since.filter(|_| !self.heard.silent).map(|since| since + self.silence);
        let comfort = self.comfort.as_ref().and_then(|comfort| comfort.pause.poll_timeout());
        let due = [silent, self.digits_out.poll_timeout(), self.pause.poll_timeout(), comfort];
        due.into_iter().flatten().fold(self.report_due, Instant::min)
    }

    /// Does what is due.
    pub(in crate::media) fn handle_timeout(&mut self, now: Instant, browser: &mut Browser<'_>, effects: &mut Effects) {
        if now >= self.report_due {
            self.report_due = now + REPORT_INTERVAL;
            self.audio.report(now, &mut effects.far);
            if let Some(video) = &mut self.video {
                video.report(now, &mut effects.far);
            }
        }
        let silent = self.heard.since.is_some_and(|since| now.saturating_duration_since(since) >= self.silence);
        if silent && !self.heard.silent {
            self.heard.silent = true;
            self.comfort = None;
            effects.events.push(MediaEventKind::FarSilent);
        }
        self.send_digit(now, &mut effects.far);
        self.fill_pause(now, &mut effects.far);
        self.fill_comfort(now, browser, effects);
    }

    /// Takes a decrypted packet of the browser.
    pub(in crate::media) fn take_from_browser(
        &mut self,
        mut packet: BytesMut,
        video: bool,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let len = plain(&mut packet).ok_or(Drop::Payload)?.len();
        packet.truncate(len);
        let (kind, clock) = self.types.kind(packet[1] & 0x7f).ok_or(Drop::Payload)?;
        if kind == CodecKind::TelephoneEvent {
            self.digit_of_browser(&packet, clock, now, effects);
            return Ok(());
        }
        let side = if video { self.video.as_deref_mut() } else { Some(&mut self.audio) };
        let Some(side) = side else { return Ok(()) };
        let (Some(to), Some(send)) = (side.destination(), side.agreed.as_ref().map(|agreed| agreed.send)) else {
            return Ok(());
        };
        if !video && self.digits_out.is_busy() {
            side.out.interrupt();
            return Ok(());
        }
        let too_long = kind.is_g711() && packet.len() - HEADER > side.longest();
        if kind != send.kind || too_long {
            let way = Way { from: kind, send, samples: side.samples() };
            return if video { Err(Drop::FarCodec) } else { self.transcode_to_far(&packet, &way, to, now, effects) };
        }
        packet[1] = packet[1] & 0x80 | send.payload_type;
        if side.out.pass(&mut packet, &mut side.stream, (clock, send.clock), now) {
            if kind.is_g711() {
                self.to_far.interrupt();
                self.pause.expect(now + lasts(&packet), false);
            }
            side.send(packet, to, &mut effects.far);
        }
        if video && self.keyframe == Keyframe::Due {
            self.keyframe = Keyframe::Now;
        }
        Ok(())
    }

    /// Whether the browser must be asked for a keyframe now; told once.
    pub(in crate::media) fn takes_keyframe(&mut self) -> bool {
        let now = self.keyframe == Keyframe::Now;
        if now {
            self.keyframe = Keyframe::No;
        }
        now
    }

    /// Takes a datagram of a far port.
    pub(in crate::media) fn take_from_far(
        &mut self,
        port: FarPort,
        datagram: &mut [u8],
        from: SocketAddr,
        now: Instant,
        browser: &mut Browser<'_>,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let is_rtcp = matches!(*datagram, [128..=191, 192..=223, ..]);
        if port.is_rtcp() || is_rtcp {
            return self.rtcp_from_far(port, datagram, from, now, browser, effects);
        }
        let video = port.is_video();
        let side = if video { self.video.as_deref_mut() } else { Some(&mut self.audio) };
        let side = side.ok_or(Drop::FarEarly)?;
        let (mut packet, fresh) = side.open(datagram, from, now)?;
        self.heard.note(now, &mut effects.events);
        let Some(agreed) = side.agreed.as_ref().filter(|agreed| agreed.receives) else { return Ok(()) };
        let packet = plain(packet.bytes()).ok_or(Drop::FarPayload)?;
        let number = packet[1] & 0x7f;
        let codec = agreed.receive.iter().find(|codec| codec.payload_type == number).copied();
        let digits = agreed.dtmf_receive.iter().find(|digits| digits.payload_type == number).copied();
        let law = agreed.receive.iter().find(|codec| codec.kind.is_g711() && number == COMFORT_NOISE).copied();
        side.stream.received(packet, now);
        if fresh && !video {
            self.digits_in.reset();
            self.to_browser.interrupt();
            self.comfort = None;
        }
        match (codec, digits) {
            (None, None) if !video && law.is_some() => {
                self.comfort_of_far(packet, law, now);
                Ok(())
            }
            (Some(codec), _) => self.media_to_browser(packet, video, codec, now, browser, effects),
            (None, Some(digits)) => {
                self.digit_of_far(packet, digits, now, browser, effects);
                Ok(())
            }
            (None, None) => Err(Drop::FarPayload),
        }
    }

    /// Takes a decrypted compound RTCP packet of the browser: what it wants of the far side's video.
    pub(in crate::media) fn rtcp_from_browser(&mut self, compound: &[u8], effects: &mut Effects) {
        if let Some(video) = &mut self.video {
            video.ask(feedback::wanted(compound), &mut effects.far);
        }
    }

    fn media_to_browser(
        &mut self,
        packet: &mut [u8],
        video: bool,
        codec: Codec,
        now: Instant,
        browser: &mut Browser<'_>,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        if !video {
            self.comfort = None;
        }
        let Some(number) = self.types.number(codec.kind) else {
            return if video {
                Err(Drop::FarCodec)
            } else {
                self.transcode_to_browser(packet, codec, now, browser, effects)
            };
        };
        let side = if video { self.video.as_deref_mut() } else { Some(&mut self.audio) };
        let (Some(side), Some(stream)) = (side, browser.stream(video)) else { return Ok(()) };
        stream.send_clock = codec.clock;
        packet[1] = packet[1] & 0x80 | number;
        if !side.back.pass(packet, stream, (codec.clock, codec.clock), now) {
            return Err(Drop::FarLate);
        }
        browser.send(packet, &mut effects.send);
        Ok(())
    }

    fn transcode_to_far(
        &mut self,
        packet: &[u8],
        way: &Way,
        to: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let Side { stream, .. } = &mut self.audio;
        let mut made = Vec::new();
        let lasts = self.to_far.convert(packet, way, stream, now, &mut |packet| made.push(packet));
        let lasts = lasts.ok_or(Drop::Payload)?;
        if !lasts.is_zero() && way.send.kind.is_g711() {
            let is_dtx = way.from == CodecKind::Opus && packet.len() - HEADER <= LONGEST_DTX;
            self.pause.expect(now + lasts, is_dtx);
        }
        for packet in made {
            self.audio.send(packet, to, &mut effects.far);
        }
        Ok(())
    }

    fn transcode_to_browser(
        &mut self,
        packet: &[u8],
        codec: Codec,
        now: Instant,
        browser: &mut Browser<'_>,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let way = self.way_to_browser(codec.kind).ok_or(Drop::FarCodec)?;
        let mut made = Vec::new();
        let Some(stream) = browser.stream(false) else { return Ok(()) };
        stream.send_clock = way.send.clock;
        self.to_browser.convert(packet, &way, stream, now, &mut |packet| made.push(packet)).ok_or(Drop::FarPayload)?;
        for packet in made {
            browser.send(&packet, &mut effects.send);
        }
        Ok(())
    }

    /// How the browser hears a coding of the far side: as it is if it can, or as the best that it can.
    fn way_to_browser(&self, from: CodecKind) -> Option<Way> {
        let kinds = [from, CodecKind::Opus, CodecKind::Pcmu, CodecKind::Pcma].into_iter();
        let (kind, payload_type) = kinds.filter_map(|kind| Some((kind, self.types.number(kind)?))).next()?;
        let clock = if kind == CodecKind::Opus { 48_000 } else { 8_000 };
        Some(Way { from, send: Codec { payload_type, kind, clock, profile_level_id: 0 }, samples: FRAME })
    }

    /// The far side pauses, and said how its silence is (RFC 3389).
    fn comfort_of_far(&mut self, packet: &[u8], codec: Option<Codec>, now: Instant) {
        let (sequence, ..) = fields(packet);
        let Some((noise, codec)) = Noise::new(&packet[HEADER..]).zip(codec) else { return };
        if let Some(comfort) = &mut self.comfort {
            comfort.noise = noise;
        } else {
            let mut pause = Filler::default();
            pause.expect(now, true);
            self.comfort = Some(Box::new(Comfort { noise, codec, pause }));
            if self.types.number(codec.kind).is_some() {
                self.to_browser.interrupt();
            }
        }
        self.to_browser.skip(sequence);
    }

    fn fill_comfort(&mut self, now: Instant, browser: &mut Browser<'_>, effects: &mut Effects) {
        let Some(mut comfort) = self.comfort.take() else { return };
        let way = self.way_to_browser(comfort.codec.kind);
        let mut made = Vec::new();
        while let Some(left_out) = comfort.pause.frame(now) {
            let (Some(way), Some(stream)) = (&way, browser.stream(false)) else { continue };
            stream.send_clock = way.send.clock;
            let noise = comfort.noise.frame();
            self.to_browser.fill(left_out, Some(&noise), way, stream, now, &mut |packet| made.push(packet));
        }
        for packet in made {
            browser.send(&packet, &mut effects.send);
        }
        self.comfort = Some(comfort);
    }

    /// A far side with G.711 takes silence for a fault, so it is made when none comes.
    fn fill_pause(&mut self, now: Instant, out: &mut Vec<FarSend>) {
        while let Some(left_out) = self.pause.frame(now) {
            let send = self.audio.agreed.as_ref().map(|agreed| agreed.send);
            let Some((to, send)) = self.audio.destination().zip(send) else { return self.pause.stop() };
            if self.digits_out.is_busy() {
                continue;
            }
            let way = Way { from: send.kind, send, samples: self.audio.samples() };
            let silence = [0; FRAME];
            let given = (!self.pause.announced()).then_some(&silence);
            let Side { stream, .. } = &mut self.audio;
            let mut made = Vec::new();
            self.to_far.fill(left_out, given, &way, stream, now, &mut |packet| made.push(packet));
            for packet in made {
                self.audio.send(packet, to, out);
            }
        }
    }

    /// A digit in RTP of the browser goes on as one, or is told so that signalling can send it.
    fn digit_of_browser(&mut self, packet: &[u8], clock: u32, now: Instant, effects: &mut Effects) {
        let (_, timestamp, _) = fields(packet);
        let target = self.audio.agreed.as_ref().and_then(|agreed| agreed.dtmf_send);
        let Some(target) = target else {
            let digit = self.browser_digits.digit(timestamp, &packet[HEADER..]);
            effects.events.extend(digit.map(MediaEventKind::BrowserDigit));
            return;
        };
        let Some(to) = self.audio.destination().filter(|_| !self.digits_out.is_busy()) else { return };
        let made = pass_event(packet, clock, target, &mut self.event_out, &mut self.audio.stream, now);
        self.audio.out.interrupt();
        self.to_far.interrupt();
        if self.pause.is_running() {
            self.pause.expect(now, false);
        }
        self.audio.send(made, to, &mut effects.far);
    }

    fn digit_of_far(
        &mut self,
        packet: &[u8],
        digits: DtmfType,
        now: Instant,
        browser: &mut Browser<'_>,
        effects: &mut Effects,
    ) {
        let (_, timestamp, _) = fields(packet);
        let digit = self.digits_in.digit(timestamp, &packet[HEADER..]);
        effects.events.extend(digit.map(MediaEventKind::FarDigit));
        let target = self.types.events(digits.clock).map(|(payload_type, clock)| DtmfType { payload_type, clock });
        let (Some(target), Some(stream)) = (target, browser.stream(false)) else { return };
        let made = pass_event(packet, digits.clock, target, &mut self.event_back, stream, now);
        browser.send(&made, &mut effects.send);
    }

    fn send_digit(&mut self, now: Instant, out: &mut Vec<FarSend>) {
        let Some(dtmf) = self.audio.agreed.as_ref().and_then(|agreed| agreed.dtmf_send) else { return };
        let Some(frame) = self.digits_out.frame(dtmf.clock, now) else { return };
        if frame.first {
            self.digit_began = self.audio.stream.timestamp_at(now).unwrap_or(0);
            self.to_far.interrupt();
        }
        let Some(to) = self.audio.destination() else { return };
        let head = Head { payload_type: dtmf.payload_type, marker: frame.first, timestamp: self.digit_began, lost: 0 };
        let packet = originate(&mut self.audio.stream, head, &frame.payload, now);
        self.audio.send(packet, to, out);
    }

    fn rtcp_from_far(
        &mut self,
        port: FarPort,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        browser: &mut Browser<'_>,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let video = port.is_video();
        let side = if video { self.video.as_deref_mut() } else { Some(&mut self.audio) };
        let side = side.ok_or(Drop::FarEarly)?;
        let compound = side.open_rtcp(datagram, from, port.is_rtcp())?;
        self.heard.note_report(now);
        for part in rtcp::parts(&compound) {
            if let rtcp::Part::SenderReport { source, ntp_middle } = part {
                side.stream.sender_report(source, ntp_middle, now);
            }
        }
        if video {
            ask_browser(&compound, side, browser, &mut effects.send);
        }
        Ok(())
    }
}

/// What the far side wants of the browser's video.
fn ask_browser(compound: &[u8], side: &Side, browser: &mut Browser<'_>, send: &mut Vec<(SocketAddr, BytesMut)>) {
    const UNDERSTOOD: Feedback = Feedback { nack: true, pli: true, fir: true, remb: true };
    let (Some(theirs), Some(stream)) = (side.out.source(), browser.video.as_deref()) else { return };
    let names = feedback::Names { ours: stream.section.ssrc, theirs, feedback: UNDERSTOOD };
    let mut packet = BytesMut::with_capacity(96);
    rtcp::put_report(&mut packet, names.ours, None, None);
    let empty = packet.len();
    for wanted in feedback::wanted(compound) {
        feedback::put(&mut packet, wanted, names, &side.out, &mut 0);
    }
    if packet.len() > empty {
        let protected = browser.srtp.as_mut().and_then(|srtp| srtp.protect_rtcp(&packet).ok());
        send.extend(browser.path.zip(protected));
    }
}

/// Makes an event packet one of ours.
fn pass_event(
    packet: &[u8],
    clock: u32,
    target: DtmfType,
    known: &mut Option<Event>,
    to: &mut Stream,
    now: Instant,
) -> BytesMut {
    let (_, input, _) = fields(packet);
    let event = known.filter(|event| event.input == input);
    let event = *known.insert(event.unwrap_or(Event { input, output: to.timestamp_at(now).unwrap_or(input) }));
    let mut body = BytesMut::from(&packet[HEADER..]);
    rescale(&mut body, clock, target.clock);
    let head =
        Head { payload_type: target.payload_type, marker: packet[1] & 0x80 != 0, timestamp: event.output, lost: 0 };
    originate(to, head, &body, now)
}

/// How long a packet of G.711 lasts.
fn lasts(packet: &[u8]) -> Duration {
    Duration::from_micros((packet.len() - HEADER) as u64 * 125)
}

impl Heard {
    fn note(&mut self, now: Instant, events: &mut Vec<MediaEventKind>) {
        if !std::mem::replace(&mut self.ever, true) {
            events.push(MediaEventKind::FarHeard);
        }
        self.note_report(now);
    }

    fn note_report(&mut self, now: Instant) {
        if let Some(since) = &mut self.since {
            *since = now;
            self.silent = false;
        }
    }
}
