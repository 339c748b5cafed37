//! SIGSTOP: the kernel still accepts, nobody answers. After the silence time tunnels are told and requests go elsewhere.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get, sign_in, upgrade},
    fake::{Fake, Mood},
};
use std::time::{Duration, Instant};

#[test]
fn tunnels_get_4503_silent_and_a_request_in_flight_is_repeated() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let home = signed_in.header("holdfast-instance").to_owned();
    let mut socket = Client::connect(balancer.http);
    let path = format!("/v1/sessions/{}/socket", signed_in.session());
    socket.send(upgrade(&path, &signed_in.cookie("holdfast-session")));
    assert_eq!(socket.answer().expect("an answer").status, 101);
    assert_eq!(socket.take(4).expect("a frame"), b"\x81\x02hi");

    fakes.iter().find(|fake| fake.id() == home).expect("one of them").mood(Mood::Frozen);
    let frozen = Instant::now();
    let mut page = Client::connect(balancer.http);
    page.send(get("/", &signed_in.cookie("holdfast")));

    assert_eq!(socket.take(10).expect("a close frame"), b"\x88\x08\x11\x97silent");
    let page = page.answer().expect("an answer");
    assert_eq!((page.status, page.header("holdfast-pin")), (200, "moved; reason=silent"));
    assert!(frozen.elapsed() < Duration::from_secs(1), "{:?}", frozen.elapsed());
    assert!(page.cookie("holdfast").is_empty(), "silence is no proof: the cookie stays");
}
