//! One media section of the far side: its RTP stream, its address, its keys.

use super::feedback::{self, Names, Wanted};
use super::framer;
use super::latch::{Admission, Latch};
use super::relay::Relay;
use super::{FarPort, FarSend};
use crate::media::peer::CNAME;
use crate::media::rtcp;
use crate::media::rtp::{HEADER, Section, Stream, fields};
use crate::media::srtp::Srtp;
use crate::media::stats::Drop;
use bytes::BytesMut;
use gateway_core::sdp::{FarStream, SrtpKeys};
use rtc::crypto::RTCCryptoProvider;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A packet of the far side, decrypted.
#[derive(Debug)]
pub(super) enum Plain<'a> {
    /// As it came.
    Same(&'a mut [u8]),
    /// It was SRTP.
    Opened(BytesMut),
}

impl Plain<'_> {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Same(bytes) => bytes,
            Self::Opened(bytes) => bytes,
        }
    }
}

/// See the module.
pub(super) struct Side {
    /// Its received half is the far side's, its sent half ours.
    pub(super) stream: Stream,
    pub(super) agreed: Option<FarStream>,
    /// From the browser to the far side, and back.
    pub(super) out: Relay,
    pub(super) back: Relay,
    latch: Latch,
    srtp: Option<(SrtpKeys, Box<Srtp>)>,
    rtcp_from: Option<SocketAddr>,
    intra_number: u8,
    video: bool,
}

impl Side {
    pub(super) fn new(video: bool, ssrc: u32, first_sequence: u16, now: Instant) -> Self {
        let clock = if video { 90_000 } else { 48_000 };
        let section = Section { payload_types: 0, clock, ssrc, sends: true, video };
        Self {
            stream: Stream::new(section, first_sequence, now),
            agreed: None,
            out: Relay::default(),
            back: Relay::default(),
            latch: Latch::default(),
            srtp: None,
            rtcp_from: None,
            intra_number: 0,
            video,
        }
    }

    /// Takes what was agreed, for the first time or anew. Without usable keys it stays deaf and mute.
    pub(super) fn agree(&mut self, agreed: FarStream, provider: &Arc<dyn RTCCryptoProvider>) {
        self.latch.told(agreed.rtp);
        if self.agreed.as_ref().is_none_or(|old| old.rtcp != agreed.rtcp) {
            self.rtcp_from = None;
        }
        self.stream.send_clock = agreed.send.clock;
        self.stream.section.clock = agreed.receive.first().map_or(agreed.send.clock, |codec| codec.clock);
        let known = self.srtp.take();
        self.srtp = agreed.srtp.and_then(|keys| Some((keys, renewed(known, &keys, provider)?)));
        self.agreed = Some(agreed);
    }

    /// The section is gone from the description.
    pub(super) fn disagree(&mut self) {
        self.agreed = None;
    }

    /// Where RTP goes, if the far side wants any.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        let agreed = self.agreed.as_ref().filter(|agreed| agreed.sends)?;
        self.latch.destination().filter(|_| self.srtp.is_some() || agreed.srtp.is_none())
    }

    /// Samples in a packet of G.711 that is made for the far side.
    pub(super) fn samples(&self) -> usize {
        let agreed = self.agreed.as_ref();
        framer::samples(agreed.and_then(|one| one.ptime_ms), agreed.and_then(|one| one.maxptime_ms))
    }

    /// Samples in the longest packet of G.711 that the far side takes.
    pub(super) fn longest(&self) -> usize {
        let longest = self.agreed.as_ref().and_then(|agreed| agreed.maxptime_ms);
        longest.map_or(usize::MAX, |ms| usize::from(ms.max(10)) * 8)
    }

    /// Sends a packet of ours.
    pub(super) fn send(&mut self, packet: BytesMut, to: SocketAddr, out: &mut Vec<FarSend>) {
        let datagram = match &mut self.srtp {
            Some((_, srtp)) => srtp.protect_rtp(&packet).ok(),
            None => Some(packet),
        };
        let port = FarPort::rtp(self.video);
        out.extend(datagram.map(|datagram| FarSend { port, to, datagram }));
    }

    /// Judges an RTP packet of the far side and opens it. True with it: it is the first of its source.
    pub(super) fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        from: SocketAddr,
        now: Instant,
    ) -> Result<(Plain<'a>, bool), Drop> {
        if datagram.len() < HEADER || datagram[0] >> 6 != 2 {
            return Err(Drop::FarPayload);
        }
        let (_, _, ssrc) = fields(datagram);
        let admission = self.latch.admit(from, ssrc, now)?;
        let secure = self.agreed.as_ref().is_some_and(|agreed| agreed.srtp.is_some());
        let packet = match &mut self.srtp {
            Some((_, srtp)) => Plain::Opened(srtp.unprotect_rtp(datagram).map_err(|_| Drop::FarSrtp)?),
            None if secure => return Err(Drop::FarSrtp),
            None => Plain::Same(datagram),
        };
        self.latch.commit(from, ssrc, now);
        let fresh = admission == Admission::Fresh;
        if fresh {
            self.stream.forget_source();
        }
        Ok((packet, fresh))
    }

    /// Opens a compound RTCP packet of the far side.
    pub(super) fn open_rtcp(&mut self, datagram: &[u8], from: SocketAddr, on_rtcp: bool) -> Result<BytesMut, Drop> {
        let agreed = self.agreed.as_ref().ok_or(Drop::FarEarly)?;
        let locked = self.latch.destination().map(|address| address.ip());
        if from != agreed.rtcp && locked != Some(from.ip()) {
            return Err(Drop::FarAddress);
        }
        let packet = match &mut self.srtp {
            Some((_, srtp)) => srtp.unprotect_rtcp(datagram).map_err(|_| Drop::FarSrtp)?,
            None => BytesMut::from(datagram),
        };
        let is_rtcp = matches!(*packet, [128..=191, 192..=223, ..]) && rtcp::packets(&packet).next().is_some();
        if !is_rtcp {
            return Err(Drop::FarPayload);
        }
        if on_rtcp {
            self.rtcp_from = Some(from);
        }
        Ok(packet)
    }

    /// Reports of this leg.
    pub(super) fn report(&mut self, now: Instant, out: &mut Vec<FarSend>) {
        let mut packet = BytesMut::with_capacity(96);
        let (sent, block) = (self.stream.sender_info(now), self.stream.report_block(now));
        rtcp::put_report(&mut packet, self.stream.section.ssrc, sent, block);
        rtcp::put_cname(&mut packet, self.stream.section.ssrc, CNAME);
        self.send_rtcp(packet, out);
    }

    /// Asks the far side for what the receiver of its video wants.
    pub(super) fn ask<'a>(&mut self, wants: impl Iterator<Item = Wanted<'a>>, out: &mut Vec<FarSend>) {
        let (Some(theirs), Some(agreed)) = (self.back.source(), &self.agreed) else { return };
        let names = Names { ours: self.stream.section.ssrc, theirs, feedback: agreed.feedback };
        let mut packet = BytesMut::with_capacity(96);
        rtcp::put_report(&mut packet, names.ours, None, None);
        let empty = packet.len();
        for wanted in wants {
            feedback::put(&mut packet, wanted, names, &self.back, &mut self.intra_number);
        }
        if packet.len() > empty {
            self.send_rtcp(packet, out);
        }
    }

    fn send_rtcp(&mut self, packet: BytesMut, out: &mut Vec<FarSend>) {
        let Some(agreed) = &self.agreed else { return };
        let muxed = agreed.rtcp == agreed.rtp;
        let to = if muxed { self.latch.destination() } else { self.rtcp_from.or(Some(agreed.rtcp)) };
        let datagram = match &mut self.srtp {
            Some((_, srtp)) => srtp.protect_rtcp(&packet).ok(),
            None => Some(packet).filter(|_| agreed.srtp.is_none()),
        };
        let port = if muxed { FarPort::rtp(self.video) } else { FarPort::rtcp(self.video) };
        let to = to.filter(|to| !to.ip().is_unspecified());
        out.extend(to.zip(datagram).map(|(to, datagram)| FarSend { port, to, datagram }));
    }
}

/// Keys that stay keep their rollover counters; a new key of the far side replaces its half alone.
fn renewed(
    known: Option<(SrtpKeys, Box<Srtp>)>,
    keys: &SrtpKeys,
    provider: &Arc<dyn RTCCryptoProvider>,
) -> Option<Box<Srtp>> {
    match known {
        Some((old, srtp)) if old == *keys => Some(srtp),
        Some((old, mut srtp)) if (old.suite, old.local) == (keys.suite, keys.local) => {
            srtp.rekey_inbound(keys.remote.key(), keys.remote.salt(keys.suite)).ok()?;
            Some(srtp)
        }
        _ => Srtp::sdes(keys, provider.clone()).ok().map(Box::new),
    }
}
