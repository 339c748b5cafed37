//! What was agreed with the far side, as the media plane needs it.

use super::codec::Codec;
use super::crypto::SrtpKeys;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The path to and from a far end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarMedia {
    /// Sound.
    pub audio: FarStream,
    /// Picture, if both sides have a codec for it.
    pub video: Option<FarStream>,
    /// The far side does not want to hear us: it put the call on hold.
    pub held_by_far: bool,
}

/// One stream of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarStream {
    /// Where RTP goes. The port is never 0; the address is unspecified while the far side holds the old way (`0.0.0.0`).
    pub rtp: SocketAddr,
    /// Where RTCP goes; equal to `rtp` when they share a port.
    pub rtcp: SocketAddr,
    /// What is sent, under the far side's number.
    pub send: Codec,
    /// What may arrive, under our numbers; without digits.
    pub receive: Vec<Codec>,
    /// How digits are sent; `None` when the far side takes none in RTP.
    pub dtmf_send: Option<DtmfType>,
    /// How digits may arrive.
    pub dtmf_receive: Vec<DtmfType>,
    /// We send. False on hold from either side.
    pub sends: bool,
    /// We take what arrives.
    pub receives: bool,
    /// The packets are SRTP under these keys.
    pub srtp: Option<SrtpKeys>,
    /// RTCP feedback that the far side understands.
    pub feedback: Feedback,
    /// Milliseconds per packet that the far side wants.
    pub ptime_ms: Option<u16>,
    /// The most that it takes.
    #[serde(default)]
    pub maxptime_ms: Option<u16>,
}

/// A payload type of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtmfType {
    /// Its number.
    pub payload_type: u8,
    /// Its clock: 8000 or 48000.
    pub clock: u32,
}

/// RTCP feedback for video (RFC 4585, RFC 5104).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "four independent capabilities")]
pub struct Feedback {
    /// Lost packets are asked for again.
    pub nack: bool,
    /// Picture loss indication.
    pub pli: bool,
    /// Full intra request.
    pub fir: bool,
    /// The receiver's estimated maximum bitrate.
    pub remb: bool,
}

impl Feedback {
    /// All of it.
    pub(super) const ALL: Self = Self { nack: true, pli: true, fir: true, remb: true };

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            nack: self.nack && other.nack,
            pli: self.pli && other.pli,
            fir: self.fir && other.fir,
            remb: self.remb && other.remb,
        }
    }

    /// As in rtcp-fb lines.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [(self.nack, "nack"), (self.pli, "nack pli"), (self.fir, "ccm fir"), (self.remb, "goog-remb")];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name)
    }
}
