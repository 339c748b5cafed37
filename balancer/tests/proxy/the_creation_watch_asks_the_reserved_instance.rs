//! An instance that takes a sign-in and says nothing: the next one in order answers, and no second session stays.

use crate::support::{
    balancer::{Balancer, Options},
    client::{ask, sign_in},
    eventually,
    fake::{Fake, Mood},
};

#[test]
fn the_first_answer_wins_and_the_late_session_is_signed_off() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let balancer = Balancer::with(&fakes, Options { create_timeout_ms: 100, ..Options::default() });
    let first = ask(balancer.http, sign_in("", ""));
    let home = fakes.iter().position(|fake| fake.id() == first.header("holdfast-instance")).expect("one of them");
    let next = (home + 1) % fakes.len();
    fakes[home].mood(Mood::MuteSignIns);

    let second = ask(balancer.http, sign_in(&first.cookie("holdfast"), "Idempotency-Key: k\r\n"));
    assert_eq!((second.status, second.header("holdfast-instance")), (201, fakes[next].id()));
    assert!(second.cookie("holdfast-session").len() > 20);

    fakes[home].mood(Mood::Serving);
    eventually("the late session is signed off", || fakes[home].count("DELETE /v1/sessions/") == 1);
    assert_eq!(fakes[home].sessions(), 1, "the first one stays");
}
