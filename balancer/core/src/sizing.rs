//! N+M: how many instances may still die before users are left out.
//!
//! Survivable is the largest `k` in `0..=N-1` such that the load fits into `target` times the capacity that is left after the `k`
//! largest instances died. Only instances that are up bear load; what still runs on others (draining, suspect) has yet to be
//! placed. Full load is exactly `N · C`.

use serde::Serialize;

/// What an instance contributes to one kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Whether it is up and takes new load.
    pub bears: bool,
    /// What it can hold.
    pub capacity: u32,
    /// What it holds.
    pub used: u32,
}

/// What the operator asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Instances that must be able to die (`--spare`, M).
    pub spare: u32,
    /// Part of the capacity to be used at most (`--target`), above 0, at most 1.
    pub target: f64,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { spare: 1, target: 1.0 }
    }
}

/// `/plan`: the top level repeats sessions or calls, whichever survives less.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The tighter of the two.
    #[serde(flatten)]
    pub tighter: Sizing,
    /// By sessions.
    pub sessions: Sizing,
    /// By calls.
    pub calls: Sizing,
}

/// One kind of load against the instances that bear it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sizing {
    /// Instances that are up.
    pub instances: u32,
    /// What they hold together when full.
    pub capacity: u64,
    /// The load, with that of instances that are about to leave.
    pub used: u64,
    /// Instances that the load needs (N).
    pub required: u32,
    /// Instances that should be able to die (`--spare`, M).
    pub spare: u32,
    /// Instances that can die now without leaving anyone out.
    pub survivable: u32,
    /// Users (or calls) left out when one more than `survivable` dies; when even now not all fit, those.
    pub left_out: u64,
    /// The same for a person.
    pub sentence: String,
}

/// What an instance contributes, by sessions and by calls.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Sessions.
    pub sessions: Share,
    /// Calls.
    pub calls: Share,
}

/// Sessions and calls sized apart.
#[must_use]
pub fn plan(shares: &[Shares], wanted: Wanted) -> Plan {
    let sessions = size(shares.iter().map(|each| each.sessions), wanted, "user");
    let calls = size(shares.iter().map(|each| each.calls), wanted, "call");
    let tighter = if calls.survivable < sessions.survivable { &calls } else { &sessions }.clone();
    Plan { tighter, sessions, calls }
}

/// New users that may enter before fewer than `wanted.spare` instances may die.
#[must_use]
pub fn newcomers(shares: &[Shares], wanted: Wanted) -> u32 {
    let load = Load::of(shares.iter().map(|each| each.sessions), wanted.target);
    let spare = wanted.spare as usize;
    if load.largest_first.len() <= spare {
        return 0;
    }
    u32::try_from(load.room_after(spare).saturating_sub(load.used)).unwrap_or(u32::MAX)
}

/// How many may die, by one kind of load.
#[must_use]
pub fn survivable(shares: impl Iterator<Item = Share> + Clone, wanted: Wanted) -> u32 {
    Load::of(shares, wanted.target).survivable().unwrap_or(0) as u32
}

struct Load {
    largest_first: Vec<u32>,
    used: u64,
    target: f64,
}

impl Load {
    fn of(shares: impl Iterator<Item = Share> + Clone, target: f64) -> Self {
        let used = shares.clone().map(|share| u64::from(share.used)).sum();
        let mut largest_first: Vec<u32> = shares.filter(|share| share.bears).map(|share| share.capacity).collect();
        largest_first.sort_unstable_by(|a, b| b.cmp(a));
        Self { largest_first, used, target }
    }

    /// What fits after the `dead` largest died.
    fn room_after(&self, dead: usize) -> u64 {
        let left: u64 = self.largest_first.iter().skip(dead).map(|capacity| u64::from(*capacity)).sum();
        // A millionth of tolerance, so that 0.7 × 10 is 7.
        (self.target * left as f64 + 1e-6) as u64
    }

    fn left_out_after(&self, dead: usize) -> u64 {
        self.used.saturating_sub(self.room_after(dead))
    }

    /// `None` if the load does not even fit now.
    fn survivable(&self) -> Option<usize> {
        (0..self.largest_first.len()).rev().find(|dead| self.left_out_after(*dead) == 0)
    }

    /// Instances of the mean size that the load needs.
    fn required_beyond(&self) -> usize {
        let mean = self.target * self.largest_first.iter().map(|each| f64::from(*each)).sum::<f64>()
            / self.largest_first.len() as f64;
        if mean > 0.0 { (self.used as f64 / mean).ceil() as usize } else { self.largest_first.len() + 1 }
    }
}

fn size(shares: impl Iterator<Item = Share> + Clone, wanted: Wanted, what: &str) -> Sizing {
    let load = Load::of(shares, wanted.target);
    let instances = load.largest_first.len();
    let survivable = load.survivable();
    let left_out = load.left_out_after(survivable.map_or(0, |dead| dead + 1));
    let required = survivable.map_or_else(|| load.required_beyond(), |dead| instances - dead);
    Sizing {
        instances: instances as u32,
        capacity: load.largest_first.iter().map(|capacity| u64::from(*capacity)).sum(),
        used: load.used,
        required: required as u32,
        spare: wanted.spare,
        survivable: survivable.unwrap_or(0) as u32,
        left_out,
        sentence: sentence(instances, survivable, left_out, what),
    }
}

fn sentence(instances: usize, survivable: Option<usize>, left_out: u64, what: &str) -> String {
    let out = if left_out == 1 { format!("1 {what}") } else { format!("{left_out} {what}s") };
    match (instances, survivable) {
        (0, _) if left_out == 0 => "no instance is up".to_owned(),
        (0, _) => format!("no instance is up; {out} left out"),
        (_, None) => format!("{out} beyond what the instances may hold; none may die"),
        (1, Some(_)) if left_out == 0 => "the only instance; none may die".to_owned(),
        (_, Some(0)) => format!("none may die; the first leaves {out} out"),
        (_, Some(dead)) if left_out == 0 => format!("{dead} more may die; the {} is the last", ordinal(dead + 1)),
        (_, Some(dead)) => format!("{dead} more may die; a {} leaves {out} out", ordinal(dead + 1)),
    }
}

fn ordinal(number: usize) -> String {
    const WORDS: [&str; 10] =
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    match (WORDS.get(number.wrapping_sub(1)), number % 10, number % 100) {
        (Some(word), _, _) => (*word).to_owned(),
        (None, 1, rest) if rest != 11 => format!("{number}st"),
        (None, 2, rest) if rest != 12 => format!("{number}nd"),
        (None, 3, rest) if rest != 13 => format!("{number}rd"),
        _ => format!("{number}th"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn up(capacity: u32, used: u32) -> Share {
        Share { bears: true, capacity, used }
    }

    fn leaving(used: u32) -> Share {
        Share { bears: false, capacity: 1000, used }
    }

    fn sized(shares: &[Share]) -> Sizing {
        size(shares.iter().copied(), Wanted::default(), "user")
    }

    #[test]
    fn the_operator_reads_how_many_may_die_and_what_one_more_costs() {
        let sizing = sized(&[up(100, 60), up(100, 60), up(100, 60), up(100, 60)]);
        assert_eq!((sizing.survivable, sizing.required, sizing.spare, sizing.left_out), (1, 3, 1, 40));
        assert_eq!(sizing.sentence, "1 more may die; a second leaves 40 users out");
        let five = sized(&[up(100, 48), up(100, 48), up(100, 48), up(100, 48), up(100, 48)]);
        assert_eq!(five.sentence, "2 more may die; a third leaves 40 users out");
        assert_eq!((five.survivable, five.spare), (2, 1), "what may die, and what the operator asked for");
    }

    #[test]
    fn full_load_is_n_times_c_and_one_more_is_too_much() {
        let full = sized(&[up(100, 100), up(100, 100)]);
        assert_eq!((full.survivable, full.required, full.left_out), (0, 2, 100));
        assert_eq!(full.sentence, "none may die; the first leaves 100 users out");
        let over = sized(&[up(100, 100), up(100, 100), leaving(7)]);
        assert_eq!((over.survivable, over.required, over.left_out), (0, 3, 7));
        assert_eq!(over.sentence, "7 users beyond what the instances may hold; none may die");
    }

    #[test]
    fn the_edges_have_sentences_too() {
        assert_eq!(sized(&[]).sentence, "no instance is up");
        assert_eq!(sized(&[leaving(5)]).sentence, "no instance is up; 5 users left out");
        assert_eq!(sized(&[up(100, 0)]).sentence, "the only instance; none may die");
        assert_eq!(sized(&[up(100, 1)]).sentence, "none may die; the first leaves 1 user out");
        assert_eq!(sized(&[up(100, 0), up(100, 0)]).sentence, "1 more may die; the second is the last");
        assert_eq!([11, 21, 22, 112].map(ordinal), ["11th", "21st", "22nd", "112th"]);
    }

    #[test]
    fn the_largest_are_assumed_to_die() {
        let sizing = sized(&[up(1000, 150), up(100, 0), up(100, 0)]);
        assert_eq!(sizing.survivable, 1, "200 places are left when the large one dies, 100 when two die");
    }

    #[test]
    fn a_target_below_one_keeps_room() {
        let shares = [up(100, 70), up(100, 0)];
        let wanted = |target| Wanted { spare: 1, target };
        assert_eq!(size(shares.iter().copied(), wanted(0.7), "user").survivable, 1);
        assert_eq!(size(shares.iter().copied(), wanted(0.69), "user").survivable, 0);
    }

    #[test]
    fn the_plan_repeats_the_tighter_of_sessions_and_calls() {
        let shares = |calls| Shares { sessions: up(100, 10), calls };
        let plan = plan(&[shares(up(10, 9)), shares(up(10, 9))], Wanted::default());
        assert_eq!((plan.sessions.survivable, plan.calls.survivable), (1, 0));
        assert_eq!(plan.tighter, plan.calls);
        assert!(plan.tighter.sentence.ends_with("calls out"));
    }

    #[test]
    fn newcomers_may_use_everything_but_the_spare() {
        let shares: Vec<_> =
            [up(100, 60), up(100, 60), up(100, 0)].map(|sessions| Shares { sessions, calls: up(1, 0) }).to_vec();
        assert_eq!(newcomers(&shares, Wanted { spare: 1, target: 1.0 }), 80);
        assert_eq!(newcomers(&shares, Wanted { spare: 2, target: 1.0 }), 0);
        assert_eq!(newcomers(&shares, Wanted { spare: 3, target: 1.0 }), 0);
    }

    proptest! {
        /// The definition, word by word: try every number of deaths and every choice of the dead.
        #[test]
        fn survivable_is_what_trying_every_death_finds(
            shares in prop::collection::vec((1..200_u32, 0..200_u32), 1..7), target in 1..=10_u32,
        ) {
            let shares: Vec<_> = shares.into_iter().map(|(capacity, used)| up(capacity, used)).collect();
            let wanted = Wanted { spare: 1, target: f64::from(target) / 10.0 };
            let used: u32 = shares.iter().map(|share| share.used).sum();
            let fits = |dead: u32| {
                let left = shares.iter().enumerate().filter(|(index, _)| dead & (1 << index) == 0);
                10 * used <= target * left.map(|(_, share)| share.capacity).sum::<u32>()
            };
            let all_fit = |deaths| (0..1_u32 << shares.len()).filter(|dead| dead.count_ones() == deaths).all(fits);
            let expected = (0..shares.len() as u32).rev().find(|deaths| all_fit(*deaths)).unwrap_or(0);
            prop_assert_eq!(size(shares.iter().copied(), wanted, "user").survivable, expected);
        }

        #[test]
        fn one_death_more_leaves_somebody_out(shares in prop::collection::vec((1..200_u32, 1..200_u32), 1..7)) {
            let shares: Vec<_> = shares.into_iter().map(|(capacity, used)| up(capacity, used)).collect();
            prop_assert!(sized(&shares).left_out > 0);
        }
    }
}
