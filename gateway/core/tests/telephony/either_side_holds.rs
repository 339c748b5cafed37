use crate::far::{described, sdp};
use crate::world::{A, SERVER, World, hang_up};
use gateway_core::sip::{Body, Method, SipRequest};
use gateway_protocol::message::{CallState, EndReason, FailReason, HeldBy, Outcome, Request};

pub(crate) fn hold(call: &str) -> Request {
    Request::Hold { call_id: call.parse().expect("an id") }
}

pub(crate) fn unhold(call: &str) -> Request {
    Request::Unhold { call_id: call.parse().expect("an id") }
}

fn with_sdp(mut request: SipRequest, sdp: &str) -> SipRequest {
    request.body = Some(Body::sdp(sdp));
    request
}

#[test]
fn our_user_holds_and_takes_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let asked = world.ask(tab, hold("c1"));
    assert_eq!(world.outcome(tab, &asked), None, "ok once the far side agreed");
    let invite = world.hears(SERVER, Method::Invite);
    assert!(invite.request.sdp().is_some_and(|offer| offer.contains("a=sendonly")));
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "recvonly", 2, true)));
    world.hears_ack(SERVER);
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Held));
    assert_eq!(world.tabs[tab].calls["c1"].held_by, Some(HeldBy::Local));
    assert!(!world.gateway(A).path().audio.sends && !world.gateway(A).path().audio.receives);

    // A second time there is nothing to do.
    world.done(tab, hold("c1"));
    world.hears_nothing(SERVER);

    let asked = world.ask(tab, unhold("c1"));
    let invite = world.hears(SERVER, Method::Invite);
    assert!(invite.request.sdp().is_some_and(|offer| offer.contains("a=sendrecv")));
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert!(world.gateway(A).path().audio.sends);
}

#[test]
fn a_refused_hold_changes_nothing() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let asked = world.ask(tab, hold("c1"));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 488, None);
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::FarRefused, .. })));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert!(world.gateway(A).path().audio.sends);
}

#[test]
fn the_far_side_holds_and_takes_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    for (direction, state, held_by) in
        [("sendonly", CallState::Held, Some(HeldBy::Remote)), ("sendrecv", CallState::Active, None)]
    {
        let offer = described(30_000, direction, 2, true);
        let id = world.say(SERVER, to, with_sdp(dialog.request(Method::Invite), &offer));
        let response = world.hears_answer(SERVER, id);
        assert_eq!(response.status, 200);
        assert!(response.headers.get("Contact").is_some());
        assert_eq!(world.state(tab, "c1"), Some(state));
        assert_eq!(world.tabs[tab].calls["c1"].held_by, held_by);
    }
}

#[test]
fn both_hold_at_once() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let offer = described(30_000, "sendonly", 2, true);
    let id = world.say(SERVER, to, with_sdp(dialog.request(Method::Invite), &offer));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    let asked = world.ask(tab, hold("c1"));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "inactive", 3, true)));
    world.hears_ack(SERVER);
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.tabs[tab].calls["c1"].held_by, Some(HeldBy::Both));
    let asked = world.ask(tab, unhold("c1"));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "sendonly", 4, true)));
    world.hears_ack(SERVER);
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.tabs[tab].calls["c1"].held_by, Some(HeldBy::Remote));
}

#[test]
fn offers_that_cross_are_refused_by_both() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let asked = world.ask(tab, hold("c1"));
    let ours = world.hears(SERVER, Method::Invite);
    let theirs =
        world.say(SERVER, to, with_sdp(dialog.request(Method::Invite), &described(30_000, "sendonly", 2, true)));
    assert_eq!(world.hears_answer(SERVER, theirs).status, 491);
    world.respond(SERVER, &ours, 491, None);
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::FarRefused, .. })));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_hang_up_settles_a_hold_that_waits() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let asked = world.ask(tab, hold("c1"));
    let again = world.ask(tab, unhold("c1"));
    assert!(matches!(world.outcome(tab, &again), Some(Outcome::Failed { reason: FailReason::WrongState, .. })));
    world.done(tab, hang_up("c1"));
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::WrongState, .. })));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::LocalHangUp));
}

#[test]
fn a_hold_during_a_refresh_is_refused_and_not_forgotten() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    let timer = [("Session-Expires", "90;refresher=uac"), ("Require", "timer")];
    world.far(SERVER).respond(&invite, 200, Some(&sdp(30_000)), &timer);
    world.hears_ack(SERVER);
    world.pass(std::time::Duration::from_secs(46));
    let refresh = world.hears(SERVER, Method::Invite);
    let asked = world.ask(tab, hold("c1"));
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { .. })));
    world.respond(SERVER, &refresh, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    let asked = world.ask(tab, hold("c1"));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "recvonly", 2, true)));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
}
