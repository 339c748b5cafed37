//! Discovery adds instances; only their own end removes them.

mod world;

use balancer_core::State;
use world::{World, endpoint, ms};

#[test]
fn one_that_is_named_no_more_stays_as_long_as_it_answers() {
    let mut world = World::up(3);
    world.pool.handle_endpoints(world.now, &[endpoint(0)]);
    world.run(ms(5_000));
    assert_eq!(world.snapshot.instances.len(), 3);
    assert!(world.instance(1).placeable, "a name server's fault takes nobody out");
    world.kill(1);
    world.run(ms(10));
    assert_eq!(world.snapshot.instances.len(), 2);
    assert_eq!(world.cuts.len(), 1, "its users are told all the same");
}

#[test]
fn one_that_is_named_stays_listed_while_it_is_down() {
    let mut world = World::up(2);
    world.kill(1);
    world.run(ms(60_000));
    assert!(matches!(world.state(1), State::Down(_)));
    world.start(1);
    world.run(ms(300));
    assert_eq!(world.state(1), State::Up);
}

#[test]
fn a_new_one_is_checked_at_once() {
    let mut world = World::up(2);
    world.kill(1);
    world.pool.handle_endpoints(world.now, &[endpoint(0)]);
    world.run(ms(500));
    assert_eq!(world.snapshot.instances.len(), 1);
    world.start(1);
    world.pool.handle_endpoints(world.now, &[endpoint(0), endpoint(1)]);
    world.run(ms(150));
    assert_eq!(world.state(1), State::Up);
}
