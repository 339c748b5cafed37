//! SIGSTOP and SIGCONT of the balancer itself: what it slept through proves nothing.

use crate::{
    process::Process,
    support::{
        client::{Client, ask, sign_in, upgrade},
        fake::Fake,
    },
};
use nix::sys::signal::Signal;
use std::time::Duration;

#[test]
fn its_tunnels_and_instances_are_as_before() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let process = Process::start(&fakes, &[]);
    let signed_in = ask(process.http, sign_in("", ""));
    let mut socket = Client::connect(process.http);
    let path = format!("/v1/sessions/{}/socket", signed_in.session());
    socket.send(upgrade(&path, &signed_in.cookie("holdfast-session")));
    assert_eq!(socket.answer().expect("an answer").status, 101);
    assert_eq!(socket.take(4).expect("a frame"), b"\x81\x02hi");

    process.signal(Signal::SIGSTOP);
    std::thread::park_timeout(Duration::from_millis(1_500));
    process.signal(Signal::SIGCONT);

    assert_eq!(process.states(), ["up", "up"]);
    let home = fakes.iter().find(|fake| fake.id() == signed_in.header("holdfast-instance")).expect("one of them");
    home.say(b"\x81\x03yes");
    assert_eq!(socket.take(5).expect("the tunnel lives"), b"\x81\x03yes");
    for loss in ["gone", "silent"] {
        assert_eq!(process.metric(&format!("holdfast_losses_total{{loss=\"{loss}\"}}")), 0.0);
    }
}
