//! The far leg "tone": 440 Hz as G.711, a frame each 20 ms.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Samples per frame at 8 kHz.
pub(super) const FRAME: usize = 160;
const FRAME_TIME: Duration = Duration::from_millis(20);
/// A timer later than this restarts the rhythm instead of sending a burst.
const LATE: Duration = Duration::from_millis(200);
/// 440 Hz at 8 kHz repeats after 200 samples, which hold 11 periods.
const PERIOD: usize = 200;
/// A comfortable half of full scale.
const AMPLITUDE: f64 = 16_000.0;

/// The two G.711 codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    Mu,
    A,
}

/// The rhythm and phase of one peer's tone.
#[derive(Debug)]
pub(super) struct Tone {
    law: Law,
    payload_type: u8,
    phase: usize,
    next: Instant,
}

static MU: LazyLock<[u8; PERIOD]> = LazyLock::new(|| wave(mu_law));
static A: LazyLock<[u8; PERIOD]> = LazyLock::new(|| wave(a_law));

impl Tone {
    pub(super) fn new(law: Law, payload_type: u8, now: Instant) -> Self {
        Self { law, payload_type, phase: 0, next: now }
    }

    /// The same tone, beginning now.
    pub(super) fn restarted(&self, now: Instant) -> Self {
        Self::new(self.law, self.payload_type, now)
    }

    pub(super) fn payload_type(&self) -> u8 {
        self.payload_type
    }

    /// When the next frame is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// The frame that is due, if one is.
    pub(super) fn frame(&mut self, now: Instant) -> Option<[u8; FRAME]> {
        if now < self.next {
            return None;
        }
        self.next = if now - self.next > LATE { now + FRAME_TIME } else { self.next + FRAME_TIME };
        let table = match self.law {
            Law::Mu => &*MU,
            Law::A => &*A,
        };
        let start = self.phase;
        self.phase = (start + FRAME) % PERIOD;
        Some(std::array::from_fn(|sample| table[(start + sample) % PERIOD]))
    }
}

fn wave(code: fn(i16) -> u8) -> [u8; PERIOD] {
    std::array::from_fn(|sample| {
        let angle = std::f64::consts::TAU * 11.0 * sample as f64 / PERIOD as f64;
        code((angle.sin() * AMPLITUDE) as i16)
    })
}

/// ITU-T G.711, mu-law.
fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + 132).min(32_767) as u32;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = magnitude >> (exponent + 3) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// ITU-T G.711, A-law.
fn a_law(sample: i16) -> u8 {
    let sign = if sample >= 0 { 0x80 } else { 0 };
    let magnitude = (if sample >= 0 { i32::from(sample) } else { -i32::from(sample) - 1 }) as u32;
    let coded = if magnitude < 256 {
        magnitude >> 4
    } else {
        let exponent = magnitude.ilog2() - 7;
        exponent << 4 | (magnitude >> (exponent + 3) & 0x0f)
    };
    (coded as u8 | sign) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coded_samples_are_those_of_the_standard() {
        for (sample, expected) in [(0, 0xff), (32_767, 0x80), (-32_768, 0x00), (1000, 0xce), (-1000, 0x4e)] {
            assert_eq!(mu_law(sample), expected, "mu-law of {sample}");
        }
        for (sample, expected) in [(0, 0xd5), (32_767, 0xaa), (-32_768, 0x2a), (1000, 0xfa), (-1000, 0x7a)] {
            assert_eq!(a_law(sample), expected, "A-law of {sample}");
        }
    }

    #[test]
    fn frames_come_every_20_ms_and_a_late_timer_does_not_burst() {
        let start = Instant::now();
        let mut tone = Tone::new(Law::Mu, 0, start);
        assert!(tone.frame(start).is_some());
        assert!(tone.frame(start + Duration::from_millis(19)).is_none());
        assert!(tone.frame(start + Duration::from_millis(25)).is_some());
        assert_eq!(tone.poll_timeout(), start + Duration::from_millis(40));
        let late = start + Duration::from_secs(5);
        assert!(tone.frame(late).is_some());
        assert!(tone.frame(late).is_none());
    }

    #[test]
    fn the_phase_goes_on_from_frame_to_frame() {
        let start = Instant::now();
        let mut tone = Tone::new(Law::A, 8, start);
        let frames: Vec<u8> = (0..5).flat_map(|count| tone.frame(start + FRAME_TIME * count).expect("due")).collect();
        assert_eq!(frames[..PERIOD], frames[PERIOD * 3..]);
        assert_eq!(frames[..PERIOD], A[..]);
    }
}
