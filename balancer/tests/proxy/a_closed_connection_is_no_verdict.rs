//! An instance may close a connection at any time; its sessions are not lost by that.

use crate::support::{
    balancer::Balancer,
    client::{ask, get, sign_in},
    fake::{Fake, Mood},
};

#[test]
fn the_same_instance_is_asked_once_more() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let home = fakes.iter().find(|fake| fake.id() == signed_in.header("holdfast-instance")).expect("one of them");
    let probe = get(&format!("/v1/sessions/{}", signed_in.session()), &signed_in.cookie("holdfast-session"));
    for _ in 0..5 {
        home.mood(Mood::HangupOnce);
        let answer = ask(balancer.http, &probe);
        assert_eq!((answer.status, answer.header("holdfast-pin")), (200, "kept"));
    }
}
