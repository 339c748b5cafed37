//! Something like speech, coded once: harmonics that swell and fade, with a breath of noise. Decoders and encoders work as
//! hard on it as on a voice, which they don't on silence or a plain tone.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::f64::consts::TAU;

/// Packets until it begins anew: two seconds.
const FRAMES: usize = 100;
const RATE: usize = 48_000;
/// Samples of 20 ms.
const FRAME: usize = RATE / 50;
/// A sample at 8 kHz stands for so many.
const NARROW: usize = 6;
const MAX_PACKET: usize = 400;

/// Opus as a browser sends it, 20 ms each.
///
/// # Errors
///
/// When libopus has no memory.
pub fn opus() -> anyhow::Result<Vec<Vec<u8>>> {
    let mut encoder = opus::Encoder::new(RATE as u32, opus::Channels::Mono, opus::Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(32_000))?;
    encoder.set_complexity(9)?;
    let samples = samples();
    samples.chunks_exact(FRAME).map(|frame| Ok(encoder.encode_vec(frame, MAX_PACKET)?)).collect()
}

/// PCMU, 20 ms each.
#[must_use]
pub fn pcmu() -> Vec<Vec<u8>> {
    let narrow: Vec<u8> = samples().chunks_exact(NARROW).map(|chunk| mu_law(average(chunk))).collect();
    narrow.chunks_exact(FRAME / NARROW).map(<[u8]>::to_vec).collect()
}

fn samples() -> Vec<i16> {
    let mut random = SmallRng::seed_from_u64(7);
    let sample = |at: usize| {
        let time = at as f64 / RATE as f64;
        let pitch = 120.0 + 20.0 * (TAU * 2.5 * time).sin();
        let voice: f64 = (1..=20).map(|n| (TAU * f64::from(n) * pitch * time).sin() / f64::from(n)).sum();
        let swell = (TAU * 3.0 * time).sin().max(0.0);
        let noise: f64 = random.random_range(-1.0..1.0);
        (swell * (5000.0 * voice + 600.0 * noise)) as i16
    };
    (0..FRAMES * FRAME).map(sample).collect()
}

fn average(chunk: &[i16]) -> i16 {
    (chunk.iter().map(|sample| i32::from(*sample)).sum::<i32>() / chunk.len().max(1) as i32) as i16
}

/// ITU-T G.711 §3.2.
fn mu_law(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = (magnitude >> 7).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_20_ms_have_a_packet() {
        let (wide, narrow) = (opus().expect("libopus"), pcmu());
        assert_eq!((wide.len(), narrow.len()), (FRAMES, FRAMES));
        assert!(narrow.iter().all(|frame| frame.len() == 160));
        assert!(wide.iter().map(Vec::len).sum::<usize>() / FRAMES > 30, "it is no silence");
    }

    #[test]
    fn mu_law_is_that_of_the_recommendation() {
        // Its table's ends and middle.
        assert_eq!([0, 32_767, -32_768, 1000, -1000].map(mu_law), [0xff, 0x80, 0x00, 0xce, 0x4e]);
    }
}
