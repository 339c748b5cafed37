//! Inside a frame no close frame may stand: the browser's connection ends, and the browser sees an abnormal closure.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, sign_in, upgrade},
    eventually,
    fake::Fake,
};

#[test]
fn a_death_within_a_frame_ends_the_connection() {
    let mut fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let mut socket = Client::connect(balancer.http);
    let path = format!("/v1/sessions/{}/socket", signed_in.session());
    socket.send(upgrade(&path, &signed_in.cookie("holdfast-session")));
    assert_eq!(socket.answer().expect("an answer").status, 101);
    assert_eq!(socket.take(4).expect("a frame"), b"\x81\x02hi");
    eventually("the socket is open", || fakes[0].sockets() == 1);
    fakes[0].say(b"\x81\x05hel");
    assert_eq!(socket.take(5).expect("most of a frame"), b"\x81\x05hel");
    fakes[0].kill();
    assert!(socket.is_ended());
}
