//! Sound from one coding to another: Opus and G.711, both ways, and between the two laws.
//!
//! Packets are taken as they come, without a jitter buffer: the receiver has one. What is lost is concealed where Opus is
//! decoded, and shown as a gap where it is encoded.

use audio_codec_algorithms::{
    convert_alaw_to_ulaw, convert_ulaw_to_alaw, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw,
};
use gateway_core::sdp::CodecKind;
use opus::{Application, Channels, Decoder, Encoder};

/// Samples of 20 ms at 8 kHz.
const FRAME: usize = 160;
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
}

/// The newest input packet.
#[derive(Clone, Copy)]
struct Last {
    sequence: u16,
    /// That of the sample after its end.
    end: u32,
}

enum Coder {
    Decode { decoder: Decoder, frame: usize },
    Encode { encoder: Encoder, waiting: Vec<i16>, lost: u16 },
    Swap(fn(u8) -> u8),
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Transcoder {
    /// From one coding to a different one; `None` for what is no sound, or when libopus has no memory.
    pub(super) fn new(from: CodecKind, to: CodecKind) -> Option<Self> {
        let coder = match (from, to) {
            (CodecKind::Opus, CodecKind::Pcmu | CodecKind::Pcma) => {
                Coder::Decode { decoder: Decoder::new(8_000, Channels::Mono).ok()?, frame: FRAME }
            }
            (CodecKind::Pcmu | CodecKind::Pcma, CodecKind::Opus) => {
                let mut encoder = Encoder::new(8_000, Channels::Mono, Application::Voip).ok()?;
                encoder.set_complexity(COMPLEXITY).ok()?;
                Coder::Encode { encoder, waiting: Vec::with_capacity(2 * FRAME), lost: 0 }
            }
            (CodecKind::Pcmu, CodecKind::Pcma) => Coder::Swap(convert_ulaw_to_alaw),
            (CodecKind::Pcma, CodecKind::Pcmu) => Coder::Swap(convert_alaw_to_ulaw),
            _ => return None,
        };
        Some(Self { from, to, last: None, coder })
    }

    /// Whether it is the one for these codings.
    pub(super) fn is_for(&self, from: CodecKind, to: CodecKind) -> bool {
        (self.from, self.to) == (from, to)
    }

    /// The next packet is of another source.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
        if let Coder::Encode { waiting, .. } = &mut self.coder {
            waiting.clear();
        }
    }

    /// Takes a packet of the source and hands out what it becomes. Late ones are dropped.
    pub(super) fn push(&mut self, sequence: u16, timestamp: u32, payload: &[u8], emit: &mut impl FnMut(Coded<'_>)) {
        let step = self.last.map_or(1, |last| sequence.wrapping_sub(last.sequence) as i16);
        if step <= 0 && step > -1000 || payload.is_empty() {
            return;
        }
        // A leap backwards is a source that started anew.
        let last = self.last.filter(|_| step > 0);
        let lost = if last.is_some() { (step - 1) as u16 } else { 0 };
        let gap = last.map_or(0, |last| timestamp.wrapping_sub(last.end));
        let arrived = Arrived { timestamp, lost, gap, marker: last.is_none() || lost == 0 && gap != 0, payload };
        let ticks = match &mut self.coder {
            Coder::Decode { decoder, frame } => RATIO * decode(decoder, frame, coding(self.to), arrived, emit),
            Coder::Encode { encoder, waiting, lost } => {
                encode(encoder, waiting, lost, decoding(self.from), arrived, emit)
            }
            Coder::Swap(swap) => swapped(*swap, arrived, emit),
        };
        self.last = Some(Last { sequence, end: timestamp.wrapping_add(ticks) });
    }
}

struct Arrived<'a> {
    timestamp: u32,
    lost: u16,
    /// Ticks between the end of the last packet and this one.
    gap: u32,
    marker: bool,
    payload: &'a [u8],
}

/// Returns the samples of the packet.
fn decode(
    decoder: &mut Decoder,
    frame: &mut usize,
    code: fn(i16) -> u8,
    arrived: Arrived<'_>,
    emit: &mut impl FnMut(Coded<'_>),
) -> u32 {
    let missing = (arrived.gap / RATIO) as usize;
    let start = arrived.timestamp.wrapping_sub(arrived.gap);
    if arrived.lost > 0 && arrived.gap / RATIO <= MAX_CONCEALED {
        conceal(decoder, *frame, missing, arrived.payload, &mut |at, samples| {
            code_out(code, samples, start.wrapping_add(at * RATIO), false, emit);
        });
    }
    let mut samples = [0; MAX_FRAME];
    let Ok(count) = decoder.decode(arrived.payload, &mut samples, false) else { return 0 };
    *frame = count;
    code_out(code, &samples[..count], arrived.timestamp, arrived.marker, emit);
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

fn code_out(code: fn(i16) -> u8, samples: &[i16], start: u32, marker: bool, emit: &mut impl FnMut(Coded<'_>)) {
    for (index, chunk) in samples.chunks(FRAME).enumerate() {
        let mut coded = [0; FRAME];
        for (out, sample) in coded.iter_mut().zip(chunk) {
            *out = code(*sample);
        }
        let timestamp = start.wrapping_add((index * FRAME) as u32 * RATIO);
        emit(Coded { marker: marker && index == 0, timestamp, lost: 0, payload: &coded[..chunk.len()] });
    }
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
    waiting.extend(arrived.payload.iter().take(10 * FRAME).map(|byte| decode(*byte)));
    let whole = waiting.len() / FRAME * FRAME;
    for (index, frame) in waiting[..whole].chunks_exact(FRAME).enumerate() {
        let mut coded = [0; MAX_OPUS];
        let Ok(count) = encoder.encode(frame, &mut coded) else { continue };
        let timestamp = start.wrapping_add((index * FRAME) as u32);
        let marker = arrived.marker && index == 0;
        emit(Coded { marker, timestamp, lost: std::mem::take(lost), payload: &coded[..count] });
    }
    waiting.drain(..whole);
    arrived.payload.len() as u32
}

/// Returns the samples of the packet.
fn swapped(swap: fn(u8) -> u8, arrived: Arrived<'_>, emit: &mut impl FnMut(Coded<'_>)) -> u32 {
    let coded: Vec<u8> = arrived.payload.iter().map(|byte| swap(*byte)).collect();
    let Arrived { timestamp, lost, marker, .. } = arrived;
    emit(Coded { marker, timestamp, lost: lost.min(50), payload: &coded });
    coded.len() as u32
}

fn coding(law: CodecKind) -> fn(i16) -> u8 {
    if law == CodecKind::Pcma { encode_alaw } else { encode_ulaw }
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
        assert_eq!(push(&mut swap, 1, 5, &[0xff]), [(true, 5, 0, vec![0xd5])]);
        assert!(Transcoder::new(CodecKind::Vp8, CodecKind::Opus).is_none());
        assert!(Transcoder::new(CodecKind::Pcmu, CodecKind::Pcmu).is_none());
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
