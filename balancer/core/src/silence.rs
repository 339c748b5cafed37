//! Whose silence is believed. One instance that falls silent is frozen or cut off; many at once are more likely a fault on the
//! balancer's own side, and then it judges nobody: it is *blind*.

use crate::Time;
use std::time::Duration;

/// Within this time at most `max(1, M)` instances go down by silence.
pub const WINDOW: Duration = Duration::from_secs(2);

/// Judges all instances, known by `K`, together.
#[derive(Debug)]
pub struct SilenceJudge<K> {
    /// No byte for so long is silence.
    silence: Duration,
    /// Instances that may go down by silence within [`WINDOW`].
    at_most: usize,
    /// Which instances went down by silence within the last [`WINDOW`], and when, unless they came back.
    fallen: Vec<(K, Time)>,
    /// Set while blind: since when some are heard all the same, or the last judgement when nobody was.
    blind_since: Option<Time>,
}

impl<K: Copy + Eq> SilenceJudge<K> {
    /// A judge for this silence time and these M spare instances.
    #[must_use]
    pub fn new(silence: Duration, spare: u32) -> Self {
        Self { silence, at_most: spare.max(1) as usize, fallen: Vec::new(), blind_since: None }
    }

    /// True while more are silent than is believed.
    #[must_use]
    pub fn blind(&self) -> bool {
        self.blind_since.is_some()
    }

    /// Which of the instances that are not down yet, given with the time since their last byte, go down now.
    ///
    /// Those that have been quiet for half the silence time count too: a fault on this side silences all at one moment, but
    /// their last bytes came up to a check interval apart. While blind, if others are heard all the time, the longest
    /// silent go down at the same slow pace: then the fault is not on this side. In the moment when it sees again nobody goes down: answers
    /// may be milliseconds apart, so the caller lets everyone's silence start anew.
    pub fn judge(&mut self, now: Time, quiet: &[(K, Duration)]) -> Vec<K> {
        let is_back = |fallen: &K| quiet.iter().any(|(key, _)| key == fallen);
        self.fallen.retain(|(key, then)| now.saturating_sub(*then) < WINDOW && !is_back(key));
        let allowed = self.at_most.saturating_sub(self.fallen.len());
        let mut silent: Vec<_> = quiet.iter().filter(|(_, quiet)| *quiet >= self.silence).collect();
        let falling = quiet.iter().filter(|(_, quiet)| *quiet >= self.silence / 2).count();
        if silent.is_empty() || falling <= allowed {
            let sees_again = self.blind_since.take().is_some();
            silent.truncate(if sees_again { 0 } else { allowed });
        } else {
            let others_are_heard = falling < quiet.len();
            let since = self.blind_since.filter(|_| others_are_heard).unwrap_or(now);
            self.blind_since = Some(since);
            silent.sort_by_key(|(_, quiet)| std::cmp::Reverse(*quiet));
            silent.truncate(if now.saturating_sub(since) >= WINDOW { allowed } else { 0 });
        }
        self.fallen.extend(silent.iter().map(|(key, _)| (*key, now)));
        silent.into_iter().map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_millis(400);

    const DOWN: u64 = u64::MAX;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// The instances have the numbers of their places; one that is down is given as `DOWN`.
    fn judge(judge: &mut SilenceJudge<usize>, now: u64, quiet_ms: &[u64]) -> Vec<usize> {
        let quiet: Vec<_> = quiet_ms.iter().map(|ms| at(*ms)).enumerate().filter(|(_, ms)| *ms != at(DOWN)).collect();
        judge.judge(at(now), &quiet)
    }

    #[test]
    fn one_silent_instance_goes_down_even_if_it_is_the_only_one() {
        assert_eq!(judge(&mut SilenceJudge::new(SILENCE, 0), 1000, &[400]), [0]);
        assert_eq!(judge(&mut SilenceJudge::new(SILENCE, 1), 1000, &[399, 0]), [0; 0]);
    }

    #[test]
    fn all_at_once_is_blindness_and_cuts_nobody_for_ever() {
        let mut all = SilenceJudge::new(SILENCE, 1);
        assert!(judge(&mut all, 1000, &[400, 310, 305]).is_empty(), "the others are about to be silent as well");
        assert!(all.blind());
        assert!(judge(&mut all, 60_000, &[59_400, 59_310, 59_305]).is_empty());
        assert!(judge(&mut all, 60_100, &[0, 10, 59_505]).is_empty(), "the third answers a moment later");
        assert!(!all.blind());
    }

    #[test]
    fn two_of_four_go_down_one_by_one_because_the_others_are_heard() {
        let mut two = SilenceJudge::new(SILENCE, 1);
        assert!(judge(&mut two, 1000, &[400, 410, 0, 0]).is_empty());
        assert_eq!(judge(&mut two, 3000, &[2400, 2410, 0, 0]), [1]);
        assert!(judge(&mut two, 3100, &[2500, DOWN, 0, 0]).is_empty() && two.blind());
        assert!(judge(&mut two, 5100, &[4500, DOWN, 0, 0]).is_empty(), "it sees again, and listens anew");
        assert!(!two.blind());
        assert_eq!(judge(&mut two, 5500, &[400, DOWN, 0, 0]), [0]);
    }

    #[test]
    fn one_that_flaps_uses_up_nobody_elses_turn() {
        let mut flapping = SilenceJudge::new(SILENCE, 1);
        assert_eq!(judge(&mut flapping, 1000, &[400, 0]), [0]);
        assert!(judge(&mut flapping, 1100, &[0, 0]).is_empty());
        assert_eq!(judge(&mut flapping, 1500, &[400, 0]), [0]);
        assert!(judge(&mut flapping, 1900, &[DOWN, 400]).is_empty(), "the other is the second within 2 s");
        assert!(flapping.blind());
    }

    #[test]
    fn more_spare_instances_let_more_go_down_at_once() {
        assert_eq!(judge(&mut SilenceJudge::new(SILENCE, 2), 1000, &[400, 500, 0]).len(), 2);
    }
}
