//! `PUT /instances/{id}/state`: the instance itself is told, so that every balancer learns it from its health report.

use crate::{
    process::Process,
    support::{
        client::{ask, get, sign_in},
        eventually,
        fake::{Fake, Mood},
    },
};

#[test]
fn a_draining_instance_keeps_its_own_and_gets_nothing_new() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let (process, other) = (Process::start(&fakes, &[]), Process::start(&fakes, &[]));
    let signed_in = ask(process.http, sign_in("", ""));
    let home = signed_in.header("holdfast-instance");
    let draining = fakes.iter().find(|fake| fake.id() == home).expect("one of them");

    let answer = process.put(home, "drain", &process.change_headers());
    assert_eq!((answer.status, answer.body.contains("\"drain\"")), (200, true));
    eventually("it is told", || draining.is_draining());
    eventually("the other balancer knows", || other.instances("admin_state").contains(&"drain".to_owned()));

    assert_eq!(process.states(), ["up", "up"], "draining is no sickness");
    let probe = format!("/v1/sessions/{}", signed_in.session());
    let kept = ask(process.http, get(&probe, &signed_in.cookie("holdfast-session")));
    assert_eq!((kept.status, kept.header("holdfast-pin")), (200, "kept"));
    let again = ask(process.http, sign_in(&signed_in.cookie("holdfast"), ""));
    assert_eq!((again.status, again.header("holdfast-pin")), (201, "moved; reason=draining"));
    for _ in 0..10 {
        assert_ne!(ask(process.http, sign_in("", "")).header("holdfast-instance"), home);
    }

    assert_eq!(process.put(home, "up", &process.change_headers()).status, 200);
    eventually("it serves again", || !draining.is_draining());
    eventually("both place there again", || {
        [&process, &other].iter().all(|each| each.instances("placeable") == ["true"; 2])
    });
}

#[test]
fn maintenance_outlives_a_restart() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let process = Process::start(&fakes, &[]);
    assert_eq!(process.put("a", "maintenance", &process.change_headers()).status, 200);
    eventually("it is told", || fakes[0].is_draining());
    fakes[0].restart("a-boot-2");
    eventually("the new process is told again", || fakes[0].is_draining());
    assert_eq!(process.instances("admin_state"), ["maintenance", "none"]);
}

#[test]
fn who_asks_for_a_change_that_the_instance_does_not_take_is_told() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let process = Process::start(&fakes, &[]);

    fakes[0].mood(Mood::RefusesChanges);
    let answer = process.put("a", "drain", &process.change_headers());
    assert_eq!((answer.status, answer.header("content-type")), (502, "application/problem+json"));
    assert!(answer.body.contains("refused the change with 401"), "{}", answer.body);
    assert!(!fakes[0].is_draining());
    eventually("nothing is placed there", || process.instances("placeable") == ["false", "true"]);

    fakes[1].kill();
    let answer = process.put("b", "maintenance", &process.change_headers());
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("did not answer"), "{}", answer.body);
}
