//! kill -9: the very next request is answered by another instance, and says why.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get, sign_in},
    fake::Fake,
};

#[test]
fn the_next_request_of_any_kind_is_served_elsewhere() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let home = signed_in.header("holdfast-instance").to_owned();
    let browser = signed_in.cookie("holdfast");
    let cookies = format!("{browser}; {}", signed_in.cookie("holdfast-session"));
    let probe = get(&format!("/v1/sessions/{}", signed_in.session()), &cookies);
    // A connection in the pool that the death will break.
    let mut client = Client::connect(balancer.http);
    client.send(&probe);
    assert_eq!(client.answer().expect("an answer").status, 200);

    fakes.iter_mut().find(|fake| fake.id() == home).expect("one of them").kill();

    client.send(&probe);
    let lost = client.answer().expect("an answer on the same connection");
    assert_eq!((lost.status, lost.header("holdfast-pin")), (404, "moved; reason=gone"));
    assert!(lost.all("set-cookie").any(|line| line.contains("Max-Age=0")), "the session is over");
    let again = ask(balancer.http, sign_in(&browser, ""));
    assert_eq!((again.status, again.header("holdfast-pin")), (201, "moved; reason=gone"));
    assert_ne!(again.header("holdfast-instance"), home);
}
