//! One direction of sound that is not passed as it is: a transcoder, made when it is needed, and its clock.

use super::framer::FRAME;
use super::packet::payload;
use super::relay::{Head, Timeline, originate};
use super::transcode::{Coded, Transcoder};
use crate::media::rtp::{Stream, fields};
use bytes::BytesMut;
use gateway_core::sdp::{Codec, CodecKind};
use std::time::{Duration, Instant};

/// From which coding to which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) from: CodecKind,
    pub(super) send: Codec,
    /// Samples per packet, if it is G.711.
    pub(super) samples: usize,
}

/// See the module.
#[derive(Default)]
pub(super) struct Converter {
    coder: Option<Box<Transcoder>>,
    line: Option<Timeline>,
    source: Option<u32>,
}

impl Converter {
    /// What comes next does not follow what was.
    pub(super) fn interrupt(&mut self) {
        self.line = None;
        if let Some(coder) = &mut self.coder {
            coder.interrupt();
        }
    }

    /// A packet of the source held nothing to convert.
    pub(super) fn skip(&mut self, sequence: u16) {
        if let Some(coder) = &mut self.coder {
            coder.skip(sequence);
        }
    }

    /// Converts a packet and returns for how long it lasts, nothing if it is late; `None` when there is no such
    /// conversion.
    pub(super) fn convert(
        &mut self,
        packet: &[u8],
        way: &Way,
        to: &mut Stream,
        now: Instant,
        made: &mut impl FnMut(BytesMut),
    ) -> Option<Duration> {
        let (sequence, timestamp, ssrc) = fields(packet);
        let body = payload(packet)?;
        if self.source.replace(ssrc).is_some_and(|source| source != ssrc) {
            self.interrupt();
        }
        if !self.coder.as_ref().is_some_and(|coder| coder.is_for(way.from, way.send.kind)) {
            self.set(way)?;
        }
        let Self { coder: Some(coder), line, .. } = self else { return None };
        coder.resize(way.samples);
        let clock = coder.clock();
        let ticks = coder.push(sequence, timestamp, &packet[body], &mut |coded: Coded<'_>| {
            made(packet_of(coded, clock, way, line, to, now));
        });
        Some(Duration::from_secs(1) * ticks / clock)
    }

    /// Makes a frame that the source did not send, after `left_out` that nobody makes: of `given`, or of the decoder's
    /// own comfort noise. `None` when there is no such conversion.
    pub(super) fn fill(
        &mut self,
        left_out: u32,
        given: Option<&[i16; FRAME]>,
        way: &Way,
        to: &mut Stream,
        now: Instant,
        made: &mut impl FnMut(BytesMut),
    ) -> Option<()> {
        if !self.coder.as_ref().is_some_and(|coder| coder.makes() == way.send.kind) {
            self.set(way)?;
        }
        let Self { coder: Some(coder), line, .. } = self else { return None };
        coder.resize(way.samples);
        let clock = coder.clock();
        coder.fill(left_out, given, &mut |coded: Coded<'_>| made(packet_of(coded, clock, way, line, to, now)));
        Some(())
    }

    fn set(&mut self, way: &Way) -> Option<()> {
        self.coder = Some(Box::new(Transcoder::new(way.from, way.send.kind)?));
        self.line = None;
        Some(())
    }
}

fn packet_of(
    coded: Coded<'_>,
    clock: u32,
    way: &Way,
    line: &mut Option<Timeline>,
    to: &mut Stream,
    now: Instant,
) -> BytesMut {
    let Coded { marker, lost, timestamp, payload } = coded;
    let timestamp = Timeline::map(line, timestamp, (clock, way.send.clock), || to.timestamp_at(now));
    originate(to, Head { payload_type: way.send.payload_type, marker, timestamp, lost }, payload, now)
}
