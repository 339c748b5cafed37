//! A browser for the tests of [`Peer`](super::peer::Peer): both ends in one place, time stepped by the test.

use super::dtls::Identity;
use super::fingerprint::Fingerprint;
use super::ice::Generation;
use super::peer::{Effects, FarSetup, Peer, PeerSetup, Times};
use super::rtp::Section;
use super::stats::Drop;
use super::{Failure, MediaEventKind};
use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::stun::attributes::{ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_001);

pub(super) const AUDIO: u32 = 11;
pub(super) const VIDEO: u32 = 22;
pub(super) const AUDIO_TYPE: u8 = 111;
pub(super) const VIDEO_TYPE: u8 = 96;

pub(super) fn address(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

pub(super) fn generation(name: &str) -> Generation {
    Generation {
        local_ufrag: format!("local-{name}"),
        local_pwd: format!("password-of-{name}-0123456789"),
        remote_ufrag: format!("remote-{name}"),
    }
}

/// A plain RTP packet.
pub(super) fn rtp(payload_type: u8, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// How a check differs from a plain one.
#[derive(Default, Clone, Copy)]
pub(super) struct Check {
    pub(super) nominate: bool,
    pub(super) controlled: bool,
    pub(super) wrong_password: bool,
    pub(super) transaction: u8,
}

/// What a scene differs in.
pub(super) struct Setting {
    pub(super) far: FarSetup,
    pub(super) profiles: Vec<SrtpProtectionProfile>,
    pub(super) extended_master_secret: ExtendedMasterSecretType,
    pub(super) certificate: bool,
    pub(super) right_fingerprint: bool,
    pub(super) mtu: usize,
    pub(super) audio_types: Vec<u8>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            far: FarSetup::Echo,
            profiles: vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
            extended_master_secret: ExtendedMasterSecretType::Require,
            certificate: true,
            right_fingerprint: true,
            mtu: 0,
            audio_types: vec![AUDIO_TYPE],
        }
    }
}

/// A peer under test and its browser.
pub(super) struct Scene {
    pub(super) now: Instant,
    pub(super) peer: Peer,
    pub(super) effects: Effects,
    pub(super) from: SocketAddr,
    pub(super) srtp: Option<(Context, Context)>,
    pub(super) closed: bool,
    provider: Arc<dyn RTCCryptoProvider>,
    dtls: Endpoint,
    setting: Setting,
    certificate: Certificate,
}

impl Scene {
    pub(super) fn new(setting: Setting) -> Self {
        let now = Instant::now();
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        let provider = identity.provider.clone();
        let certificate =
            Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto()).expect("a key");
        let promised: &[u8] = if setting.right_fingerprint { &certificate.certificate[0] } else { b"another" };
        let section = |payload_types: u128, clock, ssrc| Section {
            payload_types,
            clock,
            ssrc,
            sends: true,
            video: ssrc == VIDEO,
        };
        let setup = PeerSetup {
            generation: generation("one"),
            fingerprint: Fingerprint::sha256(promised),
            audio: section(setting.audio_types.iter().fold(0, |bits, one| bits | 1 << one), 48_000, AUDIO),
            video: Some(section(1 << VIDEO_TYPE, 90_000, VIDEO)),
            far: setting.far,
            first_sequence: 1,
            times: Times {
                setup: Duration::from_secs(30),
                suspend: Duration::from_secs(15),
                expire: Duration::from_secs(30),
            },
            created: now,
            far_ports: None,
            far_media: None,
        };
        let peer = Peer::new(setup, identity, Duration::ZERO, now);
        let dtls = Endpoint::new(address(1), TransportProtocol::UDP, None);
        let (effects, from) = (Effects::default(), address(1));
        Self { now, peer, effects, from, srtp: None, closed: false, provider, dtls, setting, certificate }
    }

    /// A connected scene.
    pub(super) fn connected(setting: Setting) -> Self {
        let mut scene = Self::new(setting);
        scene.check(generation("one"), Check { nominate: true, ..Check::default() }).expect("a valid check");
        scene.handshake();
        assert_eq!(scene.events(), [MediaEventKind::Connected]);
        scene
    }

    pub(super) fn step(&mut self, span: Duration) {
        let end = self.now + span;
        while self.peer.poll_timeout() <= end && !self.peer.ended() {
            self.now = self.peer.poll_timeout().max(self.now);
            self.peer.handle_timeout(self.now, &mut self.effects);
            if self.peer.poll_timeout() <= self.now {
                self.now += Duration::from_millis(1);
            }
        }
        self.now = self.now.max(end);
    }

    pub(super) fn events(&mut self) -> Vec<MediaEventKind> {
        std::mem::take(&mut self.effects.events)
    }

    /// What the peer wants sent, emptied.
    pub(super) fn sent(&mut self) -> Vec<(SocketAddr, BytesMut)> {
        std::mem::take(&mut self.effects.send)
    }

    pub(super) fn receive(&mut self, datagram: &[u8]) -> Result<(), Drop> {
        self.peer.handle_datagram(datagram, self.from, self.now, &mut self.effects)
    }

    /// Sends a check with the credentials of `generation` and returns the response.
    pub(super) fn check(&mut self, generation: Generation, check: Check) -> Result<BytesMut, Drop> {
        let datagram = self.check_bytes(&generation, check);
        self.receive(&datagram)?;
        Ok(self.effects.send.pop().expect("a response").1)
    }

    pub(super) fn check_bytes(&self, generation: &Generation, check: Check) -> Vec<u8> {
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.write_header();
        let mut setters: Vec<Box<dyn Setter>> = vec![Box::new(TransactionId([check.transaction; 12]))];
        let username = format!("{}:{}", generation.local_ufrag, generation.remote_ufrag);
        setters.push(Box::new(TextAttribute::new(ATTR_USERNAME, username)));
        setters.iter().for_each(|setter| setter.add_to(&mut message).expect("room"));
        message.add(if check.controlled { ATTR_ICE_CONTROLLED } else { ATTR_ICE_CONTROLLING }, &[1; 8]);
        if check.nominate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let password = if check.wrong_password { "wrong".to_owned() } else { generation.local_pwd.clone() };
        let crypto = self.provider.crypto();
        MessageIntegrity::new_short_term_integrity_with_provider(password, crypto).add_to(&mut message).expect("room");
        FINGERPRINT.add_to(&mut message).expect("room");
        message.raw
    }

    /// Starts DTLS and carries datagrams both ways until nobody has any.
    pub(super) fn handshake(&mut self) {
        let mut builder = ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_srtp_protection_profiles(self.setting.profiles.clone())
            .with_extended_master_secret(self.setting.extended_master_secret)
            .with_insecure_skip_verify(true)
            .with_server_name("gateway".to_owned())
            .with_mtu(self.setting.mtu);
        if self.setting.certificate {
            builder = builder.with_certificates(vec![self.certificate.clone()]);
        }
        let config = Arc::new(builder.build(true, None).expect("a client configuration"));
        self.dtls.connect(self.now, SERVER, config, None).expect("a ClientHello");
        self.exchange();
    }

    /// Carries DTLS datagrams both ways until nobody has any; other datagrams of the peer stay.
    pub(super) fn exchange(&mut self) {
        loop {
            let ours: Vec<_> = std::iter::from_fn(|| self.dtls.poll_transmit()).collect();
            for datagram in &ours {
                let _ = self.receive(&datagram.message);
            }
            let (theirs, rest): (Vec<_>, Vec<_>) =
                self.sent().into_iter().partition(|(_, datagram)| (20..=63).contains(&datagram[0]));
            self.effects.send = rest;
            if ours.is_empty() && theirs.is_empty() {
                return;
            }
            for (_, datagram) in theirs {
                self.client_reads(datagram);
            }
        }
    }

    fn client_reads(&mut self, datagram: BytesMut) {
        for event in self.dtls.read(self.now, SERVER, None, datagram).unwrap_or_default() {
            match event {
                EndpointEvent::HandshakeComplete => self.srtp = Some(self.client_keys()),
                EndpointEvent::PeerClosed => self.closed = true,
                _ => {}
            }
        }
    }

    fn client_keys(&self) -> (Context, Context) {
        let state = self.dtls.get_connection_state(SERVER).expect("connected");
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
            _ => ProtectionProfile::AeadAes128Gcm,
        };
        let mut config = Config { profile, ..Config::default() };
        let length = config.keying_material_len();
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length).expect("keys");
        config.set_session_keys_from_keying_material(material.as_ref(), true).expect("their length");
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, self.provider.crypto()).expect("a context")
        };
        let keys = &config.keys;
        (
            context(&keys.local_master_key, &keys.local_master_salt),
            context(&keys.remote_master_key, &keys.remote_master_salt),
        )
    }

    /// The client hangs up.
    pub(super) fn hang_up(&mut self) {
        self.dtls.stop(self.now, SERVER);
        self.exchange();
    }

    /// An SRTP packet of the client.
    pub(super) fn rtp(&mut self, payload_type: u8, ssrc: u32, sequence: u16) -> BytesMut {
        self.protect(&rtp(payload_type, ssrc, sequence, 1, b"payload"))
    }

    /// Any RTP packet, as SRTP of the client.
    pub(super) fn protect(&mut self, packet: &[u8]) -> BytesMut {
        self.srtp.as_mut().expect("connected").0.encrypt_rtp(packet).expect("protected")
    }

    /// An SRTCP packet of the client.
    pub(super) fn rtcp(&mut self, packet: &[u8]) -> BytesMut {
        self.srtp.as_mut().expect("connected").0.encrypt_rtcp(packet).expect("protected")
    }

    /// The RTP and the RTCP packets that the peer sent, decrypted, emptied.
    pub(super) fn media(&mut self) -> (Vec<BytesMut>, Vec<BytesMut>) {
        let (mut rtp, mut rtcp) = (Vec::new(), Vec::new());
        for (_, datagram) in self.sent() {
            let inbound = &mut self.srtp.as_mut().expect("connected").1;
            match (datagram[0], datagram[1]) {
                (128..=191, 192..=223) => rtcp.push(inbound.decrypt_rtcp(&datagram).expect("authentic")),
                (128..=191, _) => rtp.push(inbound.decrypt_rtp(&datagram).expect("authentic")),
                _ => {}
            }
        }
        (rtp, rtcp)
    }

    /// Steps until the peer ends and returns why.
    pub(super) fn outlive(&mut self, limit: Duration) -> Option<Failure> {
        self.step(limit);
        self.events().into_iter().find_map(|event| match event {
            MediaEventKind::Failed(failure) => Some(failure),
            _ => None,
        })
    }
}
