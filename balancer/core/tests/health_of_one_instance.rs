//! One instance from its first answer to its return, as the pool sees it.

mod world;

use balancer_core::{AdminState, Loss, State, Time, health::SLOW_START, instance::Stage};
use world::{World, ms};

#[test]
fn it_takes_two_good_answers_to_come_up() {
    let mut world = World::new(1);
    world.run(ms(50));
    assert_eq!(world.state(0), State::Joining);
    assert!(!world.snapshot.settled);
    world.run(ms(60));
    assert_eq!(world.state(0), State::Up);
    assert!(world.snapshot.settled);
}

#[test]
fn an_instance_that_never_answers_is_listed_as_down_once_it_refuses() {
    let mut world = World::new(1);
    world.gateway(0).running = false;
    world.run(ms(10));
    assert_eq!(world.snapshot.instances.len(), 0);
    assert_eq!(world.snapshot.unseen[0].state, State::Down(Loss::Gone));
    assert!(world.snapshot.settled && !world.snapshot.any_alive());
}

#[test]
fn a_killed_instance_is_gone_within_milliseconds() {
    let mut world = World::up(2);
    let (killed, run) = (world.now, world.instance(0).run.clone());
    world.kill(0);
    world.run(ms(3));
    assert_eq!(world.state(0), State::Down(Loss::Gone));
    assert_eq!(world.cuts, [world::Cut { at: killed + ms(1), run, loss: Loss::Gone }]);
}

#[test]
fn a_frozen_instance_is_silent_when_it_has_owed_an_answer_for_the_silence_time_and_is_cut_once() {
    let mut world = World::up(2);
    world.run(ms(50));
    world.gateway(0).frozen = true;
    world.run(ms(449));
    assert_eq!((world.state(0), world.cuts.len()), (State::Suspect, 0));
    world.run(ms(2));
    assert_eq!(world.state(0), State::Down(Loss::Silent));
    world.run(ms(5_000));
    assert_eq!(world.cuts.len(), 1);
}

#[test]
fn a_freeze_shorter_than_the_silence_time_moves_nobody_whenever_it_begins() {
    for begin in 0..100 {
        let mut world = World::up(2);
        world.run(ms(begin));
        world.gateway(0).frozen = true;
        world.run(ms(390));
        world.gateway(0).frozen = false;
        world.run(ms(400));
        assert_eq!((world.state(0), world.cuts.len()), (State::Up, 0), "begun {begin} ms after a check");
    }
}

#[test]
fn bytes_of_the_data_path_keep_an_instance_with_a_stuck_admin_listener() {
    let mut world = World::up(2);
    world.gateway(0).frozen = true;
    for _ in 0..50 {
        world.instance(0).traffic.heard(world.now);
        world.run(ms(100));
    }
    assert_eq!((world.state(0), world.cuts.len()), (State::Suspect, 0));
}

#[test]
fn late_answers_make_it_suspect_and_cut_nothing() {
    let mut world = World::up(2);
    world.gateway(0).latency = ms(300);
    world.run(ms(3_000));
    assert_eq!((world.state(0), world.cuts.len()), (State::Suspect, 0));
    assert!(!world.instance(0).placeable, "it gets no new sessions");
    world.gateway(0).latency = ms(1);
    world.run(ms(400));
    assert_eq!(world.state(0), State::Up);
}

#[test]
fn another_boot_id_means_gone_even_if_no_check_failed() {
    let mut world = World::up(2);
    let old = world.instance(0).run.clone();
    world.start(0);
    world.run(ms(102));
    assert_eq!(world.cuts[0].run, old);
    assert_eq!(world.cuts[0].loss, Loss::Gone);
    assert_ne!(world.instance(0).run, old);
    world.run(ms(200));
    assert_eq!(world.state(0), State::Up, "one crash is held against nobody");
}

#[test]
fn an_instance_that_is_not_ready_does_not_come_up() {
    let mut world = World::new(1);
    world.gateway(0).report.stage = Stage::Starting;
    world.run(ms(1_000));
    assert_eq!(world.state(0), State::Joining);
    world.gateway(0).report.stage = Stage::Ready;
    world.run(ms(300));
    assert_eq!(world.state(0), State::Up);
    world.gateway(0).report.stage = Stage::Starting;
    world.run(ms(150));
    assert_eq!(world.state(0), State::Suspect, "a listener or a worker got stuck");
}

fn downtime_after_a_freeze(world: &mut World) -> Time {
    world.gateway(0).frozen = true;
    world.run(ms(1_000));
    assert_eq!(world.state(0), State::Down(Loss::Silent));
    world.gateway(0).frozen = false;
    let thawed = world.now;
    while world.state(0) != State::Up {
        world.run(ms(10));
    }
    world.now - thawed
}

#[test]
fn hold_down_doubles_with_every_flap_and_is_forgiven() {
    let mut world = World::up(3);
    for seconds in [1, 2, 4, 8] {
        let downtime = downtime_after_a_freeze(&mut world);
        assert!((ms(1_000 * seconds)..ms(1_000 * seconds + 300)).contains(&downtime), "{seconds} s: {downtime:?}");
    }
    world.run(ms(61_000));
    assert!(downtime_after_a_freeze(&mut world) < ms(1_300));
}

#[test]
fn hold_down_is_waived_while_nothing_else_is_free() {
    let mut world = World::up(2);
    downtime_after_a_freeze(&mut world);
    downtime_after_a_freeze(&mut world);
    world.gateway(1).report.used = 100;
    assert!(downtime_after_a_freeze(&mut world) < ms(400));
}

#[test]
fn an_instance_in_hold_down_keeps_its_own_and_gets_nothing_new() {
    let mut world = World::up(3);
    downtime_after_a_freeze(&mut world);
    world.gateway(0).frozen = true;
    world.run(ms(1_000));
    world.gateway(0).frozen = false;
    world.run(ms(200));
    assert_eq!(world.state(0), State::HoldDown);
    assert!(world.instance(0).alive() && !world.instance(0).placeable);
}

#[test]
fn a_returned_instance_starts_slowly() {
    let mut world = World::up(2);
    world.kill(0);
    world.run(ms(400));
    world.start(0);
    world.run(ms(300));
    assert_eq!(world.state(0), State::Up);
    let early = world.instance(0).weight;
    world.run(SLOW_START / 2);
    let later = world.instance(0).weight;
    world.run(SLOW_START);
    assert!(early < 150 && (500..700).contains(&later) && world.instance(0).weight == 1000, "{early} {later}");
}

#[test]
fn drain_is_told_to_the_instance_and_ends_with_its_restart() {
    let mut world = World::up(2);
    world.admin("gw-0", AdminState::Drain);
    assert!(!world.instance(0).placeable, "at once, not with the next report");
    world.run(ms(200));
    assert_eq!(world.gateway(0).report.stage, Stage::Draining);
    assert_eq!((world.state(0), world.instance(0).admin_state), (State::Up, AdminState::Drain));
    world.kill(0);
    world.run(ms(100));
    world.start(0);
    world.gateway(0).report.stage = Stage::Ready;
    world.run(ms(300));
    assert_eq!((world.state(0), world.instance(0).admin_state), (State::Up, AdminState::None));
}

#[test]
fn a_drain_that_another_balancer_takes_back_stays_taken_back() {
    let mut world = World::up(2);
    world.admin("gw-0", AdminState::Drain);
    world.run(ms(200));
    world.gateway(0).report.stage = Stage::Ready;
    world.run(ms(5_000));
    assert_eq!(world.gateway(0).report.stage, Stage::Ready);
    assert!(world.instance(0).placeable);
}

#[test]
fn maintenance_survives_a_restart_until_it_is_taken_back() {
    let mut world = World::up(2);
    world.admin("gw-0", AdminState::Maintenance);
    world.run(ms(200));
    world.kill(0);
    world.run(ms(100));
    world.start(0);
    world.gateway(0).report.stage = Stage::Ready;
    world.run(ms(300));
    assert_eq!(world.instance(0).admin_state, AdminState::Maintenance);
    assert_eq!(world.gateway(0).report.stage, Stage::Draining, "the new process is told again");
    world.admin("gw-0", AdminState::None);
    world.run(ms(200));
    assert!(world.instance(0).placeable);
    assert!(world.pool.handle_admin(world.now, "gw-9", AdminState::Drain).is_err());
}
