//! The DTLS server of one peer: lets the endpoint of `rtc` see one constant address, chooses its SRTP profile by the
//! ClientHello, and hands out keys only to the certificate whose fingerprint the offer named.

use super::StartError;
use super::client_hello::{Hello, HelloReader};
use super::fingerprint::Fingerprint;
use bytes::BytesMut;
use rtc::crypto::{RTCCryptoProvider, SecretVec};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State as Association;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::LABEL_EXTRACTOR_DTLS_SRTP;
use rtc::srtp::protection_profile::ProtectionProfile;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The only address the endpoint ever hears of. It makes a connection per address, and a peer's real one changes.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// DTLS bytes read before the handshake is done; a browser's takes some 4 kB. More is an attack on memory.
const MAX_HANDSHAKE_BYTES: usize = 64 * 1024;
/// Handshake records read afterwards (the peer repeating its last flight); each costs a repeated flight of ours.
const MAX_LATE_HANDSHAKES: usize = 16;
const CONTENT_ALERT: u8 = 21;
const CONTENT_HANDSHAKE: u8 = 22;

/// What all DTLS servers of the process share: one certificate and a configuration per SRTP profile.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) fingerprint: Fingerprint,
    pub(super) provider: Arc<dyn RTCCryptoProvider>,
    gcm128: Arc<HandshakeConfig>,
    gcm256: Arc<HandshakeConfig>,
    sha1: Arc<HandshakeConfig>,
}

impl Identity {
    /// Makes a new certificate.
    pub(super) fn generate() -> Result<Self, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Certificate(error.to_string());
        let provider = rtc::crypto::default_provider().map_err(|error| failed(&error))?;
        let certificate = Certificate::generate_self_signed(vec!["holdfast".to_owned()], provider.crypto())
            .map_err(|error| failed(&error))?;
        let config = |profile: SrtpProtectionProfile| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(vec![profile])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_insecure_skip_verify(true) // the fingerprint is verified instead
                .build(false, None)
                .map(Arc::new)
                .map_err(|error| failed(&error))
        };
        Ok(Self {
            fingerprint: Fingerprint::sha256(&certificate.certificate[0]),
            gcm128: config(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)?,
            gcm256: config(SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm)?,
            sha1: config(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80)?,
            provider,
        })
    }
}

/// The SRTP keys that a finished handshake yields (RFC 5764 §4.2).
pub(super) struct SrtpKeys {
    pub(super) profile: ProtectionProfile,
    pub(super) material: SecretVec,
}

/// What happened in the endpoint.
pub(super) enum DtlsEvent {
    /// The handshake is done and the certificate is the promised one.
    Connected(SrtpKeys),
    /// The handshake is done, but with another certificate.
    WrongFingerprint,
    /// The peer sent close_notify.
    Closed,
}

/// The handshake cannot go on.
#[derive(Debug)]
pub(super) struct DtlsFailed;

enum State {
    /// The configuration is chosen when the ClientHello is whole; until then its datagrams wait.
    Greeting(HelloReader, Vec<BytesMut>),
    Running(Box<Endpoint>),
    /// The keys and counters of a finished handshake, serialised: a close_notify needs no more, and an endpoint with
    /// its transcript is some 10 kB.
    Resting(Box<[u8]>),
}

/// One peer's DTLS.
pub(super) struct Dtls {
    state: State,
    expected: Fingerprint,
    connected: bool,
    read: usize,
}

impl Dtls {
    /// A server for the peer whose offer named `expected`.
    pub(super) fn new(expected: Fingerprint) -> Self {
        Self { state: State::Greeting(HelloReader::default(), Vec::new()), expected, connected: false, read: 0 }
    }

    /// Reads a datagram. An error before the handshake is done ends it; afterwards the datagram is just dropped.
    pub(super) fn read(
        &mut self,
        datagram: &[u8],
        identity: &Identity,
        now: Instant,
    ) -> Result<Option<DtlsEvent>, DtlsFailed> {
        self.account(datagram)?;
        if let State::Greeting(reader, waiting) = &mut self.state {
            let hello = reader.read(datagram);
            if hello == Hello::Foreign {
                return Err(DtlsFailed);
            }
            waiting.push(BytesMut::from(datagram));
            let config = match hello {
                Hello::Foreign | Hello::Partial => return Ok(None),
                Hello::Gcm128 => &identity.gcm128,
                Hello::Gcm256 => &identity.gcm256,
                Hello::NoGcm => &identity.sha1,
            };
            let waiting = std::mem::take(waiting);
            self.state = State::Running(Box::new(Endpoint::new(PEER, TransportProtocol::UDP, Some(config.clone()))));
            return self.feed_all(waiting, now);
        }
        if matches!(self.state, State::Resting(_)) {
            if datagram.first() != Some(&CONTENT_ALERT) {
                return Ok(None);
            }
            self.wake(identity, now)?;
        }
        self.feed(BytesMut::from(datagram), now)
    }

    /// Puts the endpoint away until the next alert. To be called when the peer has proved that it has our last flight,
    /// by media, and with nothing left to send; does nothing before the handshake is done.
    pub(super) fn rest(&mut self) {
        let State::Running(endpoint) = &self.state else { return };
        if !self.connected {
            return;
        }
        let association = endpoint.get_connection_state(PEER).and_then(|state| state.marshal_binary().ok());
        if let Some(association) = association {
            self.state = State::Resting(association.into());
        }
    }

    /// When [`Dtls::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Running(endpoint) if !self.connected => endpoint.poll_timeout(&PEER),
            State::Running(_) | State::Greeting(..) | State::Resting(_) => None,
        }
    }

    /// Repeats a flight that got no answer.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailed> {
        match &mut self.state {
            State::Running(endpoint) => endpoint.handle_timeout(PEER, now).map_err(|_| DtlsFailed),
            State::Greeting(..) | State::Resting(_) => Ok(()),
        }
    }

    /// The next datagram to send.
    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        match &mut self.state {
            State::Running(endpoint) => endpoint.poll_transmit().map(|one| one.message),
            State::Greeting(..) | State::Resting(_) => None,
        }
    }

    /// Queues close_notify.
    pub(super) fn close(&mut self, identity: &Identity, now: Instant) {
        // One that can't be woken has nothing to say.
        let _ = self.wake(identity, now);
        if let State::Running(endpoint) = &mut self.state {
            endpoint.stop(now, PEER);
        }
    }

    /// Makes an endpoint of what rested. Of the configuration only limits are used, which are the same in all.
    fn wake(&mut self, identity: &Identity, now: Instant) -> Result<(), DtlsFailed> {
        let State::Resting(bytes) = &self.state else { return Ok(()) };
        let mut association = Association::new(identity.provider.clone(), false);
        association.unmarshal_binary(bytes).map_err(|_| DtlsFailed)?;
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        // "Connect" only adds it: a finished association has nothing to send, and keeps its own role.
        endpoint.connect(now, PEER, identity.gcm128.clone(), Some(association)).map_err(|_| DtlsFailed)?;
        self.state = State::Running(Box::new(endpoint));
        Ok(())
    }

    /// Bounds what an unfinished or a finished handshake may make us keep.
    fn account(&mut self, datagram: &[u8]) -> Result<(), DtlsFailed> {
        let (cost, limit) = match self.connected {
            false => (datagram.len(), MAX_HANDSHAKE_BYTES),
            true => (usize::from(datagram.first() == Some(&CONTENT_HANDSHAKE)), MAX_LATE_HANDSHAKES),
        };
        self.read += cost;
        if self.read > limit { Err(DtlsFailed) } else { Ok(()) }
    }

    fn feed_all(&mut self, datagrams: Vec<BytesMut>, now: Instant) -> Result<Option<DtlsEvent>, DtlsFailed> {
        let mut last = Ok(None);
        for datagram in datagrams {
            last = self.feed(datagram, now);
        }
        last
    }

    fn feed(&mut self, datagram: BytesMut, now: Instant) -> Result<Option<DtlsEvent>, DtlsFailed> {
        let State::Running(endpoint) = &mut self.state else { return Ok(None) };
        let mut result = None;
        for event in endpoint.read(now, PEER, None, datagram).map_err(|_| DtlsFailed)? {
            match event {
                EndpointEvent::HandshakeComplete => result = Some(self.complete()?),
                EndpointEvent::PeerClosed => result = Some(DtlsEvent::Closed),
                // Data channels are never negotiated.
                _ => {}
            }
        }
        Ok(result)
    }

    fn complete(&mut self) -> Result<DtlsEvent, DtlsFailed> {
        self.connected = true;
        self.read = 0;
        let State::Running(endpoint) = &self.state else { return Err(DtlsFailed) };
        let state = endpoint.get_connection_state(PEER).ok_or(DtlsFailed)?;
        if !state.peer_certificates.first().is_some_and(|certificate| self.expected.matches(certificate)) {
            return Ok(DtlsEvent::WrongFingerprint);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return Err(DtlsFailed),
        };
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length).map_err(|_| DtlsFailed)?;
        Ok(DtlsEvent::Connected(SrtpKeys { profile, material }))
    }
}
