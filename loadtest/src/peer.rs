//! A WebRTC peer as a machine without sockets or clock: ICE controlling, DTLS client, SRTP, audio at 50 packets a second.
//!
//! It plays the browser against a gateway's ICE-lite echo. It knows one path, keeps no jitter buffer and decodes
//! nothing; it counts. [`peer_io`](crate::peer_io) drives thousands of these per process; whoever drives one owes it
//! every received datagram, [`Peer::handle_timeout`] no later than [`Peer::poll_timeout`] says, and the sending of
//! what [`Peer::poll_transmit`] gives.

mod sdp;

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::option::srtp_replay_protection;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId, is_stun_message};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;
use sdp::Answer;
pub use sdp::AnswerError;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between RTP packets, unless [`Peer::send_every`] says otherwise.
pub const PACKET_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of RTP payload, as G.711 has in 20 ms.
pub const PAYLOAD_BYTES: usize = 160;
/// Of RTP (RFC 3550 §5.1).
const HEADER_BYTES: usize = 12;
/// Payload type in the offer (opus).
const PAYLOAD_TYPE: u8 = 111;
/// Of the RTP clock, in a millisecond.
const SAMPLES_PER_MS: u32 = 48;
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
const KEEPALIVE: Duration = Duration::from_millis(2500);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Packets kept of those that a listening peer got.
const MAX_HEARD: usize = 256;
/// Begins the payload of our packets; the peer's mark follows.
const MAGIC: [u8; 4] = *b"HFLT";
/// The address that the DTLS endpoint is told; it needs one, whatever the path is.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// What a peer says.
#[derive(Debug, Clone, Default)]
pub enum Sound {
    /// Its mark, so that packets that come back are known.
    #[default]
    Mark,
    /// These Opus packets of 20 ms, in turn: for a far side that is no echo.
    Opus(Arc<[Vec<u8>]>),
    /// These PCMU packets of 20 ms, in turn.
    Pcmu(Arc<[Vec<u8>]>),
}

impl Sound {
    fn payload_type(&self) -> u8 {
        if matches!(self, Self::Pcmu(_)) { 0 } else { PAYLOAD_TYPE }
    }

    fn samples_per_ms(&self) -> u32 {
        if matches!(self, Self::Pcmu(_)) { 8 } else { SAMPLES_PER_MS }
    }
}

/// Which SRTP profiles the DTLS client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profiles {
    /// AES-128-GCM alone.
    #[default]
    Gcm,
    /// AES128_CM_HMAC_SHA1_80 alone, as old endpoints do.
    Sha1,
    /// SHA1_80 before GCM, as browsers do.
    Both,
}

/// What all peers of a process share: a certificate and the DTLS settings.
#[derive(Clone)]
pub struct PeerIdentity {
    provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: String,
    configs: [Arc<HandshakeConfig>; 3],
}

impl std::fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerIdentity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl PeerIdentity {
    /// Makes a certificate.
    ///
    /// # Errors
    ///
    /// When the crypto provider cannot.
    pub fn generate() -> anyhow::Result<Self> {
        let provider = rtc::crypto::default_provider()?;
        let certificate = Certificate::generate_self_signed(vec!["loadtest".to_owned()], provider.crypto())?;
        let (gcm, sha1) =
            (SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80);
        let config = |profiles: Vec<SrtpProtectionProfile>| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(profiles)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_insecure_skip_verify(true) // the fingerprint is verified instead
                .with_server_name("gateway".to_owned())
                .build(true, None)
                .map(Arc::new)
        };
        let configs = [config(vec![gcm])?, config(vec![sha1])?, config(vec![sha1, gcm])?];
        let fingerprint = sdp::fingerprint(&certificate.certificate[0]);
        Ok(Self { provider, fingerprint, configs })
    }

    fn config(&self, profiles: Profiles) -> Arc<HandshakeConfig> {
        let index = match profiles {
            Profiles::Gcm => 0,
            Profiles::Sha1 => 1,
            Profiles::Both => 2,
        };
        self.configs[index].clone()
    }
}

/// Where a peer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// The offer is made; the answer has not come.
    New,
    /// ICE and DTLS are going on.
    Connecting,
    /// Keys are installed, packets leave.
    Connected,
    /// The first packet came back; of a peer that says no mark: the first packet came.
    Flowing,
    /// The gateway sent close_notify.
    Closed,
    /// The handshake failed, or the gateway's certificate is not the one its answer named.
    Failed,
}

/// What one peer has counted. Times are those that its driver passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCounts {
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets received, of whatever content.
    pub received: u64,
    /// Own RTP packets that came back.
    pub returned: u64,
    /// RTP packets that never came, by the gaps in their numbers.
    pub missed: u64,
    /// RTP packets received that carry another peer's mark.
    pub foreign: u64,
    /// Datagrams that did not authenticate.
    pub rejected: u64,
    /// RTCP packets received.
    pub reports: u64,
    /// When the keys were installed.
    pub connected: Option<Instant>,
    /// When the first own packet came back.
    pub first_returned: Option<Instant>,
    /// When the last authenticated packet came.
    pub last_received: Option<Instant>,
    /// When the newest packet that came back had been sent: whoever returned it was alive later than that.
    pub newest_returned: Option<Instant>,
}

/// Finds gaps in the numbers of a stream.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    next: Option<u16>,
}

impl Numbers {
    /// A leap further than this is a new start.
    const MAX_LEAP: u16 = 3000;

    /// Takes a packet's number; returns how many more are missing now, one less when a late one fills its gap.
    pub(crate) fn take(&mut self, number: u16) -> i64 {
        let ahead = number.wrapping_sub(self.next.unwrap_or(number));
        if ahead > u16::MAX - Self::MAX_LEAP {
            return -1;
        }
        self.next = Some(number.wrapping_add(1));
        if ahead > Self::MAX_LEAP { 0 } else { ahead.into() }
    }
}

struct Keys {
    protect: Context,
    unprotect: Context,
}

/// The fixed key of peers without a handshake.
#[derive(Debug, Default)]
pub struct FloorKeys {
    key: [u8; 16],
    salt: [u8; 12],
}

impl FloorKeys {
    /// A context of this key, inbound or outbound, with the replay protection that SRTP must have; `None` when the crypto provider lacks GCM.
    #[must_use]
    pub fn context(&self, identity: &PeerIdentity) -> Option<Context> {
        let (profile, crypto) = (ProtectionProfile::AeadAes128Gcm, identity.provider.crypto());
        let replay = Some(srtp_replay_protection(64));
        Context::new(&self.key, &self.salt, profile, replay, None, crypto).ok()
    }
}

/// ICE credentials of one generation, ours and the gateway's.
#[derive(Debug, Clone, Default)]
struct Credentials {
    local_ufrag: String,
    local_pwd: String,
    remote_ufrag: String,
    remote_pwd: String,
}

/// One peer.
pub struct Peer {
    identity: PeerIdentity,
    state: PeerState,
    counts: PeerCounts,
    mark: u64,
    credentials: Credentials,
    /// The generation of a restart offer whose answer has not come.
    restarting: Option<Credentials>,
    session_id: u64,
    version: u32,
    remote: Option<SocketAddr>,
    remote_fingerprint: Vec<u8>,
    transaction: TransactionId,
    checked: bool,
    next_check: Instant,
    dtls: Endpoint,
    dtls_config: Arc<HandshakeConfig>,
    dtls_started: bool,
    keys: Option<Box<Keys>>,
    numbers: Numbers,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    sending: bool,
    sound: Sound,
    /// PCMU and PCMA are offered beside Opus.
    g711: bool,
    packet_interval: Duration,
    next_packet: Instant,
    next_report: Instant,
    /// Zero of the times in the packets.
    born: Instant,
    transmits: VecDeque<BytesMut>,
    /// Of a peer that listens.
    heard: Option<VecDeque<BytesMut>>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("mark", &self.mark).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Peer {
    /// A peer whose packets carry `mark`, so that one that comes back to another peer is noticed.
    pub fn new(
        identity: PeerIdentity,
        profiles: Profiles,
        mark: u64,
        random: &mut impl rand::Rng,
        now: Instant,
    ) -> Self {
        let dtls_config = identity.config(profiles);
        Self {
            identity,
            state: PeerState::New,
            counts: PeerCounts::default(),
            mark,
            credentials: Credentials::random(random),
            restarting: None,
            session_id: u64::from(random.random::<u32>()),
            version: 0,
            remote: None,
            remote_fingerprint: Vec::new(),
            transaction: TransactionId::default(),
            checked: false,
            next_check: now,
            dtls: Endpoint::new(GATEWAY, TransportProtocol::UDP, None),
            dtls_config,
            dtls_started: false,
            keys: None,
            numbers: Numbers::default(),
            ssrc: random.random::<u32>() | 1,
            // Far from the wrap at both ends (RFC 3711 §3.3.1).
            sequence: random.random::<u16>() & 0x3fff | 0x1000,
            timestamp: random.random(),
            sending: true,
            sound: Sound::Mark,
            g711: true,
            packet_interval: PACKET_INTERVAL,
            next_packet: now,
            next_report: now,
            born: now,
            transmits: VecDeque::new(),
            heard: None,
        }
    }

    /// A peer that needs no handshake: both directions use the same GCM key, so that a plain echo of its bytes is as
    /// good an answer as one that decrypts and encrypts them. For measuring floors; it sends no STUN.
    pub fn preshared(
        identity: PeerIdentity,
        mark: u64,
        remote: SocketAddr,
        random: &mut impl rand::Rng,
        now: Instant,
    ) -> Self {
        let keys = FloorKeys::default();
        let pair = keys.context(&identity).zip(keys.context(&identity));
        let keys = pair.map(|(protect, unprotect)| Box::new(Keys { protect, unprotect }));
        let mut peer = Self::new(identity, Profiles::Gcm, mark, random, now);
        let never = now + Duration::from_secs(1 << 30);
        (peer.keys, peer.remote, peer.state) = (keys, Some(remote), PeerState::Connected);
        (peer.next_check, peer.next_report) = (never, never);
        // Spread, as peers that connected one after the other are.
        peer.next_packet = now + PACKET_INTERVAL.mul_f64(random.random());
        peer
    }

    /// The offer; after [`Peer::restart`] that of the restart.
    pub fn offer(&mut self) -> String {
        self.version += 1;
        let credentials = self.restarting.as_ref().unwrap_or(&self.credentials);
        sdp::offer(&sdp::OfferFacts {
            session_id: self.session_id,
            version: self.version,
            ufrag: &credentials.local_ufrag,
            pwd: &credentials.local_pwd,
            fingerprint: &self.identity.fingerprint,
            payload_type: PAYLOAD_TYPE,
            g711: self.g711,
            ssrc: self.ssrc,
        })
    }

    /// Begins an ICE restart; take the new [`Peer::offer`]. Media goes on meanwhile.
    pub fn restart(&mut self, random: &mut impl rand::Rng) {
        self.restarting = Some(Credentials::random(random));
    }

    /// Takes the answer: the first one starts ICE and DTLS, that of a restart new checks.
    ///
    /// # Errors
    ///
    /// When it is not an answer to our offer.
    pub fn answer(&mut self, text: &str, now: Instant) -> Result<(), AnswerError> {
        let answer = Answer::parse(text)?;
        if let Some(next) = self.restarting.take() {
            self.credentials = next;
        } else {
            self.state = PeerState::Connecting;
        }
        self.credentials.remote_ufrag = answer.ufrag;
        self.credentials.remote_pwd = answer.pwd;
        self.remote = Some(answer.candidate);
        self.remote_fingerprint = answer.fingerprint;
        self.checked = false;
        self.next_check = now;
        Ok(())
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// What it has counted.
    #[must_use]
    pub fn counts(&self) -> &PeerCounts {
        &self.counts
    }

    /// The gateway's address, once the answer named it.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Stops and starts the RTP, as mute with a stopped track does. RTCP goes on.
    pub fn send_media(&mut self, on: bool, now: Instant) {
        self.sending = on;
        self.next_packet = self.next_packet.max(now);
    }

    /// Sends RTP at another pace than [`PACKET_INTERVAL`].
    pub fn send_every(&mut self, interval: Duration) {
        self.packet_interval = interval;
    }

    /// Says something else than its mark.
    pub fn speak(&mut self, sound: Sound) {
        self.sound = sound;
    }

    /// Keeps the RTP packets that come, decrypted, for [`Peer::poll_heard`]; the oldest are dropped when nobody takes them.
    pub fn listen(&mut self) {
        self.heard = Some(VecDeque::new());
    }

    /// The next RTP packet that was kept.
    pub fn poll_heard(&mut self) -> Option<BytesMut> {
        self.heard.as_mut()?.pop_front()
    }

    /// Offers Opus alone, before the first [`Peer::offer`].
    pub fn without_g711(&mut self) {
        self.g711 = false;
    }

    /// Queues close_notify; the peer is done.
    pub fn stop(&mut self, now: Instant) {
        self.dtls.stop(now, GATEWAY);
        self.flush_dtls();
        self.keys = None;
        self.state = PeerState::Closed;
    }

    /// The next datagram for [`Peer::remote`].
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.transmits.pop_front()
    }

    /// When [`Peer::handle_timeout`] is due; `None` when nothing is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            PeerState::New | PeerState::Closed | PeerState::Failed => None,
            PeerState::Connecting => {
                let flight = self.dtls.poll_timeout(&GATEWAY);
                Some(flight.map_or(self.next_check, |flight| flight.min(self.next_check)))
            }
            PeerState::Connected | PeerState::Flowing => {
                let due = self.next_check.min(self.next_report);
                Some(if self.sending { due.min(self.next_packet) } else { due })
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, PeerState::New | PeerState::Closed | PeerState::Failed) {
            return;
        }
        if now >= self.next_check {
            self.send_check(now);
        }
        if self.dtls.poll_timeout(&GATEWAY).is_some_and(|flight| flight <= now) {
            if self.dtls.handle_timeout(GATEWAY, now).is_err() {
                self.state = PeerState::Failed;
            }
            self.flush_dtls();
        }
        if self.keys.is_some() {
            self.send_due_packets(now);
            self.send_due_report(now);
        }
    }

    /// Takes a datagram from the gateway.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        let taken = match *datagram {
            [0..=3, ..] if is_stun_message(datagram) => self.handle_stun(datagram, now),
            [20..=63, ..] => self.handle_dtls(datagram, now),
            [128..=191, 192..=223, ..] => self.handle_rtcp(datagram, now),
            [128..=191, ..] => self.handle_rtp(datagram, now),
            _ => None,
        };
        match taken {
            Some(()) => self.counts.last_received = Some(now),
            None => self.counts.rejected += 1,
        }
    }

    fn send_check(&mut self, now: Instant) {
        self.next_check = now + if self.checked { KEEPALIVE } else { CHECK_INTERVAL };
        self.transaction = TransactionId::new();
        if let Some(check) = self.check() {
            self.transmits.push_back(BytesMut::from(&check[..]));
        }
    }

    fn check(&self) -> Option<Vec<u8>> {
        let Credentials { local_ufrag, remote_ufrag, remote_pwd, .. } = &self.credentials;
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.write_header();
        self.transaction.add_to(&mut message).ok()?;
        TextAttribute::new(ATTR_USERNAME, format!("{remote_ufrag}:{local_ufrag}")).add_to(&mut message).ok()?;
        message.add(ATTR_ICE_CONTROLLING, &self.mark.to_be_bytes());
        message.add(ATTR_PRIORITY, &0x6e7f_1eff_u32.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        let provider = self.identity.provider.crypto();
        MessageIntegrity::new_short_term_integrity_with_provider(remote_pwd.clone(), provider)
            .add_to(&mut message)
            .ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }

    fn handle_stun(&mut self, datagram: &[u8], now: Instant) -> Option<()> {
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        if message.typ == BINDING_REQUEST {
            return self.answer_check(&mut message);
        }
        let password = self.credentials.remote_pwd.as_bytes();
        MessageIntegrity::check(&mut message, password, self.identity.provider.crypto()).ok()?;
        if message.typ != BINDING_SUCCESS || message.transaction_id != self.transaction {
            return None;
        }
        if !self.checked {
            self.checked = true;
            self.next_check = now + KEEPALIVE;
        }
        if !self.dtls_started {
            self.dtls_started = true;
            self.dtls.connect(now, GATEWAY, self.dtls_config.clone(), None).ok()?;
            self.flush_dtls();
        }
        Some(())
    }

    /// A full agent at the other end checks us as well (RFC 8445 §7.3).
    fn answer_check(&mut self, request: &mut Message) -> Option<()> {
        let provider = self.identity.provider.crypto();
        let password = &self.credentials.local_pwd;
        MessageIntegrity::check(request, password.as_bytes(), provider).ok()?;
        let from = self.remote?;
        let mut answer = Message::new();
        answer.set_type(BINDING_SUCCESS);
        answer.write_header();
        request.transaction_id.add_to(&mut answer).ok()?;
        XorMappedAddress { ip: from.ip(), port: from.port() }.add_to(&mut answer).ok()?;
        MessageIntegrity::new_short_term_integrity_with_provider(password.clone(), provider)
            .add_to(&mut answer)
            .ok()?;
        FINGERPRINT.add_to(&mut answer).ok()?;
        self.transmits.push_back(BytesMut::from(&answer.raw[..]));
        Some(())
    }

    fn handle_dtls(&mut self, datagram: &[u8], now: Instant) -> Option<()> {
        if !self.dtls_started {
            return None;
        }
        let events = self.dtls.read(now, GATEWAY, None, BytesMut::from(datagram));
        self.flush_dtls();
        for event in events.ok()? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.keys = self.install_keys().map(Box::new);
                    self.state = if self.keys.is_some() { PeerState::Connected } else { PeerState::Failed };
                    self.counts.connected = Some(now);
                    (self.next_packet, self.next_report) = (now, now + REPORT_INTERVAL);
                }
                EndpointEvent::PeerClosed => {
                    self.state = PeerState::Closed;
                    self.keys = None;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn install_keys(&self) -> Option<Keys> {
        let state = self.dtls.get_connection_state(GATEWAY)?;
        if sdp::digest(state.peer_certificates.first()?) != self.remote_fingerprint {
            return None;
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return None,
        };
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length).ok()?;
        let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
        config.set_session_keys_from_keying_material(material.as_ref(), true).ok()?;
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, self.identity.provider.crypto()).ok()
        };
        Some(Keys {
            protect: context(&config.keys.local_master_key, &config.keys.local_master_salt)?,
            unprotect: context(&config.keys.remote_master_key, &config.keys.remote_master_salt)?,
        })
    }

    fn handle_rtp(&mut self, datagram: &[u8], now: Instant) -> Option<()> {
        let packet = self.keys.as_mut()?.unprotect.decrypt_rtp(datagram).ok()?;
        self.counts.received += 1;
        if let Some(heard) = &mut self.heard {
            if heard.len() >= MAX_HEARD {
                heard.pop_front();
            }
            heard.push_back(packet.clone());
        }
        if let Sound::Opus(_) | Sound::Pcmu(_) = self.sound {
            let number = packet.get(2..4).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)))?;
            self.counts.missed = self.counts.missed.saturating_add_signed(self.numbers.take(number));
            self.heard(now);
            return Some(());
        }
        if packet.get(12..16) != Some(&MAGIC) {
            return Some(());
        }
        if packet.get(16..24)? != self.mark.to_be_bytes() {
            self.counts.foreign += 1;
            return Some(());
        }
        self.counts.returned += 1;
        let sent = packet.get(24..32).and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        let sent = sent.and_then(|micros| self.born.checked_add(Duration::from_micros(micros)));
        self.counts.newest_returned = self.counts.newest_returned.max(sent);
        self.heard(now);
        Some(())
    }

    fn heard(&mut self, now: Instant) {
        if self.state == PeerState::Connected {
            self.state = PeerState::Flowing;
            self.counts.first_returned = Some(now);
        }
    }

    fn handle_rtcp(&mut self, datagram: &[u8], _now: Instant) -> Option<()> {
        self.keys.as_mut()?.unprotect.decrypt_rtcp(datagram).ok()?;
        self.counts.reports += 1;
        Some(())
    }

    fn send_due_packets(&mut self, now: Instant) {
        if !self.sending || now < self.next_packet {
            return;
        }
        // A driver that comes late sends one packet, not a burst.
        self.next_packet = (self.next_packet + self.packet_interval).max(now);
        let packet = self.packet(now);
        self.sequence = self.sequence.wrapping_add(1);
        let samples = u32::try_from(self.packet_interval.as_millis())
            .unwrap_or(u32::MAX)
            .wrapping_mul(self.sound.samples_per_ms());
        self.timestamp = self.timestamp.wrapping_add(samples);
        if let Some(protected) = self.keys.as_mut().and_then(|keys| keys.protect.encrypt_rtp(&packet).ok()) {
            self.counts.sent += 1;
            self.transmits.push_back(protected);
        }
    }

    fn packet(&self, now: Instant) -> BytesMut {
        let mut packet = BytesMut::with_capacity(HEADER_BYTES + PAYLOAD_BYTES);
        packet.extend_from_slice(&[0x80, self.sound.payload_type()]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        match &self.sound {
            Sound::Opus(frames) | Sound::Pcmu(frames) => {
                let frame = frames.get(usize::from(self.sequence) % frames.len().max(1));
                packet.extend_from_slice(frame.map_or(&[][..], Vec::as_slice));
            }
            Sound::Mark => {
                let age = now.saturating_duration_since(self.born).as_micros();
                packet.extend_from_slice(&MAGIC);
                packet.extend_from_slice(&self.mark.to_be_bytes());
                packet.extend_from_slice(&u64::try_from(age).unwrap_or(u64::MAX).to_be_bytes());
                packet.resize(HEADER_BYTES + PAYLOAD_BYTES, 0);
            }
        }
        packet
    }

    fn send_due_report(&mut self, now: Instant) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        // An empty receiver report (RFC 3550 §6.4.2).
        let mut packet = [0x80, 201, 0, 1, 0, 0, 0, 0];
        packet[4..].copy_from_slice(&self.ssrc.to_be_bytes());
        let protected = self.keys.as_mut().and_then(|keys| keys.protect.encrypt_rtcp(&packet).ok());
        self.transmits.extend(protected);
    }

    fn flush_dtls(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.transmits.push_back(datagram.message);
        }
    }
}

impl Credentials {
    fn random(random: &mut impl rand::Rng) -> Self {
        let mut text = |length| (0..length).map(|_| char::from(random.sample(rand::distr::Alphanumeric))).collect();
        Self { local_ufrag: text(8), local_pwd: text(24), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_until_a_late_packet_fills_them() {
        let mut numbers = Numbers::default();
        let missing = [65_534, 65_535, 2, 0, 1, 3, 40_000, 40_001].map(|number| numbers.take(number));
        assert_eq!(missing, [0, 0, 2, -1, -1, 0, 0, 0], "the leap is a new start");
    }
}
