//! Requests without a usable answer, counted by cause and by when they were under way. Pure.

use crate::user::Now;
use serde::Serialize;
use std::collections::BTreeMap;

/// When a request was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Over before any kill.
    Before,
    /// Asked before a kill, over after it.
    During,
    /// Asked after a kill.
    After,
}

/// Causes kept apart; further ones are one.
const MAX_CAUSES: usize = 64;

/// How many, by moment and cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Failures(BTreeMap<Moment, BTreeMap<String, u64>>);

impl Moment {
    /// Of a request that was asked and over at these times.
    #[must_use]
    pub fn of(asked: Now, over: Now, kills: &[Now]) -> Self {
        if kills.iter().any(|kill| (asked..=over).contains(kill)) {
            Self::During
        } else if kills.iter().any(|kill| *kill < asked) {
            Self::After
        } else {
            Self::Before
        }
    }
}

impl Failures {
    /// Counts one.
    pub fn count(&mut self, moment: Moment, cause: String) {
        let causes = self.0.entry(moment).or_default();
        let known = causes.len() < MAX_CAUSES || causes.contains_key(&cause);
        *causes.entry(if known { cause } else { "other".to_owned() }).or_default() += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().flat_map(BTreeMap::values).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_request_is_before_during_or_after_a_kill() {
        let ms = Duration::from_millis;
        let of = |asked, over| Moment::of(ms(asked), ms(over), &[ms(100)]);
        assert_eq!((of(10, 20), of(90, 110), of(101, 110)), (Moment::Before, Moment::During, Moment::After));
        assert_eq!(Moment::of(ms(101), ms(110), &[]), Moment::Before);
    }

    #[test]
    fn causes_are_counted_and_bounded() {
        let mut failures = Failures::default();
        (0..100).for_each(|index| failures.count(Moment::After, format!("cause {index}")));
        failures.count(Moment::After, "cause 3".to_owned());
        assert_eq!((failures.total(), failures.0[&Moment::After].len()), (101, MAX_CAUSES + 1));
        assert_eq!(failures.0[&Moment::After]["cause 3"], 2);
    }
}
