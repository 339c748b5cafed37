//! The balancer's own faults are never taken for the instances': what it did not see proves nothing.

mod world;

use balancer_core::{Loss, State};
use world::{World, config, ms};

#[test]
fn a_balancer_that_lost_all_at_once_is_blind_and_cuts_nobody() {
    let mut world = World::up(3);
    world.gateways.values_mut().for_each(|gateway| gateway.reachable = false);
    world.run(ms(30_000));
    assert!(world.snapshot.blind);
    assert_eq!(world.cuts, []);
    world.gateways.values_mut().for_each(|gateway| gateway.reachable = true);
    world.run(ms(300));
    assert!(!world.snapshot.blind);
    assert!((0..3).all(|index| world.state(index) == State::Up), "nothing is held against them");
}

#[test]
fn a_frozen_balancer_judges_nobody_when_it_thaws() {
    let mut world = World::up(3);
    for frozen_ms in [60, 300, 1_000, 31_000] {
        world.oversleep(ms(frozen_ms));
        world.run(ms(300));
        assert_eq!(world.cuts, []);
        assert!((0..3).all(|index| world.state(index) == State::Up), "after {frozen_ms} ms");
    }
}

#[test]
fn killed_instances_are_gone_however_many_they_are() {
    let mut world = World::up(4);
    (0..4).for_each(|index| world.kill(index));
    world.run(ms(3));
    assert_eq!(world.cuts.iter().filter(|cut| cut.loss == Loss::Gone).count(), 4);
    assert!(!world.snapshot.blind);
}

#[test]
fn a_refusal_is_believed_even_while_blind() {
    let mut world = World::up(3);
    world.gateways.values_mut().for_each(|gateway| gateway.frozen = true);
    world.run(ms(1_000));
    assert!(world.snapshot.blind);
    world.kill(1);
    world.run(ms(3));
    assert_eq!(world.state(1), State::Down(Loss::Gone));
    assert_eq!(world.cuts.len(), 1);
}

#[test]
fn one_of_two_frozen_instances_at_a_time_goes_down_while_others_are_heard() {
    let mut world = World::up(4);
    world.gateway(0).frozen = true;
    world.gateway(1).frozen = true;
    world.run(ms(1_000));
    assert!(world.snapshot.blind);
    assert_eq!(world.cuts, []);
    world.run(ms(5_000));
    assert_eq!(world.cuts.len(), 2);
    assert!(world.cuts[1].at - world.cuts[0].at >= ms(2_000));
    assert!(!world.snapshot.blind);
}

#[test]
fn with_two_spare_instances_two_may_fall_silent_together() {
    let mut settings = config();
    settings.wanted.spare = 2;
    let mut world = World::with(4, settings);
    world.run(ms(1_000));
    world.gateway(0).frozen = true;
    world.gateway(1).frozen = true;
    world.run(ms(500));
    assert_eq!(world.cuts.len(), 2);
}

#[test]
fn the_only_instance_may_fall_silent_too() {
    let mut world = World::up(1);
    world.gateway(0).frozen = true;
    world.run(ms(500));
    assert_eq!(world.state(0), State::Down(Loss::Silent));
}

#[test]
fn answers_that_come_back_one_after_the_other_cut_nobody() {
    let mut world = World::up(3);
    world.gateways.values_mut().for_each(|gateway| gateway.reachable = false);
    world.run(ms(5_000));
    for index in 0..3 {
        world.gateway(index).reachable = true;
        world.run(ms(300));
    }
    world.run(ms(1_000));
    assert_eq!(world.cuts, []);
    assert!((0..3).all(|index| world.state(index) == State::Up));
}

#[test]
fn a_busy_machine_that_always_wakes_late_still_finds_a_frozen_instance() {
    let mut world = World::up(3);
    world.gateway(0).frozen = true;
    let frozen = world.now;
    while world.state(0) != State::Down(Loss::Silent) {
        assert!(world.now - frozen < ms(1_500), "never found");
        let (due, _) = world.pool.poll_timeout();
        world.oversleep(due - world.now + ms(60));
        world.run(ms(2));
    }
    assert!(world.snapshot.discarded_rounds > 2);
    assert_eq!(world.cuts.len(), 1, "and nobody else");
}
