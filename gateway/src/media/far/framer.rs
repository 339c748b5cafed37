//! Cuts G.711 sound into packets of the length that the far side takes.

/// Samples of 20 ms at 8 kHz.
pub(super) const FRAME: usize = 160;
/// The lengths that are made, 10 to 60 ms: phones take no others.
const SHORTEST: usize = FRAME / 2;
const LONGEST: usize = 3 * FRAME;

/// See the module.
#[derive(Debug)]
pub(super) struct Framer {
    samples: usize,
    /// Ticks of the timestamps per sample.
    ratio: u32,
    waiting: Vec<u8>,
    /// The timestamp of the first byte that waits.
    start: u32,
    marker: bool,
}

/// A stretch of coded sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch<'a> {
    /// It begins after silence.
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) coded: &'a [u8],
}

/// The samples per packet that a far side wants: its `ptime`, never more than its `maxptime`.
pub(super) fn samples(ptime_ms: Option<u16>, maxptime_ms: Option<u16>) -> usize {
    let tens = |ms: u16| usize::from(ms / 10) * SHORTEST;
    let wanted = ptime_ms.map_or(FRAME, tens);
    wanted.min(maxptime_ms.map_or(LONGEST, tens)).clamp(SHORTEST, LONGEST)
}

impl Framer {
    pub(super) fn new(samples: usize, ratio: u32) -> Self {
        Self { samples, ratio, waiting: Vec::new(), start: 0, marker: false }
    }

    /// Packets have this length from now on.
    pub(super) fn resize(&mut self, samples: usize) {
        self.samples = samples;
    }

    /// What waits is of another source.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes a stretch and hands out the packets that are whole. What waited before a gap goes as a short one.
    pub(super) fn push(&mut self, stretch: Stretch<'_>, emit: &mut impl FnMut(Stretch<'_>)) {
        let end = self.start.wrapping_add(self.waiting.len() as u32 * self.ratio);
        if !self.waiting.is_empty() && (end != stretch.timestamp || stretch.marker) {
            emit(Stretch { marker: self.marker, timestamp: self.start, coded: &self.waiting });
            self.waiting.clear();
        }
        if self.waiting.is_empty() {
            let rest = cut(stretch, self.samples, self.ratio, emit);
            self.waiting.extend_from_slice(rest.coded);
            (self.start, self.marker) = (rest.timestamp, rest.marker);
        } else {
            self.waiting.extend_from_slice(stretch.coded);
            let waiting = Stretch { marker: self.marker, timestamp: self.start, coded: &self.waiting };
            let rest = cut(waiting, self.samples, self.ratio, emit);
            let gone = waiting.coded.len() - rest.coded.len();
            (self.start, self.marker) = (rest.timestamp, rest.marker);
            self.waiting.drain(..gone);
        }
    }
}

/// Hands out whole packets and returns what is left.
fn cut<'a>(stretch: Stretch<'a>, samples: usize, ratio: u32, emit: &mut impl FnMut(Stretch<'_>)) -> Stretch<'a> {
    let chunks = stretch.coded.chunks_exact(samples);
    let rest = chunks.remainder();
    let mut next = stretch;
    for coded in chunks {
        emit(Stretch { coded, ..next });
        next = Stretch { marker: false, timestamp: next.timestamp.wrapping_add(samples as u32 * ratio), coded };
    }
    Stretch { coded: rest, ..next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(framer: &mut Framer, marker: bool, timestamp: u32, bytes: usize) -> Vec<(bool, u32, usize)> {
        let mut out = Vec::new();
        let coded = vec![7; bytes];
        framer.push(Stretch { marker, timestamp, coded: &coded }, &mut |made: Stretch<'_>| {
            out.push((made.marker, made.timestamp, made.coded.len()));
        });
        out
    }

    #[test]
    fn a_far_side_gets_the_length_it_wants_and_never_more_than_it_takes() {
        assert_eq!(samples(None, None), 160);
        assert_eq!(samples(Some(20), Some(150)), 160);
        assert_eq!(samples(Some(30), None), 240);
        assert_eq!(samples(Some(30), Some(20)), 160);
        assert_eq!(samples(None, Some(10)), 80);
        assert_eq!(samples(Some(35), None), 240, "in steps of 10 ms");
        assert_eq!((samples(Some(0), None), samples(Some(u16::MAX), None)), (80, 480));
        assert_eq!(samples(Some(20), Some(0)), 80);
    }

    #[test]
    fn packets_have_one_length_and_follow_one_another() {
        let mut long = Framer::new(240, 6);
        assert_eq!(push(&mut long, true, 0, 160), []);
        assert_eq!(push(&mut long, false, 960, 160), [(true, 0, 240)]);
        assert_eq!(push(&mut long, false, 1920, 160), [(false, 1440, 240)]);
        let mut short = Framer::new(80, 1);
        assert_eq!(push(&mut short, true, 5, 160), [(true, 5, 80), (false, 85, 80)]);
        short.resize(160);
        assert_eq!(push(&mut short, false, 165, 160), [(false, 165, 160)]);
    }

    #[test]
    fn what_waits_before_a_gap_goes_as_it_is() {
        let mut framer = Framer::new(240, 1);
        push(&mut framer, true, u32::MAX - 159, 160);
        assert_eq!(push(&mut framer, false, 0, 160), [(true, u32::MAX - 159, 240)], "across the rollover");
        assert_eq!(push(&mut framer, true, 1000, 240), [(false, 80, 80), (true, 1000, 240)]);
        push(&mut framer, false, 1240, 10);
        framer.clear();
        assert_eq!(push(&mut framer, false, 1250, 240), [(false, 1250, 240)]);
    }
}
