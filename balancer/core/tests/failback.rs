//! Load comes back to a returned instance slowly, and only when nothing is wrong.

mod world;

use balancer_core::{
    Instance, Snapshot, State, Time,
    failback::{Failback, Mode, Order, PACE, SETTLED},
    sizing::Wanted,
};
use world::{compose, instance};

/// Two fuller instances, and an empty one that came back at `back`.
fn after_a_return(back: Time, used: u32) -> Vec<Instance> {
    let full = |index| instance(index, |_, report| (report.capacity, report.used) = (1000, used));
    let empty = instance(2, |each, report| (each.up_since, report.capacity) = (back, 1000));
    vec![full(0), full(1), empty]
}

const CALM: Time = Time::from_secs(60 * 60);

fn decide(failback: &mut Failback, now: Time, snapshot: &Snapshot) -> Option<Order> {
    failback.decide(now, snapshot, Wanted::default())
}

#[test]
fn a_hundredth_of_the_fullest_moves_to_the_emptiest_every_ten_seconds() {
    let snapshot = compose(after_a_return(Time::ZERO, 400));
    let mut failback = Failback::default();
    let order = decide(&mut failback, CALM, &snapshot).expect("the loads differ");
    assert_eq!((order.to.instance.as_str(), order.clients), ("gw-2", 10));
    assert_eq!(decide(&mut failback, CALM + PACE / 2, &snapshot), None);
    assert_eq!(decide(&mut failback, CALM + PACE, &snapshot), Some(order));
}

#[test]
fn a_return_and_a_flap_start_the_ten_minutes_anew() {
    let back = Time::from_secs(100);
    let snapshot = compose(after_a_return(back, 400));
    assert_eq!(decide(&mut Failback::default(), back + SETTLED / 2, &snapshot), None);
    assert!(decide(&mut Failback::default(), back + SETTLED, &snapshot).is_some());
}

#[test]
fn nothing_moves_while_anything_is_suspect_down_or_draining_or_the_balancer_is_blind() {
    for state in [State::Suspect, State::Down(balancer_core::Loss::Gone), State::HoldDown, State::Joining] {
        let mut all = after_a_return(Time::ZERO, 400);
        all[0].state = state;
        assert_eq!(decide(&mut Failback::default(), CALM, &compose(all)), None, "{state:?}");
    }
    let mut draining = after_a_return(Time::ZERO, 400);
    draining[0].admin_state = balancer_core::AdminState::Drain;
    assert_eq!(decide(&mut Failback::default(), CALM, &compose(draining)), None);
    let mut blind = compose(after_a_return(Time::ZERO, 400));
    blind.blind = true;
    assert_eq!(decide(&mut Failback::default(), CALM, &blind), None);
}

#[test]
fn a_move_that_would_cost_a_spare_instance_is_not_made() {
    assert!(decide(&mut Failback::default(), CALM, &compose(after_a_return(Time::ZERO, 990))).is_some());
    assert_eq!(decide(&mut Failback::default(), CALM, &compose(after_a_return(Time::ZERO, 1000))), None);
}

#[test]
fn even_loads_stay_where_they_are() {
    let mut all = after_a_return(Time::ZERO, 400);
    all[2] = instance(2, |_, report| (report.capacity, report.used) = (1000, 310));
    assert_eq!(decide(&mut Failback::default(), CALM, &compose(all)), None);
}

#[test]
fn in_manual_mode_it_waits_to_be_asked() {
    let snapshot = compose(after_a_return(Time::ZERO, 400));
    let mut failback = Failback::new(Mode::Manual, SETTLED);
    assert_eq!(decide(&mut failback, CALM, &snapshot), None);
    failback.handle_ask();
    assert!(decide(&mut failback, CALM, &snapshot).is_some());
}
