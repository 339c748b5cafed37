//! A pin that this cluster did not make is no pin, and no reason to refuse.

use crate::support::{
    balancer::{Balancer, Options},
    client::{ask, get},
    fake::Fake,
};

#[test]
fn each_is_answered_as_if_it_had_no_cookie() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let own = ask(balancer.http, get("/", "")).cookie("holdfast");
    let stranger = Balancer::with(&fakes, Options { key: Some([9; 32]), ..Options::default() });
    let foreign = ask(stranger.http, get("/", "")).cookie("holdfast");
    let mut forged = own.clone();
    let last = forged.pop().expect("not empty");
    forged.push(if last == 'A' { 'B' } else { 'A' });

    for cookie in ["holdfast=", "holdfast=1.2.3", foreign.as_str(), forged.as_str()] {
        let answer = ask(balancer.http, get("/", cookie));
        assert_eq!((answer.status, answer.header("holdfast-pin")), (200, "new"), "{cookie}");
    }
    assert_eq!(ask(balancer.http, get("/", &own)).header("holdfast-pin"), "kept");
}
