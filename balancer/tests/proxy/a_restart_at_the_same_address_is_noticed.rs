//! A crash and return at the same address: the boot id tells, not the address.

use crate::support::{
    balancer::Balancer,
    client::{ask, get, sign_in},
    eventually,
    fake::Fake,
};

#[test]
fn an_old_pin_is_told_restarted_and_ends_in_a_new_session() {
    let mut fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let probe = get(&format!("/v1/sessions/{}", signed_in.session()), &signed_in.cookie("holdfast-session"));
    fakes[0].restart("a-boot-2");
    eventually("it answers again", || ask(balancer.http, get("/", "")).status == 200);

    let lost = ask(balancer.http, probe);
    assert_eq!((lost.status, lost.header("holdfast-boot")), (404, "a-boot-2"));
    assert_eq!(lost.header("holdfast-pin"), "moved; reason=restarted");
    eventually("it takes new sessions", || balancer.placeable() == 1);
    let again = ask(balancer.http, sign_in(&signed_in.cookie("holdfast"), ""));
    assert_eq!((again.status, again.header("holdfast-pin")), (201, "moved; reason=restarted"));
}
