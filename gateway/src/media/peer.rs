//! One peer's media: ICE, DTLS, SRTP, RTCP and the far leg behind them, as a machine without sockets or clock.
//!
//! The worker owes it: every datagram that is for it, [`Peer::handle_timeout`] no later than [`Peer::poll_timeout`]
//! says, and after each call it takes what [`Effects`] hold. A peer that ended is dropped by the worker.
//!
//! | phase | until | then |
//! |---|---|---|
//! | connecting | the handshake is done; the set-up timeout | connected; ended |
//! | connected | silence of `consent_suspend`; close_notify | suspended; ended |
//! | suspended | an authenticated packet; silence of `consent_expire` | connected; ended |

use super::dtls::{Dtls, DtlsEvent, Identity, SrtpKeys};
use super::far::link::{Browser, FarLink, LinkSetup};
use super::far::sockets::FarPorts;
use super::far::{FarPort, FarSend};
use super::fingerprint::Fingerprint;
use super::ice::{Generation, Ice, Verdict};
use super::rtcp;
use super::rtp::{HEADER, Section, Stream};
use super::srtp::Srtp;
use super::stats::Drop;
use super::stun::{self, Request};
use super::tone::{FRAME, Law, Tone};
use super::{Failure, MediaConfig, MediaEventKind};
use bytes::BytesMut;
use gateway_core::sdp::FarMedia;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A leg without RTP towards the browser sends RTCP so often, so that hold and silence never look like loss.
const REPORT_IDLE: Duration = Duration::from_millis(200);
/// Reports on a leg whose RTP flows (RFC 3550 §6.2 recommends 5 s).
const REPORT_FLOWING: Duration = Duration::from_secs(5);
/// Tells the browser which sources belong together (RFC 3550 §6.5.1).
pub(super) const CNAME: &str = "holdfast";

/// What the far leg does, as negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FarSetup {
    Echo,
    Tone(Law, u8),
    Rtp(LinkSetup),
}

/// Everything that the negotiation fixed for a new peer.
#[derive(Debug)]
pub(super) struct PeerSetup {
    pub(super) generation: Generation,
    pub(super) fingerprint: Fingerprint,
    pub(super) audio: Section,
    pub(super) video: Option<Section>,
    pub(super) far: FarSetup,
    /// Random first sequence number of our sources.
    pub(super) first_sequence: u16,
    pub(super) times: Times,
    pub(super) created: Instant,
    /// What signalling did about the far side before a worker had the peer.
    pub(super) far_ports: Option<FarPorts>,
    pub(super) far_media: Option<Box<FarMedia>>,
}

/// The time limits of [`MediaConfig`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) setup: Duration,
    pub(super) suspend: Duration,
    pub(super) expire: Duration,
}

impl From<&MediaConfig> for Times {
    fn from(config: &MediaConfig) -> Self {
        Self { setup: config.setup_timeout, suspend: config.consent_suspend, expire: config.consent_expire }
    }
}

/// What a call on a peer wants done.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) send: Vec<(SocketAddr, BytesMut)>,
    pub(super) events: Vec<MediaEventKind>,
    /// Addresses that are now this peer's.
    pub(super) routes_added: Vec<SocketAddr>,
    /// Addresses that no longer are.
    pub(super) routes_removed: Vec<SocketAddr>,
    /// A restart took over: the previous generation's user fragment is free.
    pub(super) generation_changed: bool,
    /// For the far side, from the ports of this peer.
    pub(super) far: Vec<FarSend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting { until: Instant },
    Connected,
    Suspended,
    Ended,
}

enum Far {
    Echo,
    Tone(Tone),
    Rtp(Box<FarLink>),
}

/// The machine.
pub(super) struct Peer {
    phase: Phase,
    identity: Arc<Identity>,
    ice: Ice,
    dtls: Dtls,
    srtp: Option<Box<Srtp>>,
    audio: Stream,
    video: Option<Box<Stream>>,
    far: Far,
    times: Times,
    last_heard: Instant,
    report_due: Instant,
    reported: Instant,
}

impl Peer {
    /// A peer that nothing was heard of yet, `waited` after its answer.
    pub(super) fn new(setup: PeerSetup, identity: Arc<Identity>, waited: Duration, now: Instant) -> Self {
        let stream = |section| Stream::new(section, setup.first_sequence, now);
        Self {
            phase: Phase::Connecting { until: now + setup.times.setup.saturating_sub(waited) },
            identity,
            ice: Ice::new(setup.generation),
            dtls: Dtls::new(setup.fingerprint),
            srtp: None,
            audio: stream(setup.audio),
            video: setup.video.map(|section| Box::new(stream(section))),
            far: match setup.far {
                FarSetup::Echo => Far::Echo,
                FarSetup::Tone(law, payload_type) => Far::Tone(Tone::new(law, payload_type, now)),
                FarSetup::Rtp(link) => Far::Rtp(Box::new(FarLink::new(&link, now))),
            },
            times: setup.times,
            last_heard: now,
            report_due: now,
            reported: now,
        }
    }

    /// Whether it is to be dropped.
    pub(super) fn ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether its handshake is still going on, so that its DTLS is the costly kind.
    pub(super) fn connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting { .. })
    }

    /// Whether it is connected and not suspended.
    pub(super) fn live(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether a STUN check with this user fragment is for it.
    pub(super) fn answers_to(&self, local_ufrag: &str) -> bool {
        self.ice.answers_to(local_ufrag)
    }

    /// The addresses that STUN has checked.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ice.paths.addresses()
    }

    /// An address of it now belongs to another peer.
    pub(super) fn forget_address(&mut self, address: SocketAddr) {
        self.ice.paths.forget(address);
    }

    /// Adds the ICE generation of a restart offer, with the directions it asks for.
    pub(super) fn restart(&mut self, generation: Generation, audio_sends: bool, video_sends: bool) {
        self.ice.restart(generation);
        self.audio.section.sends = audio_sends;
        if let Some(video) = &mut self.video {
            video.section.sends = video_sends;
        }
    }

    /// Takes a datagram. The error is the reason why it was dropped.
    pub(super) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        if stun::looks_like(datagram) {
            return self.handle_stun(datagram, from, now, effects);
        }
        if !self.ice.paths.contains(from) {
            return Err(Drop::Unchecked);
        }
        // RFC 7983 §7, and RFC 5761 §4 for RTCP.
        match *datagram {
            [20..=63, ..] => self.handle_dtls(datagram, from, now, effects),
            [128..=191, 192..=223, ..] => self.handle_rtcp(datagram, from, now, effects),
            [128..=191, _, ..] if datagram.len() >= HEADER => self.handle_rtp(datagram, from, now, effects),
            _ => Err(Drop::Unknown),
        }
    }

    /// Takes a datagram of one of its far ports. The error is the reason why it was dropped.
    pub(super) fn handle_far(
        &mut self,
        port: FarPort,
        datagram: &mut [u8],
        from: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let (link, mut browser) = self.both_sides().ok_or(Drop::FarEarly)?;
        link.take_from_far(port, datagram, from, now, &mut browser, effects)
    }

    /// Takes what was agreed with the far side.
    pub(super) fn connect_far(&mut self, media: FarMedia, now: Instant, effects: &mut Effects) {
        if let Far::Rtp(link) = &mut self.far {
            link.connect(media, &self.identity.provider, now, &mut effects.events);
        }
    }

    /// Sends digits to the far side.
    pub(super) fn send_digits(&mut self, digits: &str, now: Instant) {
        if let Far::Rtp(link) = &mut self.far {
            link.send_digits(digits, now);
        }
    }

    /// When [`Peer::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self.phase {
            Phase::Connecting { until } => self.dtls.poll_timeout().map_or(until, |flight| flight.min(until)),
            Phase::Connected => {
                let due = self.report_due.min(self.last_heard + self.times.suspend);
                self.far_due().map_or(due, |far| far.min(due))
            }
            Phase::Suspended | Phase::Ended => self.last_heard + self.times.expire,
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        let silent = now.saturating_duration_since(self.last_heard);
        match self.phase {
            Phase::Connecting { until } if now >= until => self.fail(Failure::Timeout, now, effects),
            Phase::Connecting { .. } => {
                if self.dtls.poll_timeout().is_some_and(|flight| flight <= now) {
                    // A handshake that gave up stays until the set-up timeout.
                    let _ = self.dtls.handle_timeout(now);
                    self.flush_dtls(effects);
                }
            }
            Phase::Connected if silent >= self.times.suspend => {
                self.phase = Phase::Suspended;
                effects.events.push(MediaEventKind::Suspended);
            }
            Phase::Connected => {
                self.send_tone(now, effects);
                self.send_report(now, effects);
                self.far_timeout(now, effects);
            }
            Phase::Suspended if silent >= self.times.expire => {
                self.phase = Phase::Ended;
                effects.events.push(MediaEventKind::Failed(Failure::ConsentLost));
            }
            Phase::Suspended | Phase::Ended => {}
        }
    }

    /// Says close_notify and ends.
    pub(super) fn close(&mut self, now: Instant, effects: &mut Effects) {
        let may_send = !matches!(self.phase, Phase::Suspended | Phase::Ended);
        self.phase = Phase::Ended;
        self.dtls.close(&self.identity, now);
        if may_send {
            self.flush_dtls(effects);
        }
    }

    fn handle_stun(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let request = Request::parse(datagram).ok_or(Drop::StunMalformed)?;
        let identity = self.identity.clone();
        let response = match self.ice.check(&request, from, now, identity.provider.crypto()) {
            Verdict::Dropped(reason) => return Err(reason),
            Verdict::RoleConflict(response) => response,
            Verdict::Valid { response, fresh, evicted, new_generation } => {
                effects.generation_changed |= new_generation;
                effects.routes_removed.extend(evicted);
                if fresh {
                    effects.routes_added.push(from);
                    self.heard(now, effects);
                }
                response
            }
        };
        effects.send.push((from, response));
        Ok(())
    }

    fn handle_dtls(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let identity = self.identity.clone();
        let event = self.dtls.read(datagram, &identity, now);
        self.flush_dtls(effects);
        match event.map_err(|_| Drop::Dtls)? {
            None => {}
            Some(DtlsEvent::Connected(keys)) => {
                self.ice.paths.heard(from, now);
                self.connect(&keys, now, effects);
            }
            Some(DtlsEvent::WrongFingerprint) => self.fail(Failure::FingerprintMismatch, now, effects),
            Some(DtlsEvent::Closed) => {
                self.phase = Phase::Ended;
                effects.events.push(MediaEventKind::PeerClosed);
            }
        }
        Ok(())
    }

    fn handle_rtp(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let srtp = self.srtp.as_mut().ok_or(Drop::Early)?;
        let mut packet = srtp.unprotect_rtp(datagram).map_err(|_| Drop::Srtp)?;
        let payload_type = packet[1] & 0x7f;
        let stream = [Some(&mut self.audio), self.video.as_deref_mut()]
            .into_iter()
            .flatten()
            .find(|stream| stream.takes(payload_type));
        let stream = stream.filter(|_| packet.len() >= HEADER && packet[0] >> 6 == 2);
        if let Far::Rtp(link) = &mut self.far {
            let taken = stream.map(|stream| (stream.received(&packet, now), stream.section.video));
            let result = match taken {
                Some((true, video)) => link.take_from_browser(packet, video, now, effects),
                Some((false, _)) | None => Err(Drop::Payload),
            };
            if link.takes_keyframe() {
                self.ask_keyframe(effects);
            }
            self.authenticated(from, now, effects);
            return result;
        }
        let taken = stream.map(|stream| {
            let echoed = stream.received(&packet, now)
                && matches!(self.far, Far::Echo)
                && stream.section.sends
                && stream.adopt(&mut packet, now);
            echoed.then(|| srtp.protect_rtp(&packet).ok()).flatten()
        });
        self.authenticated(from, now, effects);
        let echoed = taken.ok_or(Drop::Payload)?;
        if let Some((protected, path)) = echoed.zip(self.ice.paths.chosen()) {
            effects.send.push((path, protected));
        }
        Ok(())
    }

    fn handle_rtcp(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<(), Drop> {
        let srtp = self.srtp.as_mut().ok_or(Drop::Early)?;
        let packet = srtp.unprotect_rtcp(datagram).map_err(|_| Drop::Srtp)?;
        self.authenticated(from, now, effects);
        if let Far::Rtp(link) = &mut self.far {
            link.rtcp_from_browser(&packet, effects);
        }
        for part in rtcp::parts(&packet) {
            match part {
                rtcp::Part::SenderReport { source, ntp_middle } => {
                    self.audio.sender_report(source, ntp_middle, now);
                    if let Some(video) = &mut self.video {
                        video.sender_report(source, ntp_middle, now);
                    }
                }
                rtcp::Part::KeyframeWanted { media } => self.forward_keyframe_request(media, effects),
            }
        }
        Ok(())
    }

    /// In an echo, who wants a keyframe is the one who can make it.
    fn forward_keyframe_request(&mut self, media: u32, effects: &mut Effects) {
        let is_ours = self.video.as_ref().is_some_and(|video| video.section.ssrc == media);
        if is_ours && matches!(self.far, Far::Echo) {
            self.ask_keyframe(effects);
        }
    }

    fn ask_keyframe(&mut self, effects: &mut Effects) {
        let Some(video) = &self.video else { return };
        let Some(source) = video.far_source() else { return };
        let mut packet = BytesMut::with_capacity(32);
        rtcp::put_report(&mut packet, video.section.ssrc, None, None);
        rtcp::put_picture_loss(&mut packet, video.section.ssrc, source);
        self.send_rtcp(&packet, effects);
    }

    fn connect(&mut self, keys: &SrtpKeys, now: Instant, effects: &mut Effects) {
        let Ok(srtp) = Srtp::new(keys, self.identity.provider.clone()) else {
            return self.fail(Failure::Broken, now, effects);
        };
        self.srtp = Some(Box::new(srtp));
        self.phase = Phase::Connected;
        self.last_heard = now;
        self.report_due = now;
        self.reported = now;
        if let Far::Tone(tone) = &mut self.far {
            *tone = tone.restarted(now);
        }
        effects.events.push(MediaEventKind::Connected);
    }

    fn fail(&mut self, failure: Failure, now: Instant, effects: &mut Effects) {
        self.close(now, effects);
        effects.events.push(MediaEventKind::Failed(failure));
    }

    fn authenticated(&mut self, from: SocketAddr, now: Instant, effects: &mut Effects) {
        self.ice.paths.heard(from, now);
        self.heard(now, effects);
        // Only who has our last flight has the keys.
        self.dtls.rest();
    }

    fn heard(&mut self, now: Instant, effects: &mut Effects) {
        self.last_heard = now;
        if self.phase == Phase::Suspended {
            self.phase = Phase::Connected;
            effects.events.push(MediaEventKind::Resumed);
        }
    }

    /// The far leg and what it needs of the browser's.
    fn both_sides(&mut self) -> Option<(&mut FarLink, Browser<'_>)> {
        let Far::Rtp(link) = &mut self.far else { return None };
        let browser = Browser {
            audio: &mut self.audio,
            video: self.video.as_deref_mut(),
            srtp: self.srtp.as_deref_mut(),
            path: self.ice.paths.chosen().filter(|_| self.phase == Phase::Connected),
        };
        Some((link, browser))
    }

    fn far_timeout(&mut self, now: Instant, effects: &mut Effects) {
        if let Some((link, mut browser)) = self.both_sides() {
            link.handle_timeout(now, &mut browser, effects);
        }
    }

    fn far_due(&self) -> Option<Instant> {
        match &self.far {
            Far::Tone(tone) if self.audio.section.sends => Some(tone.poll_timeout()),
            Far::Rtp(link) => Some(link.poll_timeout()),
            Far::Tone(_) | Far::Echo => None,
        }
    }

    fn send_tone(&mut self, now: Instant, effects: &mut Effects) {
        let Far::Tone(tone) = &mut self.far else { return };
        while let Some(frame) = tone.frame(now) {
            if !self.audio.section.sends {
                continue;
            }
            let (mut header, mut packet) = ([0; HEADER], [0; HEADER + FRAME]);
            self.audio.originate(&mut header, tone.payload_type(), FRAME as u32, FRAME, now);
            packet[..HEADER].copy_from_slice(&header);
            packet[HEADER..].copy_from_slice(&frame);
            let protected = self.srtp.as_mut().and_then(|srtp| srtp.protect_rtp(&packet).ok());
            effects.send.extend(self.ice.paths.chosen().zip(protected));
        }
    }

    fn send_report(&mut self, now: Instant, effects: &mut Effects) {
        if now < self.report_due {
            return;
        }
        let streams = [Some(&self.audio), self.video.as_deref()];
        let last_sent = streams.into_iter().flatten().filter_map(Stream::last_sent).max();
        let flowing = last_sent.is_some_and(|at| now.saturating_duration_since(at) < REPORT_IDLE);
        self.report_due = now + REPORT_IDLE;
        if flowing && now.saturating_duration_since(self.reported) < REPORT_FLOWING {
            return;
        }
        self.reported = now;
        let mut packet = BytesMut::with_capacity(160);
        for stream in [Some(&mut self.audio), self.video.as_deref_mut()].into_iter().flatten() {
            rtcp::put_report(&mut packet, stream.section.ssrc, stream.sender_info(now), stream.report_block(now));
        }
        rtcp::put_cname(&mut packet, self.audio.section.ssrc, CNAME);
        self.send_rtcp(&packet, effects);
    }

    fn send_rtcp(&mut self, packet: &[u8], effects: &mut Effects) {
        let protected = self.srtp.as_mut().and_then(|srtp| srtp.protect_rtcp(packet).ok());
        effects.send.extend(self.ice.paths.chosen().zip(protected));
    }

    fn flush_dtls(&mut self, effects: &mut Effects) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            effects.send.extend(self.ice.paths.chosen().map(|path| (path, datagram)));
        }
    }
}
