use crate::far::{described, dialog_of};
use crate::world::{A, SERVER, World};
use gateway_core::MediaChange;
use gateway_core::sip::{Body, Method};
use gateway_protocol::message::{EndReason, FailReason, Outcome, Request};

fn digits(text: &str) -> Request {
    Request::SendDigits { call_id: "c1".parse().expect("an id"), digits: text.to_owned() }
}

#[test]
fn in_rtp_where_the_far_side_takes_them_there() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.done(tab, digits("12*#"));
    let (peer, media) = world.gateway(A).live_peers().next().expect("the call");
    assert_eq!(media.digits, "12*#");
    world.media(A, peer, MediaChange::FarDigit('7'));
    assert_eq!(world.tabs[tab].digits, "7");
    world.hears_nothing(SERVER);
}

#[test]
fn by_info_where_it_does_not() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "sendrecv", 1, false)));
    world.hears_ack(SERVER);
    world.done(tab, digits("5"));
    let info = world.hears(SERVER, Method::Info);
    let body = info.request.body.clone().expect("a body");
    assert_eq!((body.content_type.as_str(), body.text.lines().next()), ("application/dtmf-relay", Some("Signal=5")));
    world.respond(SERVER, &info, 200, None);

    // What the browser sends as telephone events comes the same way.
    let (peer, _) = world.gateway(A).live_peers().next().expect("the call");
    world.media(A, peer, MediaChange::Digit('9'));
    let info = world.hears(SERVER, Method::Info);
    assert!(info.request.body.is_some_and(|body| body.text.starts_with("Signal=9\r\n")));

    let mut dialog = dialog_of(&invite);
    for (kind, text) in [("application/dtmf-relay", "Signal= 3\r\nDuration=100\r\n"), ("application/dtmf", "#")] {
        let mut info = dialog.request(Method::Info);
        info.body = Some(Body { content_type: kind.to_owned(), text: text.to_owned() });
        let id = world.say(SERVER, invite.from, info);
        assert_eq!(world.hears_answer(SERVER, id).status, 200);
    }
    assert_eq!(world.tabs[tab].digits, "3#");
}

#[test]
fn a_far_side_that_knows_the_call_no_more_ends_it() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "sendrecv", 1, false)));
    world.hears_ack(SERVER);
    world.done(tab, digits("5"));
    let info = world.hears(SERVER, Method::Info);
    world.respond(SERVER, &info, 481, None);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost));
}

#[test]
fn what_is_no_digit_goes_nowhere() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    for text in ["", "12a", "1\r\nX: y", "1 2", &"1".repeat(33)] {
        let asked = world.ask(tab, digits(text));
        assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::BadTarget, .. })));
    }
    world.hears_nothing(SERVER);
}
