//! Sine tones: made as Opus and PCMU, and looked for in what was heard.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// Packets of 20 ms of a tone; whole cycles fit in for every frequency that is a multiple of 5 Hz.
const FRAMES: usize = 10;
const WIDE: usize = 48_000;
const NARROW: usize = 8_000;
const LOUD: f64 = 8_000.0;

fn sine(hertz: f64, rate: usize) -> Vec<i16> {
    let sample = |at: usize| (LOUD * (TAU * hertz * at as f64 / rate as f64).sin()) as i16;
    (0..FRAMES * rate / 50).map(sample).collect()
}

/// As a browser sends it.
pub(crate) fn opus(hertz: f64) -> Vec<Vec<u8>> {
    let mut encoder =
        opus::Encoder::new(WIDE as u32, opus::Channels::Mono, opus::Application::Voip).expect("an encoder");
    let samples = sine(hertz, WIDE);
    // Once to settle the encoder, once to keep.
    let mut code = || -> Vec<Vec<u8>> {
        samples.chunks(WIDE / 50).map(|frame| encoder.encode_vec(frame, 400).expect("a packet")).collect()
    };
    code();
    code()
}

/// As a phone sends it.
pub(crate) fn pcmu(hertz: f64) -> Vec<Vec<u8>> {
    let coded: Vec<u8> = sine(hertz, NARROW).into_iter().map(mu_law).collect();
    coded.chunks(NARROW / 50).map(<[u8]>::to_vec).collect()
}

/// ITU-T G.711 §3.2.
fn mu_law(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = (magnitude >> 7).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

fn linear(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i32::from(byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7);
    let value = (magnitude - 132) as i16;
    if byte & 0x80 == 0 { value } else { -value }
}

/// Decodes what comes and keeps the newest 400 ms of it.
pub(crate) struct Ear {
    opus: opus::Decoder,
    samples: Vec<f64>,
    rate: usize,
    /// Packets by payload type.
    pub(crate) packets: BTreeMap<u8, u64>,
}

impl Ear {
    pub(crate) fn new() -> Self {
        let opus = opus::Decoder::new(WIDE as u32, opus::Channels::Mono).expect("a decoder");
        Self { opus, samples: Vec::new(), rate: WIDE, packets: BTreeMap::new() }
    }

    /// Takes an RTP packet; `opus` is the payload type of Opus.
    pub(crate) fn hear(&mut self, packet: &[u8], opus: u8) {
        let Some((header, payload)) = packet.split_at_checked(12) else { return };
        let payload_type = header[1] & 0x7f;
        *self.packets.entry(payload_type).or_default() += 1;
        let decoded: Vec<i16> = match payload_type {
            0 => payload.iter().map(|byte| linear(*byte)).collect(),
            known if known == opus => {
                let mut frame = vec![0; WIDE * 120 / 1000];
                let length = self.opus.decode(payload, &mut frame, false).unwrap_or(0);
                frame.truncate(length);
                frame
            }
            _ => return,
        };
        let rate = if payload_type == 0 { NARROW } else { WIDE };
        if std::mem::replace(&mut self.rate, rate) != rate {
            self.samples.clear();
        }
        self.samples.extend(decoded.into_iter().map(f64::from));
        let surplus = self.samples.len().saturating_sub(rate * 2 / 5);
        self.samples.drain(..surplus);
    }

    /// Forgets what it heard.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.packets.clear();
    }

    /// The tone makes up most of the last 400 ms (Goertzel).
    pub(crate) fn hears(&self, hertz: f64) -> bool {
        if self.samples.len() < self.rate * 2 / 5 {
            return false;
        }
        let energy: f64 = self.samples.iter().map(|sample| sample * sample).sum();
        let step = TAU * hertz / self.rate as f64;
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (at, sample) in self.samples.iter().enumerate() {
            sine += sample * (step * at as f64).sin();
            cosine += sample * (step * at as f64).cos();
        }
        let tone = 2.0 * (sine * sine + cosine * cosine) / self.samples.len() as f64;
        energy > 1e6 && tone > 0.8 * energy
    }
}

#[test]
fn a_tone_is_heard_and_no_other() {
    for coded in [opus(440.0), pcmu(440.0)] {
        let payload_type = if coded[0].len() == 160 { 0 } else { 111 };
        let mut ear = Ear::new();
        for frame in coded.iter().cycle().take(30) {
            ear.hear(&[&[0x80, payload_type][..], &[0; 10], frame].concat(), 111);
        }
        assert!(ear.hears(440.0) && !ear.hears(660.0), "payload type {payload_type}");
    }
}
