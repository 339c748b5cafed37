//! Sound from one coding to another: Opus and G.711, both ways, and between the two laws.
//!
//! Packets are taken as they come, without a jitter buffer: the receiver has one. What is lost is concealed where Opus is
//! decoded, and shown as a gap where it is encoded. What the source leaves out can be filled in by the caller's clock; the
//! result's timestamps go on across it, wherever those of the source begin again.

use super::framer::{FRAME, Framer, Stretch};
use audio_codec_algorithms::{
    convert_alaw_to_ulaw, convert_ulaw_to_alaw, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw,
};
use gateway_core::sdp::CodecKind;
use opus::{Application, Channels, Decoder, Encoder};

/// The longest Opus packet, 120 ms at 8 kHz.
const MAX_FRAME: usize = 960;
/// Longer losses are left silent.
const MAX_CONCEALED: u32 = 960;
/// 48 kHz ticks per sample at 8 kHz.
const RATIO: u32 = 6;
/// Half as much costs a little quality, 5 costs 1.7 times as much CPU.
const COMPLEXITY: i32 = 3;
/// Room for 20 ms of Opus.
const MAX_OPUS: usize = 400;
/// The longest G.711 packet that is taken, 200 ms.
const MAX_G711: usize = 10 * FRAME;
/// Frames that were filled in too early, because their packet was so late, are made up for in the next pause; a source
/// that is further behind has stopped its clock.
const MAX_DEBT: u32 = 10 * FRAME as u32;

/// A packet of the result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded<'a> {
    /// Begins after silence.
    pub(super) marker: bool,
    /// In the clock of the input.
    pub(super) timestamp: u32,
    /// Packets of the input that were lost right before and are not concealed.
    pub(super) lost: u16,
    pub(super) payload: &'a [u8],
}

/// One direction of one call.
pub(super) struct Transcoder {
    from: CodecKind,
    to: CodecKind,
    last: Option<Last>,
    coder: Coder,
    /// What was filled in since the last packet of the source.
    filled: Option<Filled>,
    /// By how much the result's timestamps are ahead of the source's, and how much of that is to be won back.
    ahead: u32,
    debt: u32,
}

/// The end of the result so far.
#[derive(Clone, Copy)]
struct Last {
    /// That of the newest input packet; `None` when there was none yet.
    sequence: Option<u16>,
    /// The timestamp of the sample after its end.
    end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// What the decoder makes of nothing: concealment that becomes comfort noise.
    Comfort,
    /// What the caller gave.
    Given,
}

enum Coder {
    Decode { decoder: Decoder, frame: usize, framer: Framer },
    Encode { encoder: Encoder, waiting: Vec<i16>, lost: u16 },
    Swap { swap: fn(u8) -> u8, framer: Framer },
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Transcoder {
    /// From one coding to another, or from G.711 to itself in packets of another length; `None` for what is no sound, or
    /// when libopus has no memory.
    pub(super) fn new(from: CodecKind, to: CodecKind) -> Option<Self> {
        let swap = |swap| Coder::Swap { swap, framer: Framer::new(FRAME, 1) };
        let coder = match (from, to) {
            (CodecKind::Opus, CodecKind::Pcmu | CodecKind::Pcma) => Coder::Decode {
                decoder: Decoder::new(8_000, Channels::Mono).ok()?,
                frame: FRAME,
                framer: Framer::new(FRAME, RATIO),
            },
            (CodecKind::Pcmu | CodecKind::Pcma, CodecKind::Opus) => {
                let mut encoder = Encoder::new(8_000, Channels::Mono, Application::Voip).ok()?;
                encoder.set_complexity(COMPLEXITY).ok()?;
                Coder::Encode { encoder, waiting: Vec::with_capacity(2 * FRAME), lost: 0 }
            }
            (CodecKind::Pcmu, CodecKind::Pcma) => swap(convert_ulaw_to_alaw),
            (CodecKind::Pcma, CodecKind::Pcmu) => swap(convert_alaw_to_ulaw),
            (CodecKind::Pcmu, CodecKind::Pcmu) | (CodecKind::Pcma, CodecKind::Pcma) => swap(|byte| byte),
            _ => return None,
        };
        Some(Self { from, to, last: None, coder, filled: None, ahead: 0, debt: 0 })
    }

    /// Whether it is the one for these codings.
    pub(super) fn is_for(&self, from: CodecKind, to: CodecKind) -> bool {
        (self.from, self.to) == (from, to)
    }

    /// What it makes.
    pub(super) fn makes(&self) -> CodecKind {
        self.to
    }

    /// The clock of its source, in Hz.
    pub(super) fn clock(&self) -> u32 {
        if self.from == CodecKind::Opus { 48_000 } else { 8_000 }
    }

    /// Packets of G.711 have this length from now on.
    pub(super) fn resize(&mut self, samples: usize) {
        if let Coder::Decode { framer, .. } | Coder::Swap { framer, .. } = &mut self.coder {
            framer.resize(samples);
        }
    }

    /// The next packet is of another source.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
        self.filled = None;
        (self.ahead, self.debt) = (0, 0);
        match &mut self.coder {
            Coder::Encode { waiting, .. } => waiting.clear(),
            Coder::Decode { framer, .. } | Coder::Swap { framer, .. } => framer.clear(),
        }
    }

    /// A packet of the source held nothing to convert.
    pub(super) fn skip(&mut self, sequence: u16) {
        if let Some(last) = &mut self.last {
            last.sequence = Some(sequence);
        }
    }

    /// Takes a packet of the source, hands out what it becomes, and returns how many ticks of the source it lasts. Late
    /// ones are dropped.
    pub(super) fn push(
        &mut self,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
        emit: &mut impl FnMut(Coded<'_>),
    ) -> u32 {
        let before = self.last.and_then(|last| last.sequence);
        let step = before.map_or(1, |before| sequence.wrapping_sub(before) as i16);
        if step <= 0 && step > -1000 || payload.is_empty() {
            return 0;
        }
        // A leap backwards is a source that started anew.
        let last = self.last.filter(|_| step > 0);
        let lost = if last.is_some() { (step - 1) as u16 } else { 0 };
        let filled = self.filled.take();
        let gap = last.map_or(0, |last| self.gap(timestamp, last.end, filled.is_some()));
        let timestamp = timestamp.wrapping_add(self.ahead);
        let marker = last.is_none() || lost == 0 && gap != 0 && filled.is_none();
        let arrived = Arrived { timestamp, lost, gap, marker, filled, payload };
        let ticks = match &mut self.coder {
            Coder::Decode { decoder, frame, framer } => RATIO * decode(decoder, frame, framer, self.to, arrived, emit),
            Coder::Encode { encoder, waiting, lost } => {
                encode(encoder, waiting, lost, decoding(self.from), arrived, emit)
            }
            Coder::Swap { swap, framer } => swapped(*swap, framer, arrived, emit),
        };
        self.last = Some(Last { sequence: Some(sequence), end: timestamp.wrapping_add(ticks) });
        ticks
    }

    /// Makes a frame that the source did not send, after `left_out` that nobody makes: of `given`, or of the decoder's
    /// own comfort noise.
    pub(super) fn fill(&mut self, left_out: u32, given: Option<&[i16; FRAME]>, emit: &mut impl FnMut(Coded<'_>)) {
        let ticks = self.ticks();
        let last = self.last.unwrap_or(Last { sequence: None, end: 0 });
        let marker = self.last.is_none() || left_out > 0;
        let start = last.end.wrapping_add(left_out.wrapping_mul(ticks));
        let silence = [0; FRAME];
        match &mut self.coder {
            Coder::Decode { decoder, framer, .. } => {
                let mut samples = *given.unwrap_or(&silence);
                if given.is_none() {
                    // Of nothing it makes what is asked for, and without memory silence.
                    let _ = decoder.decode(&[], &mut samples, false);
                }
                code_out(framer, self.to, &samples, start, marker, emit);
            }
            Coder::Encode { encoder, waiting, lost } => {
                waiting.clear();
                waiting.extend_from_slice(given.unwrap_or(&silence));
                encode_out(encoder, waiting, lost, start, marker, emit);
            }
            Coder::Swap { framer, .. } => {
                code_out(framer, self.to, given.unwrap_or(&silence), start, marker, emit);
            }
        }
        self.last = Some(Last { end: start.wrapping_add(ticks), ..last });
        self.filled = Some(if given.is_some() { Filled::Given } else { Filled::Comfort });
    }

    /// Ticks of the source in a frame of 20 ms.
    fn ticks(&self) -> u32 {
        self.clock() / 50
    }

    /// The ticks between the end of the result and a packet of the source.
    fn gap(&mut self, timestamp: u32, end: u32, filled: bool) -> u32 {
        let unit = self.ticks() / FRAME as u32;
        let gap = timestamp.wrapping_add(self.ahead).wrapping_sub(end);
        if !filled {
            return gap;
        }
        let early = gap.wrapping_neg();
        if (gap as i32) < 0 && early <= MAX_DEBT * unit {
            self.debt = (self.debt + early).min(MAX_DEBT * unit);
        } else if (gap as i32) >= 0 && gap <= MAX_CONCEALED * unit {
            let back = gap.min(self.debt);
            self.debt -= back;
            self.ahead = self.ahead.wrapping_sub(back);
            return gap - back;
        }
        self.ahead = self.ahead.wrapping_sub(gap);
        0
    }
}

struct Arrived<'a> {
    timestamp: u32,
    lost: u16,
    /// Ticks between the end of the last packet and this one.
    gap: u32,
    marker: bool,
    filled: Option<Filled>,
    payload: &'a [u8],
}

/// Returns the samples of the packet.
fn decode(
    decoder: &mut Decoder,
    frame: &mut usize,
    framer: &mut Framer,
    law: CodecKind,
    arrived: Arrived<'_>,
    emit: &mut impl FnMut(Coded<'_>),
) -> u32 {
    let missing = (arrived.gap / RATIO) as usize;
    let start = arrived.timestamp.wrapping_sub(arrived.gap);
    let is_short = arrived.gap / RATIO <= MAX_CONCEALED;
    if is_short && arrived.filled == Some(Filled::Given) {
        code_out(framer, law, &[0; MAX_FRAME][..missing], start, false, emit);
    } else if is_short && (arrived.lost > 0 || arrived.filled.is_some()) {
        conceal(decoder, *frame, missing, arrived.payload, &mut |at, samples| {
            code_out(framer, law, samples, start.wrapping_add(at * RATIO), false, emit);
        });
    }
    let mut samples = [0; MAX_FRAME];
    let Ok(count) = decoder.decode(arrived.payload, &mut samples, false) else { return 0 };
    *frame = count;
    code_out(framer, law, &samples[..count], arrived.timestamp, arrived.marker, emit);
    count as u32
}

/// Fills the samples that are missing before `next`, the last frame from the redundancy that it may carry.
fn conceal(decoder: &mut Decoder, frame: usize, missing: usize, next: &[u8], fill: &mut impl FnMut(u32, &[i16])) {
    let mut at = 0;
    while at + frame <= missing && frame > 0 {
        let last = at + 2 * frame > missing;
        let mut samples = [0; MAX_FRAME];
        let source = if last { next } else { &[] };
        let Ok(count) = decoder.decode(source, &mut samples[..frame], last) else { return };
        fill(at as u32, &samples[..count]);
        at += frame;
    }
}

fn code_out(
    framer: &mut Framer,
    law: CodecKind,
    samples: &[i16],
    timestamp: u32,
    marker: bool,
    emit: &mut impl FnMut(Coded<'_>),
) {
    let mut coded = [0; MAX_FRAME];
    let coded = &mut coded[..samples.len().min(MAX_FRAME)];
    let both = coded.iter_mut().zip(samples);
    // A loop for each, so that the law is no call per sample.
    match law {
        CodecKind::Pcma => both.for_each(|(out, sample)| *out = encode_alaw(*sample)),
        _ => both.for_each(|(out, sample)| *out = encode_ulaw(*sample)),
    }
    framer.push(Stretch { marker, timestamp, coded }, &mut |made: Stretch<'_>| emit(packet(made, 0)));
}

fn packet(made: Stretch<'_>, lost: u16) -> Coded<'_> {
    Coded { marker: made.marker, timestamp: made.timestamp, lost, payload: made.coded }
}

/// Returns the samples of the packet.
fn encode(
    encoder: &mut Encoder,
    waiting: &mut Vec<i16>,
    lost: &mut u16,
    decode: fn(u8) -> i16,
    arrived: Arrived<'_>,
    emit: &mut impl FnMut(Coded<'_>),
) -> u32 {
    if arrived.gap != 0 || arrived.marker {
        waiting.clear();
    }
    *lost = lost.saturating_add(arrived.lost).min(50);
    let start = arrived.timestamp.wrapping_sub(waiting.len() as u32);
    waiting.extend(arrived.payload.iter().take(MAX_G711).map(|byte| decode(*byte)));
    encode_out(encoder, waiting, lost, start, arrived.marker, emit);
    arrived.payload.len() as u32
}

/// Hands out the whole frames of what waits.
fn encode_out(
    encoder: &mut Encoder,
    waiting: &mut Vec<i16>,
    lost: &mut u16,
    start: u32,
    marker: bool,
    emit: &mut impl FnMut(Coded<'_>),
) {
    let whole = waiting.len() / FRAME * FRAME;
    for (index, frame) in waiting[..whole].chunks_exact(FRAME).enumerate() {
        let mut coded = [0; MAX_OPUS];
        let Ok(count) = encoder.encode(frame, &mut coded) else { continue };
        let timestamp = start.wrapping_add((index * FRAME) as u32);
        let marker = marker && index == 0;
        emit(Coded { marker, timestamp, lost: std::mem::take(lost), payload: &coded[..count] });
    }
    waiting.drain(..whole);
}

/// Returns the samples of the packet.
fn swapped(swap: fn(u8) -> u8, framer: &mut Framer, arrived: Arrived<'_>, emit: &mut impl FnMut(Coded<'_>)) -> u32 {
    let coded: Vec<u8> = arrived.payload.iter().take(MAX_G711).map(|byte| swap(*byte)).collect();
    let Arrived { timestamp, marker, .. } = arrived;
    let mut lost = arrived.lost.min(50);
    framer.push(Stretch { marker, timestamp, coded: &coded }, &mut |made: Stretch<'_>| {
        emit(packet(made, std::mem::take(&mut lost)));
    });
    arrived.payload.len() as u32
}

fn decoding(law: CodecKind) -> fn(u8) -> i16 {
    if law == CodecKind::Pcma { decode_alaw } else { decode_ulaw }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Packet = (bool, u32, u16, Vec<u8>);

    fn push(coder: &mut Transcoder, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<Packet> {
        let mut out = Vec::new();
        coder.push(sequence, timestamp, payload, &mut |coded: Coded<'_>| {
            out.push((coded.marker, coded.timestamp, coded.lost, coded.payload.to_vec()));
        });
        out
    }

    fn tone(frame: usize) -> Vec<u8> {
        let sample = |at: usize| (at as f64 * std::f64::consts::TAU * 440.0 / 8_000.0).sin() * 12_000.0;
        (frame * FRAME..(frame + 1) * FRAME).map(|at| encode_ulaw(sample(at) as i16)).collect()
    }

    /// The power of 440 Hz among all power.
    fn purity(coded: &[u8]) -> f64 {
        let samples: Vec<f64> = coded.iter().map(|byte| f64::from(decode_ulaw(*byte))).collect();
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let angle = at as f64 * std::f64::consts::TAU * 440.0 / 8_000.0;
            re += sample * angle.cos();
            im += sample * angle.sin();
            power += sample * sample;
        }
        2.0 * (re * re + im * im) / (samples.len() as f64 * power)
    }

    /// 100 frames of a tone as Opus, with the timestamps of its clock.
    fn opus() -> Vec<(u16, u32, Vec<u8>)> {
        let mut encoder = Transcoder::new(CodecKind::Pcmu, CodecKind::Opus).expect("an encoder");
        (0..100u16)
            .flat_map(|frame| push(&mut encoder, frame, u32::from(frame) * 160, &tone(usize::from(frame))))
            .map(|(_, timestamp, _, payload)| ((timestamp / 160) as u16, timestamp * RATIO, payload))
            .collect()
    }

    #[test]
    fn a_tone_survives_opus_and_back() {
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
        let heard: Vec<Packet> =
            opus().iter().flat_map(|(n, at, payload)| push(&mut decoder, *n, *at, payload)).collect();
        assert_eq!(heard.len(), 100);
        assert!(heard.iter().enumerate().all(|(n, packet)| packet.1 == n as u32 * 960 && packet.3.len() == FRAME));
        assert!(heard[0].0 && !heard[1].0);
        let sound: Vec<u8> = heard[20..].iter().flat_map(|packet| packet.3.clone()).collect();
        assert!(purity(&sound) > 0.9, "{}", purity(&sound));
    }

    #[test]
    fn lost_packets_are_concealed_and_late_ones_dropped() {
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
        let packets = opus();
        let kept = packets.iter().filter(|(n, ..)| !(50..53).contains(n));
        let heard: Vec<Packet> = kept.flat_map(|(n, at, payload)| push(&mut decoder, *n, *at, payload)).collect();
        let times: Vec<u32> = heard.iter().map(|packet| packet.1 / 960).collect();
        assert_eq!(times, (0..100).collect::<Vec<_>>(), "every 20 ms have their packet");
        let power = |packet: &Packet| packet.3.iter().map(|byte| f64::from(decode_ulaw(*byte)).powi(2)).sum::<f64>();
        assert!(power(&heard[50]) > power(&heard[40]) / 20.0, "and the first of them is no silence");
        assert!(push(&mut decoder, 51, 51 * 960, &packets[51].2).is_empty());
    }

    #[test]
    fn silence_of_the_source_is_no_loss() {
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
        let packets = opus();
        push(&mut decoder, 0, 0, &packets[0].2);
        let heard = push(&mut decoder, 1, 960 * 20, &packets[1].2);
        assert_eq!(heard.len(), 1, "nothing is filled in");
        assert!(heard[0].0, "speech begins again");
    }

    #[test]
    fn packets_of_other_lengths_are_reframed_and_gaps_are_shown() {
        let mut encoder = Transcoder::new(CodecKind::Pcma, CodecKind::Opus).expect("an encoder");
        let mut times = Vec::new();
        for n in 0..8u16 {
            times.extend(push(&mut encoder, n, u32::from(n) * 240, &[0xd5; 240]).iter().map(|packet| packet.1));
        }
        assert_eq!(times, (0..12).map(|frame| frame * 160).collect::<Vec<_>>());
        let after = push(&mut encoder, 10, 2400, &[0xd5; 240]);
        assert_eq!((after[0].1, after[0].2), (2400, 2), "two were lost");
    }

    #[test]
    fn laws_are_swapped_and_other_pairs_refused() {
        let mut swap = Transcoder::new(CodecKind::Pcmu, CodecKind::Pcma).expect("a swap");
        assert_eq!(push(&mut swap, 1, 5, &[0xff; FRAME]), [(true, 5, 0, vec![0xd5; FRAME])]);
        assert!(Transcoder::new(CodecKind::Vp8, CodecKind::Opus).is_none());
        assert!(Transcoder::new(CodecKind::Opus, CodecKind::Opus).is_none());
    }

    fn fill(coder: &mut Transcoder, left_out: u32, given: Option<&[i16; FRAME]>) -> Vec<Packet> {
        let mut out = Vec::new();
        coder.fill(left_out, given, &mut |coded: Coded<'_>| {
            out.push((coded.marker, coded.timestamp, coded.lost, coded.payload.to_vec()));
        });
        out
    }

    /// A decoder that took the first 11 frames and filled in as many as wanted.
    fn paused(packets: &[(u16, u32, Vec<u8>)], frames: usize) -> Transcoder {
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
        for (n, at, payload) in &packets[..=10] {
            push(&mut decoder, *n, *at, payload);
        }
        for frame in 0..frames {
            let filled = fill(&mut decoder, 0, None);
            assert_eq!((filled[0].0, filled[0].1, filled[0].3.len()), (false, (11 + frame as u32) * 960, FRAME));
        }
        decoder
    }

    fn stamps(packets: &[Packet]) -> Vec<(bool, u32)> {
        packets.iter().map(|packet| (packet.0, packet.1 / 960)).collect()
    }

    #[test]
    fn a_source_that_goes_on_after_a_pause_follows_what_was_filled_in() {
        let packets = opus();
        let mut decoder = paused(&packets, 5);
        let on_time = push(&mut decoder, 11, 16 * 960, &packets[11].2);
        assert_eq!(stamps(&on_time), [(false, 16)]);
        let mut decoder = paused(&packets, 5);
        let ahead_of_the_clock = push(&mut decoder, 11, 18 * 960, &packets[11].2);
        assert_eq!(stamps(&ahead_of_the_clock), [(false, 16), (false, 17), (false, 18)], "the rest is filled in");
    }

    #[test]
    fn a_late_packet_shifts_the_result_until_the_next_pause() {
        let packets = opus();
        let mut decoder = paused(&packets, 5);
        let late = push(&mut decoder, 11, 14 * 960, &packets[11].2);
        assert_eq!(stamps(&late), [(false, 16)], "by two frames");
        assert_eq!(stamps(&push(&mut decoder, 12, 15 * 960, &packets[12].2)), [(false, 17)]);
        fill(&mut decoder, 0, None);
        let after = push(&mut decoder, 13, 18 * 960, &packets[13].2);
        assert_eq!(stamps(&after), [(false, 19)], "one of three missing frames was made, the others are owed");
        assert_eq!(stamps(&push(&mut decoder, 14, 19 * 960, &packets[14].2)), [(false, 20)]);
        fill(&mut decoder, 0, None);
        assert_eq!(stamps(&push(&mut decoder, 15, 21 * 960, &packets[15].2)), [(false, 22)], "even again, but for one");
    }

    #[test]
    fn a_source_whose_clock_stood_still_or_leapt_goes_on_without_a_gap() {
        for timestamp in [11 * 960, 5, 0_u32.wrapping_sub(960 * 500), 960 * 5000] {
            let packets = opus();
            let mut decoder = paused(&packets, 50);
            assert_eq!(stamps(&push(&mut decoder, 11, timestamp, &packets[11].2)), [(false, 61)], "{timestamp}");
            let next = push(&mut decoder, 12, timestamp.wrapping_add(960), &packets[12].2);
            assert_eq!(stamps(&next), [(false, 62)]);
        }
    }

    #[test]
    fn given_sound_fills_any_coding() {
        let loud = [8_000; FRAME];
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcma).expect("a decoder");
        let first = fill(&mut decoder, 0, Some(&loud));
        assert_eq!((first[0].0, first[0].1, &first[0].3[..]), (true, 0, &[encode_alaw(8_000); FRAME][..]));
        assert_eq!(stamps(&fill(&mut decoder, 3, Some(&loud))), [(true, 4)], "three were left out");
        let mut encoder = Transcoder::new(CodecKind::Pcmu, CodecKind::Opus).expect("an encoder");
        push(&mut encoder, 7, 0, &tone(0));
        encoder.skip(8);
        let noise = fill(&mut encoder, 0, Some(&loud));
        assert_eq!((noise[0].1, noise[0].2), (160, 0));
        let after = push(&mut encoder, 9, 320, &tone(1));
        assert_eq!((after[0].1, after[0].2), (320, 0), "nothing was lost");
    }

    #[test]
    fn packets_of_the_far_sides_length_are_made() {
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcmu).expect("a decoder");
        decoder.resize(240);
        let heard: Vec<Packet> =
            opus().iter().flat_map(|(n, at, payload)| push(&mut decoder, *n, *at, payload)).collect();
        assert_eq!(heard.len(), 66);
        assert!(heard.iter().zip(0..).all(|(packet, n)| packet.1 == n * 1440 && packet.3.len() == 240));
        let mut short = Transcoder::new(CodecKind::Pcmu, CodecKind::Pcmu).expect("a framer");
        short.resize(80);
        let cut = push(&mut short, 1, 0, &tone(0));
        assert_eq!([&cut[0].3[..], &cut[1].3].concat(), tone(0), "the same sound");
        assert_eq!((cut[0].1, cut[1].1), (0, 80));
    }

    #[test]
    fn garbage_is_not_emitted() {
        let mut decoder = Transcoder::new(CodecKind::Opus, CodecKind::Pcma).expect("a decoder");
        for (n, payload) in [&[][..], &[0xff; 3], &[3], &[0x7f, 0xff, 0xff], &[0xff; 1500]].into_iter().enumerate() {
            for packet in push(&mut decoder, n as u16, n as u32 * 960, payload) {
                assert!(packet.3.len() <= FRAME);
            }
        }
    }
}
