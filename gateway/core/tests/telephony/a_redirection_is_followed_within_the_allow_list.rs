use crate::far::sdp;
use crate::gateway::Options;
use crate::world::{A, SERVER, World, hang_up};
use gateway_core::sip::Method;
use gateway_protocol::message::{CallState, EndReason};

fn world() -> World {
    World::played(1, Options { dial: vec!["bob", "carol", "dave"], ..Options::default() })
}

#[test]
fn the_best_address_that_may_be_called_is_called() {
    let mut world = world();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let first = world.hears(SERVER, Method::Invite);
    let to = "<sip:dave@example.org>;q=0.2, <sip:+1900@example.org>;q=0.9, <sip:carol@example.org>;q=0.7";
    world.respond_with(SERVER, &first, 302, &[("Contact", to)]);
    let second = world.hears(SERVER, Method::Invite);
    assert_eq!(second.request.uri, "sip:carol@example.org");
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(second.request.headers.get(name), first.request.headers.get(name), "RFC 3261 §8.1.3.4");
    }
    assert_eq!(second.request.cseq(), Some(2));
    world.respond(SERVER, &second, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn none_that_may_be_called_ends_the_call() {
    for to in ["<sip:+1900@example.org>", "<sip:bob@evil.example>", "<tel:+1900>", ""] {
        let mut world = world();
        let tab = world.join(A, "alice");
        world.dial(tab, "c1", "bob");
        let invite = world.hears(SERVER, Method::Invite);
        world.respond_with(SERVER, &invite, 302, &[("Contact", to)]);
        assert_eq!(world.ended(tab, "c1"), Some(EndReason::Failed), "{to}");
        world.hears_nothing(SERVER);
    }
}

#[test]
fn a_circle_ends_after_three() {
    let mut world = world();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    for _ in 0..3 {
        let invite = world.hears(SERVER, Method::Invite);
        world.respond_with(SERVER, &invite, 301, &[("Contact", "<sip:carol@example.org>")]);
    }
    let last = world.hears(SERVER, Method::Invite);
    world.respond_with(SERVER, &last, 301, &[("Contact", "<sip:carol@example.org>")]);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Failed));
    world.hears_nothing(SERVER);
}

#[test]
fn a_call_that_was_taken_back_goes_nowhere() {
    let mut world = world();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 180, None);
    world.done(tab, hang_up("c1"));
    world.next_heard(SERVER);
    world.respond_with(SERVER, &invite, 302, &[("Contact", "<sip:carol@example.org>")]);
    world.hears_nothing(SERVER);
}
