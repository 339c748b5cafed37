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
    /// Instances that should be able to die (`--spare`, M).
    pub spare_wanted: u32,
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
    /// Instances beyond those.
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
    let sessions = size(shares.iter().map(|each| each.sessions), wanted, "users");
    let calls = size(shares.iter().map(|each| each.calls), wanted, "calls");
    let tighter = if calls.survivable < sessions.survivable { &calls } else { &sessions }.clone();
    Plan { spare_wanted: wanted.spare, tighter, sessions, calls }
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
        spare: instances.saturating_sub(required) as u32,
        survivable: survivable.unwrap_or(0) as u32,
        left_out,
        sentence: sentence(instances, survivable, left_out, what),
    }
}

fn sentence(instances: usize, survivable: Option<usize>, left_out: u64, what: &str) -> String {
    match (instances, survivable) {
        (0, _) if left_out == 0 => "no instance is up".to_owned(),
        (0, _) => format!("no instance is up; {left_out} {what} are left out"),
        (_, None) => format!("{left_out} {what} are beyond what the instances may hold; none may die"),
        (1, Some(_)) if left_out == 0 => "the only instance; none may die".to_owned(),
        (_, Some(0)) => format!("none may die; the first leaves {left_out} {what} out"),
        (_, Some(dead)) if left_out == 0 => format!("{dead} more may die; the {} is the last", ordinal(dead + 1)),
        (_, Some(dead)) => format!("{dead} more may die; a {} leaves {left_out} {what} out", ordinal(dead + 1)),
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
