//! The SIP side of a peer: RTP or SDES-SRTP on ports of its own, behind the same worker as the browser's side.
//!
//! [`link::FarLink`] is the machine, one per peer; [`ports`] hands out port pairs, [`sockets`] polls those of a worker.

pub(super) mod convert;
pub(super) mod dtmf;
pub(super) mod feedback;
pub(super) mod fill;
pub(super) mod framer;
pub(super) mod latch;
pub(super) mod link;
#[cfg(test)]
mod link_tests;
pub(super) mod packet;
#[cfg(test)]
mod pause_tests;
pub(super) mod ports;
pub(super) mod relay;
pub(super) mod side;
pub(super) mod sockets;
pub(super) mod transcode;

use bytes::BytesMut;
use gateway_core::sdp::CodecKind;
use std::net::SocketAddr;

/// One of a peer's far ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FarPort {
    AudioRtp,
    AudioRtcp,
    VideoRtp,
    VideoRtcp,
}

impl FarPort {
    pub(super) const ALL: [Self; 4] = [Self::AudioRtp, Self::AudioRtcp, Self::VideoRtp, Self::VideoRtcp];

    pub(super) fn rtp(video: bool) -> Self {
        if video { Self::VideoRtp } else { Self::AudioRtp }
    }

    pub(super) fn rtcp(video: bool) -> Self {
        if video { Self::VideoRtcp } else { Self::AudioRtcp }
    }

    pub(super) fn is_video(self) -> bool {
        matches!(self, Self::VideoRtp | Self::VideoRtcp)
    }

    pub(super) fn is_rtcp(self) -> bool {
        matches!(self, Self::AudioRtcp | Self::VideoRtcp)
    }
}

/// A datagram for a far end.
#[derive(Debug)]
pub(super) struct FarSend {
    pub(super) port: FarPort,
    pub(super) to: SocketAddr,
    pub(super) datagram: BytesMut,
}

/// The payload types that the browser was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BrowserTypes {
    pub(super) opus: Option<u8>,
    pub(super) pcmu: Option<u8>,
    pub(super) pcma: Option<u8>,
    pub(super) events_48k: Option<u8>,
    pub(super) events_8k: Option<u8>,
    pub(super) vp8: Option<u8>,
    pub(super) h264: Option<u8>,
    /// The browser was asked for H.264 rather than VP8.
    h264_first: bool,
}

impl BrowserTypes {
    /// Takes note of an answered codec.
    pub(super) fn add(&mut self, kind: CodecKind, clock: u32, payload_type: u8) {
        let slot = match kind {
            CodecKind::Opus => &mut self.opus,
            CodecKind::Pcmu => &mut self.pcmu,
            CodecKind::Pcma => &mut self.pcma,
            CodecKind::TelephoneEvent if clock == 48_000 => &mut self.events_48k,
            CodecKind::TelephoneEvent => &mut self.events_8k,
            CodecKind::Vp8 => &mut self.vp8,
            CodecKind::H264 => &mut self.h264,
        };
        slot.get_or_insert(payload_type);
        self.h264_first |= kind == CodecKind::H264 && self.vp8.is_none();
    }

    /// What a payload type of the browser carries, with its clock.
    pub(super) fn kind(&self, payload_type: u8) -> Option<(CodecKind, u32)> {
        let all = [
            (self.opus, CodecKind::Opus, 48_000),
            (self.pcmu, CodecKind::Pcmu, 8_000),
            (self.pcma, CodecKind::Pcma, 8_000),
            (self.events_48k, CodecKind::TelephoneEvent, 48_000),
            (self.events_8k, CodecKind::TelephoneEvent, 8_000),
            (self.vp8, CodecKind::Vp8, 90_000),
            (self.h264, CodecKind::H264, 90_000),
        ];
        all.into_iter().find(|(known, ..)| *known == Some(payload_type)).map(|(_, kind, clock)| (kind, clock))
    }

    /// The number of a codec that is no digits.
    pub(super) fn number(&self, kind: CodecKind) -> Option<u8> {
        match kind {
            CodecKind::Opus => self.opus,
            CodecKind::Pcmu => self.pcmu,
            CodecKind::Pcma => self.pcma,
            CodecKind::Vp8 => self.vp8,
            CodecKind::H264 => self.h264,
            CodecKind::TelephoneEvent => None,
        }
    }

    /// The number and clock of digits, those of `clock` if there are such.
    pub(super) fn events(&self, clock: u32) -> Option<(u8, u32)> {
        let (wide, narrow) = (self.events_48k.map(|one| (one, 48_000)), self.events_8k.map(|one| (one, 8_000)));
        if clock == 48_000 { wide.or(narrow) } else { narrow.or(wide) }
    }

    /// The video codecs, best first.
    pub(super) fn video(&self) -> impl Iterator<Item = CodecKind> {
        let both = [(self.vp8, CodecKind::Vp8), (self.h264, CodecKind::H264)];
        let ordered = if self.h264_first { [both[1], both[0]] } else { both };
        ordered.into_iter().filter(|(number, _)| number.is_some()).map(|(_, kind)| kind)
    }
}
