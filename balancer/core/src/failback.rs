//! Failback is slow rebalancing: when an instance is back for long, some idle clients of fuller ones are asked to move to it.
//!
//! This decides who gives how many; which clients are idle, and how often each may be moved (once an hour), is the instance's
//! knowledge. A move is made before the old session is broken, so for a moment it takes two places.

use crate::{
    Endpoint, Instance, Run, Snapshot, State, Time,
    sizing::{self, Share, Wanted},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// An instance must be up for so long before load is brought back to it, unless said otherwise; a flap starts the time anew.
pub const SETTLED: Duration = Duration::from_secs(10 * 60);
/// Between two orders.
pub const PACE: Duration = Duration::from_secs(10);
/// Part of an instance's places that one order moves at most, as a divisor.
pub const ORDER_DIVISOR: u32 = 100;
/// Loads that differ by less than this many hundredths of the capacity are even.
pub const EVEN: u32 = 10;
/// Whether load comes back by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As the rules allow.
    #[default]
    Automatic,
    /// Only when an operator says "failback now"; else users stay until they sign out or reload.
    Manual,
}

/// Idle clients of one instance are to be asked to move. They are placed like everybody, which leads most of them to the emptiest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who gives.
    pub from: Run,
    /// Where it is asked.
    pub at: Endpoint,
    /// The emptiest, for whose sake it is.
    pub to: Run,
    /// How many, at most.
    pub clients: u32,
}

/// Decides when load comes back. One per balancer.
#[derive(Debug)]
pub struct Failback {
    mode: Mode,
    settled: Duration,
    /// An operator asked for it; holds until the load is even.
    asked: bool,
    last: Option<Time>,
}

impl Default for Failback {
    fn default() -> Self {
        Self::new(Mode::Automatic, SETTLED)
    }
}

impl Failback {
    /// In this mode, and never before every instance is up for so long.
    #[must_use]
    pub fn new(mode: Mode, settled: Duration) -> Self {
        Self { mode, settled, asked: false, last: None }
    }

    /// "Failback now."
    pub fn handle_ask(&mut self) {
        self.asked = true;
    }

    /// The next order, if one is due.
    pub fn decide(&mut self, now: Time, snapshot: &Snapshot, wanted: Wanted) -> Option<Order> {
        let is_wanted = self.asked || self.mode == Mode::Automatic;
        let is_due = self.last.is_none_or(|last| now.saturating_sub(last) >= PACE);
        if !is_wanted || !is_due || !self.is_calm(now, snapshot) {
            return None;
        }
        let order = order(snapshot, wanted);
        match order {
            Some(_) => self.last = Some(now),
            None => self.asked = false,
        }
        order
    }

    /// Nothing is wrong, and nothing was for long.
    fn is_calm(&self, now: Time, snapshot: &Snapshot) -> bool {
        let is_settled = |each: &Arc<Instance>| {
            each.state == State::Up && each.placeable && now.saturating_sub(each.up_since) >= self.settled
        };
        !snapshot.blind && snapshot.unseen.is_empty() && snapshot.instances.iter().all(is_settled)
    }
}

/// From the fullest to the emptiest, if they differ enough and the moves cost no spare instance.
fn order(snapshot: &Snapshot, wanted: Wanted) -> Option<Order> {
    let percent = |each: &Instance| each.taken().saturating_mul(100).checked_div(each.report.capacity).unwrap_or(100);
    let from = snapshot.instances.iter().max_by_key(|each| percent(each))?;
    let to = snapshot.instances.iter().min_by_key(|each| percent(each))?;
    let clients = (from.report.capacity / ORDER_DIVISOR).clamp(1, to.free().max(1));
    let differ = percent(from) >= percent(to) + EVEN;
    let keeps_spare = survivable(snapshot, clients, wanted) >= survivable(snapshot, 0, wanted);
    (differ && keeps_spare).then(|| Order { from: from.run.clone(), at: from.endpoint, to: to.run.clone(), clients })
}

/// How many may die while this many clients take two places.
fn survivable(snapshot: &Snapshot, twice: u32, wanted: Wanted) -> u32 {
    let held = snapshot.instances.iter().map(|each| (each.report.capacity, each.report.used));
    let shares = held.map(|(capacity, used)| Share { bears: true, capacity, used });
    sizing::survivable(shares.chain([Share { bears: false, capacity: 0, used: twice }]), wanted)
}
