//! Which instance gets a new session: two random candidates weighted by free places, the less loaded of them wins.
//!
//! Choosing "the least loaded by the last report" puts a whole wave of returning users on one instance, because the report is a
//! tenth of a second old. Chance spreads the wave, the second candidate evens it out, and the balancer's own reservations
//! count from the moment of choice.

use crate::{Instance, Random, Run, Snapshot, route::Tried};
use std::sync::Arc;

/// Instances that a request should or must not go to.
#[derive(Debug, Clone, Default)]
pub struct Avoid {
    /// Already tried for this request: never again.
    pub tried: Vec<Tried>,
    /// Its media did not reach this client (`holdfast-avoid`): only if no other is free.
    pub unwanted: Option<Run>,
}

impl Avoid {
    /// False if it was tried already.
    pub(crate) fn allows(&self, instance: &Instance) -> bool {
        self.tried.iter().all(|tried| tried.run != instance.run)
    }

    fn likes(&self, instance: &Instance) -> bool {
        self.unwanted.as_ref() != Some(&instance.run)
    }
}

/// The instance for a new session, or `None` if nothing is free.
///
/// When this balancer's own reservations fill the last places, the reports alone decide: an instance knows best whether it is
/// full, and asking it costs one round trip.
pub fn pick<'a>(snapshot: &'a Snapshot, avoid: &Avoid, random: &mut impl Random) -> Option<&'a Arc<Instance>> {
    let allowed = || snapshot.instances.iter().filter(|each| avoid.allows(each));
    let liked = || allowed().filter(|each| avoid.likes(each));
    two_choices(liked(), Instance::free, random)
        .or_else(|| two_choices(liked(), Instance::free_as_reported, random))
        .or_else(|| two_choices(allowed(), Instance::free, random))
        .or_else(|| two_choices(allowed(), Instance::free_as_reported, random))
}

/// The instance for a request that takes no place: a page, or one whose session is gone. Any that lives will do, one that is up
/// rather than one that is suspect.
pub fn any<'a>(snapshot: &'a Snapshot, avoid: &Avoid, random: &mut impl Random) -> Option<&'a Arc<Instance>> {
    let allowed = || snapshot.instances.iter().filter(|each| each.alive() && avoid.allows(each));
    let one = |_: &Instance| 1;
    two_choices(allowed().filter(|each| each.placeable), one, random)
        .or_else(|| two_choices(allowed().filter(|each| each.state.serves()), one, random))
        .or_else(|| two_choices(allowed(), one, random))
}

/// The creation watch: the instance that gets a sign-in which `assigned` did not answer in time. It is the next free one in the
/// order of `/instances`, so that the order of tries can be foretold.
#[must_use]
pub fn reserved<'a>(snapshot: &'a Snapshot, assigned: &Run, avoid: &Avoid) -> Option<&'a Arc<Instance>> {
    let instances = &snapshot.instances;
    let after = instances.partition_point(|each| each.run <= *assigned);
    let (before, behind) = instances.split_at(after);
    let in_order = || behind.iter().chain(before).filter(|each| each.run != *assigned && avoid.allows(each));
    let free = |each: &&Arc<Instance>| each.free_as_reported() > 0;
    in_order().filter(|each| avoid.likes(each)).find(free).or_else(|| in_order().find(free))
}

/// Draws two by `free` and `weight`, and takes the one that would be less full. One with nothing free is never drawn, so when
/// both would be full the draw has in effect scanned all.
fn two_choices<'a>(
    instances: impl Iterator<Item = &'a Arc<Instance>> + Clone,
    free: impl Fn(&Instance) -> u32,
    random: &mut impl Random,
) -> Option<&'a Arc<Instance>> {
    let shares = || instances.clone().map(|each| (each, u64::from(free(each)) * u64::from(each.weight.max(1))));
    let total: u64 = shares().map(|(_, share)| share).sum();
    let mut draw = || {
        let mut at = random.below(total);
        shares().find(|(_, share)| at.checked_sub(*share).map(|rest| at = rest).is_none()).map(|(each, _)| each)
    };
    let (first, second) = (draw()?, draw()?);
    Some(if fuller(first, second) { second } else { first })
}

/// Compares taken over capacity without a division.
fn fuller(a: &Instance, b: &Instance) -> bool {
    let taken = |each: &Instance| u64::from(each.taken());
    taken(a) * u64::from(b.report.capacity) > taken(b) * u64::from(a.report.capacity)
}
