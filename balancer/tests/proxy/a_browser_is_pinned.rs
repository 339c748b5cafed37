//! The first answer places a browser, a 201 its session, and both stay where they were placed.

use crate::support::{
    balancer::{Balancer, KEY, key_ring},
    client::{ask, get, sign_in},
    fake::Fake,
};
use balancer_core::{Run, pin::PinId};

#[test]
fn a_page_and_a_sign_in_set_their_cookies_and_later_requests_follow_them() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let balancer = Balancer::start(&fakes);

    let page = ask(balancer.http, get("/", ""));
    assert_eq!((page.status, page.header("holdfast-pin")), (200, "new"));
    let home = page.header("holdfast-instance").to_owned();
    let browser = page.cookie("holdfast");

    let signed_in = ask(balancer.http, sign_in(&browser, ""));
    assert_eq!((signed_in.status, signed_in.header("holdfast-pin")), (201, "kept"));
    assert_eq!(signed_in.header("holdfast-instance"), home);
    let (session, pin) = (signed_in.session(), signed_in.cookie("holdfast-session"));
    let line = signed_in.all("set-cookie").find(|line| line.starts_with("holdfast-session")).expect("set");
    assert!(line.ends_with(&format!("HttpOnly; SameSite=Lax; Path=/v1/sessions/{session}; Max-Age=86400")), "{line}");

    for _ in 0..10 {
        let probe = ask(balancer.http, get(&format!("/v1/sessions/{session}"), &pin));
        assert_eq!((probe.status, probe.header("holdfast-pin")), (200, "kept"));
        assert_eq!(probe.header("holdfast-instance"), home);
        assert_eq!(probe.all("set-cookie").next(), None, "the browser has this very cookie");
    }
    let gone = ask(balancer.http, get("/v1/sessions/unheard-of", &browser));
    assert_eq!(gone.status, 404);
    assert!(gone.all("set-cookie").any(|line| line.contains("holdfast-session=;") && line.contains("Max-Age=0")));
}

#[test]
fn a_probe_renews_a_pin_that_is_no_longer_young() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let run = Run::parse(signed_in.header("holdfast-instance"), signed_in.header("holdfast-boot")).expect("ids");
    let path = format!("/v1/sessions/{}", signed_in.session());

    let old = key_ring(KEY).write(&run, PinId(1), 1_700_000_000, true);
    let probe = ask(balancer.http, get(&path, &format!("holdfast-session={old}")));

    let renewed = probe.cookie("holdfast-session");
    let issued = |pin: &str| key_ring(KEY).read(pin).expect("a pin").issued;
    assert!(issued(renewed.trim_start_matches("holdfast-session=")) > issued(&old));
    let line = probe.all("set-cookie").next().expect("set");
    assert!(line.ends_with(&format!("Path={path}; Max-Age=86400")), "{line}");
}
