//! Where new sessions go.

mod world;

use balancer_core::{
    AdminState, Reservation, Run, Snapshot, State,
    pick::{Avoid, pick, reserved},
    route::{Reason, Tried},
    sizing::Wanted,
    snapshot::Rules,
};
use std::collections::BTreeMap;
use world::{compose, instance, instances, ms, seeded};

/// Places `count` sign-ins of which no report knows yet; the places they took, by instance.
fn place(snapshot: &Snapshot, count: usize, seed: u64) -> (BTreeMap<String, usize>, Vec<Reservation>) {
    let mut random = seeded(seed);
    let mut placed = BTreeMap::new();
    let mut under_way = Vec::new();
    for _ in 0..count {
        let Some(instance) = pick(snapshot, &Avoid::default(), &mut random) else { break };
        under_way.push(instance.traffic.reserve());
        *placed.entry(instance.run.instance.to_string()).or_default() += 1;
    }
    (placed, under_way)
}

#[test]
fn a_wave_of_moved_sessions_spreads_evenly_between_two_reports() {
    let snapshot = compose((0..5).map(|index| instance(index, |_, report| report.capacity = 500)).collect());
    for seed in 0..20 {
        let (placed, _under_way) = place(&snapshot, 300, seed);
        let (least, most) = (placed.values().min().expect("some"), placed.values().max().expect("some"));
        assert!(placed.len() == 5 && *least >= 50 && *most <= 70, "seed {seed}: {placed:?}");
    }
}

#[test]
fn the_emptier_instance_of_unequal_ones_gets_more() {
    let filled = |index, used| instance(index, |_, report| (report.capacity, report.used) = (1000, used));
    let snapshot = compose(vec![filled(0, 900), filled(1, 500), filled(2, 0)]);
    let (placed, _under_way) = place(&snapshot, 300, 1);
    assert!(placed["gw-2"] > placed["gw-1"], "{placed:?}");
    assert!(placed.get("gw-0").is_none_or(|few| *few < 30), "{placed:?}");
}

#[test]
fn a_returned_empty_instance_is_not_flooded() {
    let slow = instance(0, |slow, report| (slow.weight, report.capacity) = (100, 1000));
    let busy = |index| instance(index, |_, report| (report.capacity, report.used) = (1000, 500));
    let snapshot = compose(vec![slow, busy(1), busy(2), busy(3)]);
    let (placed, _under_way) = place(&snapshot, 300, 1);
    assert!(placed["gw-0"] < 75, "{placed:?}");
}

#[test]
fn every_place_is_found_and_none_is_invented() {
    let snapshot = compose(instances(4));
    let (placed, _under_way) = place(&snapshot, 1_000, 7);
    assert!(placed.values().all(|places| *places >= 100), "all places are found: {placed:?}");
    let full: Vec<_> = (0..4).map(|index| instance(index, |_, report| report.used = 100)).collect();
    assert!(pick(&compose(full), &Avoid::default(), &mut seeded(1)).is_none());
}

#[test]
fn the_last_free_place_is_always_found() {
    let almost = (0..50).map(|index| instance(index, |_, report| report.used = if index == 31 { 99 } else { 100 }));
    let snapshot = compose(almost.collect());
    for seed in 0..100 {
        let found = pick(&snapshot, &Avoid::default(), &mut seeded(seed)).expect("one place is free");
        assert_eq!(found.run.instance.as_str(), "gw-31");
    }
}

#[test]
fn only_instances_that_are_up_and_wanted_get_new_sessions() {
    let states = [State::Joining, State::Suspect, State::HoldDown, State::Up, State::Up, State::Up];
    let mut all: Vec<_> =
        states.into_iter().enumerate().map(|(index, state)| instance(index, |each, _| each.state = state)).collect();
    all[3].admin_state = AdminState::Drain;
    all[4].admin_state = AdminState::Maintenance;
    let snapshot = compose(all);
    for seed in 0..50 {
        let found = pick(&snapshot, &Avoid::default(), &mut seeded(seed)).expect("gw-5 is free");
        assert_eq!(found.run.instance.as_str(), "gw-5");
    }
}

#[test]
fn late_is_better_than_never_unless_the_balancer_is_blind() {
    let suspects = || (0..2).map(|index| instance(index, |each, _| each.state = State::Suspect)).collect();
    assert!(pick(&compose(suspects()), &Avoid::default(), &mut seeded(1)).is_some());
    let rules =
        Rules { wanted: Wanted::default(), protect_spare: false, blind: true, settled: true, discarded_rounds: 0 };
    let blind = Snapshot::compose(suspects(), Vec::new(), rules);
    assert!(pick(&blind, &Avoid::default(), &mut seeded(1)).is_none());
    assert_eq!(compose(suspects()).plan.tighter.instances, 0, "the plan counts on none of them");
}

#[test]
fn an_unwanted_instance_is_the_last_resort_and_a_tried_one_none() {
    let snapshot = compose(instances(2));
    let run = |index: usize| snapshot.instances[index].run.clone();
    let tried = |run: Run| Tried { run, reason: Reason::Full };
    let unwanted = Avoid { tried: vec![], unwanted: Some(run(0)) };
    assert!((0..50).all(|seed| pick(&snapshot, &unwanted, &mut seeded(seed)).expect("free").run == run(1)));
    let last = Avoid { tried: vec![tried(run(1))], unwanted: Some(run(0)) };
    assert_eq!(pick(&snapshot, &last, &mut seeded(1)).expect("free").run, run(0));
    let none = Avoid { tried: vec![tried(run(0)), tried(run(1))], unwanted: None };
    assert!(pick(&snapshot, &none, &mut seeded(1)).is_none());
}

#[test]
fn the_reserved_instance_is_the_next_free_one_in_the_order_of_the_list() {
    let full = instance(2, |_, report| report.used = 100);
    let mut all = instances(5);
    all[2] = full;
    let snapshot = compose(all);
    let after = |index: usize| {
        let assigned = snapshot.instances[index].run.clone();
        reserved(&snapshot, &assigned, &Avoid::default()).expect("another is free").run.instance.to_string()
    };
    assert_eq!(after(0), "gw-1");
    assert_eq!(after(1), "gw-3");
    assert_eq!(after(4), "gw-0");
}

#[test]
fn flagged_instances_help_out_when_the_others_could_not_lose_one() {
    let other = |index| instance(index, |_, report| report.config_hash = "other".to_owned());
    let placeable =
        |snapshot: &Snapshot| -> Vec<bool> { snapshot.instances.iter().map(|each| each.placeable).collect() };
    let mut all = instances(3);
    all[2] = other(2);
    let snapshot = compose(all);
    assert_eq!(placeable(&snapshot), [true, true, false]);
    assert!(snapshot.instances[2].flag.is_some());
    let mut all: Vec<_> = (0..3).map(|index| instance(index, |_, report| report.used = 60)).collect();
    all[2] = instance(2, |_, report| (report.used, report.config_hash) = (60, "other".to_owned()));
    assert_eq!(placeable(&compose(all)), [true, true, true]);
}

#[test]
fn the_second_of_two_with_one_id_gets_nothing_new() {
    let mut twin = world::World::up(3);
    let run = twin.gateway(0).report.run.clone();
    twin.gateway(1).report.run = Run { boot: balancer_core::BootId::parse("other").expect("valid"), ..run };
    twin.run(ms(1_000));
    let flagged: Vec<_> = twin.snapshot.instances.iter().filter(|each| each.flag.is_some()).collect();
    assert_eq!(flagged.len(), 1);
    assert_eq!(flagged[0].endpoint, world::endpoint(1), "the one known for longer is believed");
    assert!(!flagged[0].placeable && flagged[0].state == State::Up);
}
