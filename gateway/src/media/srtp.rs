//! SRTP and SRTCP of one peer on `rtc`'s context, with a bound on the sources that a stranger can make it remember.

use super::dtls::SrtpKeys;
use bytes::BytesMut;
use gateway_core::sdp::{self, SrtpSuite};
use rtc::crypto::RTCCryptoProvider;
use rtc::srtp::config::{Config, SessionKeys};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;
use std::sync::Arc;

/// Packets by which one may be late (RFC 3711 §3.3.2); 64 is over a second of audio, half of one of video.
const REPLAY_WINDOW: usize = 64;
/// Authenticated sources (SSRCs) a peer may use over its life: two sections, replaced a few times.
const MAX_SOURCES: usize = 16;

/// The packet is forged, replayed, malformed, or from one source too many.
#[derive(Debug)]
pub(super) struct SrtpRejected;

/// Both directions of one peer.
pub(super) struct Srtp {
    protect: Context,
    unprotect: Context,
    profile: ProtectionProfile,
    keys: SessionKeys,
    provider: Arc<dyn RTCCryptoProvider>,
    /// Sources that authenticated. The context keeps state for every source it is asked about, so it is asked about
    /// these alone; an unknown one must first prove itself to a context that is thrown away.
    sources: [u32; MAX_SOURCES],
    source_count: usize,
}

impl Srtp {
    /// Installs the keys of a DTLS server.
    pub(super) fn new(keys: &SrtpKeys, provider: Arc<dyn RTCCryptoProvider>) -> Result<Self, SrtpRejected> {
        let mut config = Config { profile: keys.profile, ..Config::default() };
        config.set_session_keys_from_keying_material(keys.material.as_ref(), false).map_err(|_| SrtpRejected)?;
        Self::with_keys(config.keys, config.profile, provider)
    }

    /// Installs keys that were exchanged in SDP (SDES).
    pub(super) fn sdes(keys: &sdp::SrtpKeys, provider: Arc<dyn RTCCryptoProvider>) -> Result<Self, SrtpRejected> {
        let profile = match keys.suite {
            SrtpSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        };
        let session_keys = SessionKeys {
            local_master_key: keys.local.key().to_vec(),
            local_master_salt: keys.local.salt(keys.suite).to_vec(),
            remote_master_key: keys.remote.key().to_vec(),
            remote_master_salt: keys.remote.salt(keys.suite).to_vec(),
        };
        Self::with_keys(session_keys, profile, provider)
    }

    /// The far side chose another key for what it sends; ours goes on, with its rollover counters.
    pub(super) fn rekey_inbound(&mut self, key: &[u8], salt: &[u8]) -> Result<(), SrtpRejected> {
        self.keys.remote_master_key = key.to_vec();
        self.keys.remote_master_salt = salt.to_vec();
        self.unprotect = inbound(&self.keys, self.profile, &self.provider)?;
        self.source_count = 0;
        Ok(())
    }

    fn with_keys(
        keys: SessionKeys,
        profile: ProtectionProfile,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, SrtpRejected> {
        let crypto = provider.crypto();
        let protect = Context::new(&keys.local_master_key, &keys.local_master_salt, profile, None, None, crypto)
            .map_err(|_| SrtpRejected)?;
        let unprotect = inbound(&keys, profile, &provider)?;
        Ok(Self { protect, unprotect, profile, keys, provider, sources: [0; MAX_SOURCES], source_count: 0 })
    }

    /// Authenticates and decrypts an RTP packet.
    pub(super) fn unprotect_rtp(&mut self, packet: &[u8]) -> Result<BytesMut, SrtpRejected> {
        self.known_source(packet, 8, Context::decrypt_rtp)?;
        self.unprotect.decrypt_rtp(packet).map_err(|_| SrtpRejected)
    }

    /// Authenticates and decrypts a compound RTCP packet.
    pub(super) fn unprotect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, SrtpRejected> {
        self.known_source(packet, 4, Context::decrypt_rtcp)?;
        self.unprotect.decrypt_rtcp(packet).map_err(|_| SrtpRejected)
    }

    /// Encrypts an RTP packet. The caller never uses a sequence number of a source twice.
    pub(super) fn protect_rtp(&mut self, packet: &[u8]) -> Result<BytesMut, SrtpRejected> {
        self.protect.encrypt_rtp(packet).map_err(|_| SrtpRejected)
    }

    /// Encrypts a compound RTCP packet.
    pub(super) fn protect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, SrtpRejected> {
        self.protect.encrypt_rtcp(packet).map_err(|_| SrtpRejected)
    }

    fn known_source(
        &mut self,
        packet: &[u8],
        at: usize,
        try_decrypt: fn(&mut Context, &[u8]) -> rtc::shared::error::Result<BytesMut>,
    ) -> Result<(), SrtpRejected> {
        let bytes = packet.get(at..at + 4).ok_or(SrtpRejected)?;
        let source = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if self.sources[..self.source_count].contains(&source) {
            return Ok(());
        }
        if self.source_count == MAX_SOURCES {
            return Err(SrtpRejected);
        }
        let mut probe = inbound(&self.keys, self.profile, &self.provider)?;
        try_decrypt(&mut probe, packet).map_err(|_| SrtpRejected)?;
        self.sources[self.source_count] = source;
        self.source_count += 1;
        Ok(())
    }
}

fn inbound(
    keys: &SessionKeys,
    profile: ProtectionProfile,
    provider: &Arc<dyn RTCCryptoProvider>,
) -> Result<Context, SrtpRejected> {
    Context::new(
        &keys.remote_master_key,
        &keys.remote_master_salt,
        profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(REPLAY_WINDOW)),
        provider.crypto(),
    )
    .map_err(|_| SrtpRejected)
}
