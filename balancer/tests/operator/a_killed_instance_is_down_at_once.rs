//! The list and the plan follow at once.

use crate::{
    process::Process,
    support::{eventually, fake::Fake},
};
use std::time::{Duration, Instant};

#[test]
fn the_list_and_the_plan_follow_within_milliseconds() {
    let mut fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let process = Process::start(&fakes, &[]);
    assert_eq!(process.instances("instance_id"), ["a", "b", "c"]);
    let plan = process.json("/plan");
    assert_eq!((&plan["instances"], &plan["capacity"], &plan["survivable"]), (&3.into(), &300.into(), &2.into()));

    fakes[1].kill();
    let killed = Instant::now();
    eventually("b is down", || process.states() == ["up", "down", "up"]);
    assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
    assert_eq!(process.instances("loss")[1], "gone");
    assert_eq!(process.json("/plan")["survivable"], 1);

    fakes[1].restart("b-boot-2");
    eventually("b is back", || process.states() == ["up", "up", "up"]);
    assert_eq!(process.instances("boot_id")[1], "b-boot-2");
}

#[test]
fn however_many_die_at_once() {
    let mut fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c"), Fake::start("d")];
    let process = Process::start(&fakes, &[]);
    fakes.iter_mut().for_each(Fake::kill);
    eventually("all are down", || process.states() == ["down"; 4]);
    assert_eq!(process.json("/plan")["sentence"], "no instance is up");
    assert_eq!(process.json("/plan")["blind"], false);
    let readiness = process.get("/readyz");
    assert_eq!((readiness.status, readiness.body.trim()), (503, "no instance is up"));
}
