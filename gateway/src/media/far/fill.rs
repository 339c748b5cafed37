//! When sound must be made because its source sends none for a while, and comfort noise of a stated level.
//!
//! A telephone takes a pause in RTP for a fault: it plays dropouts, and some end the call. So towards G.711 the browser's
//! pauses are filled: at once while its Opus encoder is in DTX (RFC 6716 §2.1.9), after [`PATIENCE`] when nobody said
//! why nothing comes. The other way a far side announces its pauses by comfort noise packets (RFC 3389).

use super::framer::FRAME;
use std::time::{Duration, Instant};

const FRAME_TIME: Duration = Duration::from_millis(20);
/// A frame is filled in so long after it was due, so that speech that begins again is not overtaken.
const SLACK: Duration = Duration::from_millis(40);
/// Packets may be delayed so long before their place is filled.
const PATIENCE: Duration = Duration::from_millis(200);
/// More frames than these are left out rather than made up for.
const MAX_LATE: u32 = 2;
/// No far side makes noise louder than this, in -dBov.
const LOUDEST: u8 = 30;
/// Full scale, as a root mean square: 0 dBov (RFC 3389 §3).
const OVERLOAD: f32 = 32_768.0;

/// The clock of one direction.
#[derive(Debug, Default)]
pub(super) struct Filler {
    /// When the next frame of the source should come; `None` while none is owed.
    next: Option<Instant>,
    patience: Duration,
    announced: bool,
}

impl Filler {
    /// Sound of the source is complete until `until`. `announced`: a pause follows.
    pub(super) fn expect(&mut self, until: Instant, announced: bool) {
        self.next = Some(until);
        self.announced = announced;
        self.patience = if announced { SLACK } else { PATIENCE };
    }

    /// Nothing is owed.
    pub(super) fn stop(&mut self) {
        self.next = None;
    }

    /// Whether frames are owed.
    pub(super) fn is_running(&self) -> bool {
        self.next.is_some()
    }

    /// The source said that it pauses.
    pub(super) fn announced(&self) -> bool {
        self.announced
    }

    /// When [`Filler::frame`] has something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next? + self.patience)
    }

    /// The frame that is due: how many before it are left out.
    pub(super) fn frame(&mut self, now: Instant) -> Option<u32> {
        let next = self.next.filter(|next| *next + self.patience <= now)?;
        let late = (now.saturating_duration_since(next + SLACK).as_millis() / FRAME_TIME.as_millis()) as u32;
        let left_out = if late > MAX_LATE { late } else { 0 };
        self.patience = SLACK;
        self.next = Some(next + FRAME_TIME * (left_out + 1));
        Some(left_out)
    }
}

/// White noise.
#[derive(Debug)]
pub(super) struct Noise {
    peak: f32,
    state: u32,
}

impl Noise {
    /// Noise of a comfort noise payload: its level in -dBov; the spectrum that may follow is not drawn (RFC 3389 §3.3).
    pub(super) fn new(payload: &[u8]) -> Option<Self> {
        let level = (payload.first()? & 0x7f).max(LOUDEST);
        // The peak of evenly spread values is the square root of 3 above their root mean square.
        let peak = OVERLOAD * 10_f32.powf(-f32::from(level) / 20.0) * 3_f32.sqrt();
        Some(Self { peak, state: 0x9e37_79b9 })
    }

    /// The next 20 ms at 8 kHz.
    pub(super) fn frame(&mut self) -> [i16; FRAME] {
        std::array::from_fn(|_| {
            // xorshift32: ears are easily pleased.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let spread = (self.state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            (spread * self.peak) as i16
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn due(filler: &mut Filler, start: Instant, until: Duration) -> Vec<(u128, u32)> {
        let mut frames = Vec::new();
        while let Some(at) = filler.poll_timeout().filter(|at| *at <= start + until) {
            frames.extend(filler.frame(at).map(|left_out| ((at - start).as_millis(), left_out)));
        }
        frames
    }

    #[test]
    fn an_announced_pause_is_filled_frame_by_frame() {
        let (start, mut filler) = (Instant::now(), Filler::default());
        assert_eq!(filler.poll_timeout(), None);
        filler.expect(start + MS * 20, true);
        assert_eq!(due(&mut filler, start, MS * 120), [(60, 0), (80, 0), (100, 0), (120, 0)]);
        filler.expect(start + MS * 140, false);
        assert_eq!(due(&mut filler, start, MS * 339), [], "speech goes on");
        filler.stop();
        assert_eq!(filler.frame(start + MS * 1000), None);
    }

    #[test]
    fn what_nobody_announced_is_waited_for_and_not_made_up_for() {
        let (start, mut filler) = (Instant::now(), Filler::default());
        filler.expect(start, false);
        assert_eq!(due(&mut filler, start, MS * 240), [(200, 8), (220, 0), (240, 0)]);
        assert_eq!(filler.frame(start + MS * 1000), Some(37), "nor is what a stalled worker missed");
        assert_eq!(filler.poll_timeout(), Some(start + MS * 1020));
    }

    #[test]
    fn noise_has_its_level_and_none_is_loud() {
        let rms = |level: u8| {
            let mut noise = Noise::new(&[level, 1, 2, 3]).expect("a level");
            let samples: Vec<f64> = (0..50).flat_map(|_| noise.frame()).map(f64::from).collect();
            (samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64).sqrt()
        };
        assert!((98.0..110.0).contains(&rms(50)), "-50 dBov is {}", rms(50));
        assert!((rms(0) - rms(30)).abs() < f64::EPSILON);
        assert!(rms(127) < 1.0 && rms(0xff) < 1.0);
        assert!(Noise::new(&[]).is_none());
    }
}
