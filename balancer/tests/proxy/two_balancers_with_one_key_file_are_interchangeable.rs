//! Balancers share a key file and nothing else: each reads what the other wrote.

use crate::support::{
    balancer::Balancer,
    client::{ask, get, sign_in},
    fake::Fake,
};

#[test]
fn a_session_made_through_one_is_found_through_the_other() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let balancers = [Balancer::start(&fakes), Balancer::start(&fakes)];
    for turn in 0..10 {
        let signed_in = ask(balancers[turn % 2].http, sign_in("", ""));
        let probe = get(&format!("/v1/sessions/{}", signed_in.session()), &signed_in.cookie("holdfast-session"));
        let answer = ask(balancers[(turn + 1) % 2].http, probe);
        assert_eq!((answer.status, answer.header("holdfast-pin")), (200, "kept"));
        assert_eq!(answer.header("holdfast-boot"), signed_in.header("holdfast-boot"));
    }
}
