//! Sent, and no answer: only what can be repeated without harm is repeated.

use crate::support::{
    balancer::Balancer,
    client::{ask, sign_in},
    fake::{Fake, Mood},
};

fn first_hangs_up() -> ([Fake; 2], Balancer, String) {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let first = ask(balancer.http, sign_in("", ""));
    fakes.iter().find(|fake| fake.id() == first.header("holdfast-instance")).expect("one of them").mood(Mood::Hangup);
    (fakes, balancer, first.cookie("holdfast"))
}

#[test]
fn a_post_without_a_key_ends_as_outcome_unknown() {
    let (fakes, balancer, pin) = first_hangs_up();
    let answer = ask(balancer.http, sign_in(&pin, ""));
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("\"outcome-unknown\""), "{}", answer.body);
    assert_eq!(fakes.iter().map(|fake| fake.count("POST")).sum::<usize>(), 2);
}

#[test]
fn a_post_with_a_key_is_answered_by_another_instance() {
    let (_fakes, balancer, pin) = first_hangs_up();
    let answer = ask(balancer.http, sign_in(&pin, "Idempotency-Key: k1\r\n"));
    assert_eq!(answer.status, 201);
    assert!(answer.header("holdfast-pin").starts_with("moved; reason="));
}
