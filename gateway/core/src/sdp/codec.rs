//! The codecs that the SIP side may agree on.

use serde::{Deserialize, Serialize};

/// What a payload type carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodecKind {
    /// Opus (RFC 7587).
    Opus,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// DTMF digits (RFC 4733).
    TelephoneEvent,
    /// VP8 (RFC 7741).
    Vp8,
    /// H.264 (RFC 6184), packetization mode 1, baseline or constrained baseline.
    H264,
}

impl CodecKind {
    /// Its name in an rtpmap.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::TelephoneEvent => "telephone-event",
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
        }
    }

    /// The codec of this encoding name and clock.
    #[must_use]
    pub fn of(name: &str, clock: u32) -> Option<Self> {
        const ALL: [(CodecKind, &[u32]); 6] = [
            (CodecKind::Opus, &[48_000]),
            (CodecKind::Pcmu, &[8_000]),
            (CodecKind::Pcma, &[8_000]),
            (CodecKind::TelephoneEvent, &[8_000, 48_000]),
            (CodecKind::Vp8, &[90_000]),
            (CodecKind::H264, &[90_000]),
        ];
        let fits = |(kind, clocks): &&(Self, &[u32])| kind.name().eq_ignore_ascii_case(name) && clocks.contains(&clock);
        ALL.iter().find(fits).map(|(kind, _)| *kind)
    }

    /// Whether it is sound, and not digits.
    #[must_use]
    pub fn is_audio(self) -> bool {
        matches!(self, Self::Opus | Self::Pcmu | Self::Pcma)
    }

    /// Whether it is one of the two G.711 codings.
    #[must_use]
    pub fn is_g711(self) -> bool {
        matches!(self, Self::Pcmu | Self::Pcma)
    }
}

/// A payload type of one description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codec {
    /// 0 to 127.
    pub payload_type: u8,
    /// What it carries.
    pub kind: CodecKind,
    /// The RTP clock in Hz.
    pub clock: u32,
    /// H.264's profile-level-id; 0 for all others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub profile_level_id: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Constrained baseline, level 3.1: what every browser has.
const H264_PROFILE: u32 = 0x0042_e01f;

impl Codec {
    /// What this side offers, under its customary number.
    #[must_use]
    pub fn usual(kind: CodecKind, clock: u32) -> Self {
        let payload_type = match (kind, clock) {
            (CodecKind::Pcmu, _) => 0,
            (CodecKind::Pcma, _) => 8,
            (CodecKind::Opus, _) => 111,
            (CodecKind::TelephoneEvent, 8_000) => 101,
            (CodecKind::TelephoneEvent, _) => 110,
            (CodecKind::Vp8, _) => 96,
            (CodecKind::H264, _) => 98,
        };
        let profile_level_id = if kind == CodecKind::H264 { H264_PROFILE } else { 0 };
        Self { payload_type, kind, clock, profile_level_id }
    }

    /// Whether both are the same coding, under whatever number.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.kind == other.kind && self.clock == other.clock
    }

    /// Reads the maps of a payload type; `None` for what is not spoken here.
    pub(super) fn read(payload_type: u8, rtpmap: Option<&str>, fmtp: Option<&str>) -> Option<Self> {
        // The static types of RFC 3551 may come without a map.
        let rtpmap = rtpmap.or(match payload_type {
            0 => Some("PCMU/8000"),
            8 => Some("PCMA/8000"),
            _ => None,
        })?;
        let mut parts = rtpmap.trim().split('/');
        let (name, clock) = (parts.next()?, parts.next()?.parse().ok()?);
        let kind = CodecKind::of(name, clock)?;
        let profile_level_id = if kind == CodecKind::H264 { h264_profile(fmtp.unwrap_or(""))? } else { 0 };
        Some(Self { payload_type, kind, clock, profile_level_id })
    }

    /// `opus/48000/2`
    pub(super) fn rtpmap(&self) -> String {
        let channels = if self.kind == CodecKind::Opus { "/2" } else { "" };
        format!("{}/{}{channels}", self.kind.name(), self.clock)
    }

    pub(super) fn fmtp(&self) -> Option<String> {
        match self.kind {
            CodecKind::Opus => Some("minptime=10;useinbandfec=1".to_owned()),
            CodecKind::TelephoneEvent => Some("0-15".to_owned()),
            CodecKind::H264 => Some(format!(
                "profile-level-id={:06x};packetization-mode=1;level-asymmetry-allowed=1",
                self.profile_level_id
            )),
            CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Vp8 => None,
        }
    }
}

/// The profile-level-id, if it is baseline in packetization mode 1 (RFC 6184 §8.1; the default is baseline, level 1).
fn h264_profile(fmtp: &str) -> Option<u32> {
    let parameter = |name: &str| {
        fmtp.split(';').filter_map(|one| one.trim().split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if parameter("packetization-mode").map(|(_, mode)| mode.trim()) != Some("1") {
        return None;
    }
    let profile = match parameter("profile-level-id") {
        Some((_, text)) if text.len() == 6 => u32::from_str_radix(text, 16).ok()?,
        Some(_) => return None,
        None => 0x0042_000a,
    };
    (profile >> 16 == 0x42).then_some(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_without_regard_to_case_and_static_types_without_maps() {
        assert_eq!(Codec::read(107, Some("OPUS/48000/2"), None).map(|codec| codec.kind), Some(CodecKind::Opus));
        assert_eq!(Codec::read(0, None, None).map(|codec| codec.kind), Some(CodecKind::Pcmu));
        assert_eq!(Codec::read(8, None, None).map(|codec| codec.kind), Some(CodecKind::Pcma));
        assert_eq!(Codec::read(9, None, None), None, "G.722");
        assert_eq!(Codec::read(101, Some("telephone-event/16000"), None), None);
        assert_eq!(Codec::read(97, Some("speex"), None), None);
    }

    #[test]
    fn h264_is_taken_in_baseline_and_mode_1_alone() {
        let read = |fmtp| Codec::read(99, Some("H264/90000"), fmtp).map(|codec| codec.profile_level_id);
        assert_eq!(read(Some("profile-level-id=42e01f; packetization-mode=1")), Some(0x42_e01f));
        assert_eq!(read(Some("packetization-mode=1")), Some(0x42_000a));
        assert_eq!(read(Some("profile-level-id=640c1f;packetization-mode=1")), None);
        assert_eq!(read(Some("profile-level-id=42e01f")), None);
        assert_eq!(read(Some("profile-level-id=\u{e9};packetization-mode=1")), None);
        assert_eq!(read(None), None);
    }
}
