//! Sine tones: made as Opus and PCMU, and looked for in what was heard.

use std::collections::{BTreeMap, HashMap};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Packets of 20 ms of a tone; whole cycles fit in for every frequency that is a multiple of 5 Hz.
const FRAMES: usize = 10;
const WIDE: usize = 48_000;
const NARROW: usize = 8_000;
const LOUD: f64 = 8_000.0;

fn sine(hertz: f64, rate: usize) -> Vec<i16> {
    let sample = |at: usize| (LOUD * (TAU * hertz * at as f64 / rate as f64).sin()) as i16;
    (0..FRAMES * rate / 50).map(sample).collect()
}

/// As a browser sends it, but in one mode of the codec for every tone: packets of several modes can't be said again and again.
pub(crate) fn opus(hertz: f64) -> Vec<Vec<u8>> {
    let mut encoder =
        opus::Encoder::new(WIDE as u32, opus::Channels::Mono, opus::Application::LowDelay).expect("an encoder");
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
    /// Whose sound came, by what is known of everybody's.
    pub(crate) voices: Option<Voices>,
}

/// Every tone that is said anywhere, in whole hertz that are multiples of 5, by each packet of it as a phone sends it.
pub(crate) struct Cast {
    packets: HashMap<Vec<u8>, u32>,
}

/// Tells whose packets come, one by one.
pub(crate) struct Voices {
    cast: Arc<Cast>,
    /// PCMU packets that are, byte by byte, of a tone; 0 for those that are of none.
    pub(crate) packets: BTreeMap<u32, u64>,
}

impl Cast {
    pub(crate) fn new(tones: &[u32]) -> Self {
        let coded = |tone: &u32| pcmu(f64::from(*tone)).into_iter().map(|packet| (packet, *tone)).collect::<Vec<_>>();
        let packets = tones.iter().flat_map(coded).collect();
        Self { packets }
    }
}

impl Voices {
    pub(crate) fn new(cast: &Arc<Cast>) -> Self {
        Self { cast: cast.clone(), packets: BTreeMap::new() }
    }

    fn hear(&mut self, payload: &[u8]) {
        let tone = self.cast.packets.get(payload).copied().unwrap_or(0);
        *self.packets.entry(tone).or_default() += 1;
    }
}

fn energy(samples: &[f64]) -> f64 {
    samples.iter().map(|sample| sample * sample).sum()
}

/// How much of the energy is this tone's (Goertzel).
fn share(samples: &[f64], hertz: f64, rate: usize) -> f64 {
    let turn = 2.0 * (TAU * hertz / rate as f64).cos();
    let (last, before) =
        samples.iter().fold((0.0, 0.0), |(last, before), sample| (sample + turn * last - before, last));
    let power = last * last + before * before - turn * last * before;
    2.0 * power / (samples.len() as f64 * energy(samples))
}

impl Ear {
    pub(crate) fn new() -> Self {
        let opus = opus::Decoder::new(WIDE as u32, opus::Channels::Mono).expect("a decoder");
        Self { opus, samples: Vec::new(), rate: WIDE, packets: BTreeMap::new(), voices: None }
    }

    /// Takes an RTP packet; `opus` is the payload type of Opus.
    pub(crate) fn hear(&mut self, packet: &[u8], opus: u8) {
        let Some((header, payload)) = packet.split_at_checked(12) else { return };
        let payload_type = header[1] & 0x7f;
        *self.packets.entry(payload_type).or_default() += 1;
        if let Some(voices) = self.voices.as_mut().filter(|_| payload_type == 0) {
            voices.hear(payload);
        }
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

    /// The tone makes up most of the last 400 ms.
    pub(crate) fn hears(&self, hertz: f64) -> bool {
        if self.samples.len() < self.rate * 2 / 5 {
            return false;
        }
        energy(&self.samples) > 1e6 && share(&self.samples, hertz, self.rate) > 0.8
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

#[test]
fn one_of_many_tones_is_told_from_the_others() {
    let tones: Vec<u32> = (300..2_900).step_by(10).collect();
    let cast = Arc::new(Cast::new(&tones));
    for tone in tones {
        assert!(pcmu(f64::from(tone)).iter().all(|packet| cast.packets[packet] == tone), "no packet is of two tones");
    }
    let mut ear = Ear { voices: Some(Voices::new(&cast)), ..Ear::new() };
    for tone in [310.0, 300.0, 305.0] {
        for frame in pcmu(tone) {
            ear.hear(&[&[0x80, 0][..], &[0; 10], &frame].concat(), 111);
        }
    }
    let voices = ear.voices.expect("it listens");
    assert_eq!(voices.packets, BTreeMap::from([(310, 10), (300, 10), (0, 10)]));
}
