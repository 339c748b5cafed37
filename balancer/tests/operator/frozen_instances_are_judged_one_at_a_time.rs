//! One frozen instance is down after the silence time; all of them at once only make the balancer blind.

use crate::{
    process::Process,
    support::{
        eventually,
        fake::{Fake, Mood},
    },
};
use std::time::{Duration, Instant};

#[test]
fn one_is_silent_within_a_second() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let process = Process::start(&fakes, &[]);
    fakes[0].mood(Mood::Frozen);
    let frozen = Instant::now();
    eventually("a is down", || process.states() == ["down", "up", "up"]);
    let took = frozen.elapsed();
    assert!((Duration::from_millis(290)..Duration::from_millis(1_000)).contains(&took), "{took:?}");
    assert_eq!(process.instances("loss")[0], "silent");
    fakes[0].mood(Mood::Serving);
    eventually("a is back", || process.states() == ["up", "up", "up"]);
}

#[test]
fn all_at_once_are_kept_and_readiness_says_so() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let process = Process::start(&fakes, &[]);
    fakes.iter().for_each(|fake| fake.mood(Mood::Frozen));
    eventually("it is blind", || process.json("/plan")["blind"] == true);
    assert_eq!(process.states(), ["suspect"; 3]);
    assert!(process.get("/readyz").body.starts_with("blind"));
    fakes.iter().for_each(|fake| fake.mood(Mood::Serving));
    eventually("it sees again", || process.states() == ["up"; 3] && process.json("/plan")["blind"] == false);
    assert_eq!(process.metric("holdfast_losses_total{loss=\"silent\"}"), 0.0);
}
