//! A problem that promises that nothing happened: the next instance is asked, and the client only hears the last word.

use crate::support::{
    balancer::Balancer,
    client::{ask, sign_in},
    fake::{Fake, Mood},
};

#[test]
fn one_with_a_place_is_found_among_full_ones() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c"), Fake::start("d"), Fake::start("e")];
    let balancer = Balancer::start(&fakes);
    for (fake, mood) in fakes.iter().zip([Mood::Full, Mood::NotActed, Mood::Full, Mood::NotActed]) {
        fake.mood(mood);
    }
    for _ in 0..10 {
        let answer = ask(balancer.http, sign_in("", ""));
        assert_eq!((answer.status, answer.header("holdfast-instance")), (201, "e"));
    }
}

#[test]
fn a_pinned_browser_is_told_why_it_moved() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let first = ask(balancer.http, sign_in("", ""));
    let home = first.header("holdfast-instance");
    fakes.iter().find(|fake| fake.id() == home).expect("one of them").mood(Mood::Full);
    let second = ask(balancer.http, sign_in(&first.cookie("holdfast"), ""));
    assert_eq!((second.status, second.header("holdfast-pin")), (201, "moved; reason=full"));
}

#[test]
fn all_are_asked_before_a_client_hears_full() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c"), Fake::start("d"), Fake::start("e")];
    let balancer = Balancer::start(&fakes);
    fakes.iter().for_each(|fake| fake.mood(Mood::Full));
    let answer = ask(balancer.http, sign_in("", ""));
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("\"no-instance\""), "{}", answer.body);
    assert!((1..=5).contains(&answer.header("retry-after").parse::<u32>().expect("seconds")));
    assert!(fakes.iter().all(|fake| fake.count("POST /v1/sessions") == 1));
}
