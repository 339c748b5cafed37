use crate::far::{Asked, described, sdp};
use crate::world::{A, SERVER, World, answer, hang_up};
use gateway_core::sip::{Body, Method, SipRequest};
use gateway_protocol::message::{CallState, EndReason, FailReason, HeldBy, Outcome, Request};
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

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

/// Takes the hold, or the end of it, that is out.
fn takes(world: &mut World, direction: &str, version: u32) {
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, direction, version, true)));
    world.hears_ack(SERVER);
}

const OK: Option<Outcome> = Some(Outcome::Ok { sdp: None });

fn is_refused(outcome: Option<Outcome>, why: FailReason) -> bool {
    matches!(outcome, Some(Outcome::Failed { reason, .. }) if reason == why)
}

#[test]
fn offers_that_cross_are_refused_by_both_and_made_again() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let asked = world.ask(tab, hold("c1"));
    let ours = world.hears(SERVER, Method::Invite);
    let offer = described(30_000, "sendonly", 2, true);
    let theirs = world.say(SERVER, to, with_sdp(dialog.request(Method::Invite), &offer));
    assert_eq!(world.hears_answer(SERVER, theirs).status, 491);
    world.respond(SERVER, &ours, 491, None);
    assert_eq!(world.outcome(tab, &asked), None);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));

    // The far side did not begin the call, so it tries again before us (RFC 3261 §14.1).
    world.pass(ms(2_000));
    let theirs = world.say(SERVER, to, with_sdp(dialog.request(Method::Invite), &offer));
    assert_eq!(world.hears_answer(SERVER, theirs).status, 200);
    assert_eq!(world.tabs[tab].calls["c1"].held_by, Some(HeldBy::Remote));
    world.pass(ms(2_000));
    takes(&mut world, "inactive", 3);
    assert_eq!(world.outcome(tab, &asked), OK);
    assert_eq!(world.tabs[tab].calls["c1"].held_by, Some(HeldBy::Both));
}

#[test]
fn who_was_called_tries_again_within_two_seconds() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (to, uri) = (world.far(SERVER).registers[0].from, world.far(SERVER).bindings[0].uri.clone());
    let invite = world.far(SERVER).invite("<sip:bob@example.org>", &uri, Some(&sdp(30_000)));
    let id = world.say(SERVER, to, invite);
    let call = world.tabs[tab].calls.keys().next().expect("it rings").clone();
    world.done(tab, answer(&call));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    let asked = world.ask(tab, hold(&call));
    let crossed = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &crossed, 491, None);
    world.pass(ms(2_000));
    takes(&mut world, "recvonly", 2);
    assert_eq!(world.outcome(tab, &asked), OK);
}

#[test]
fn a_far_side_that_always_crosses_has_refused() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let asked = world.ask(tab, hold("c1"));
    for _ in 0..5 {
        assert_eq!(world.outcome(tab, &asked), None);
        let invite = world.hears(SERVER, Method::Invite);
        world.respond(SERVER, &invite, 491, None);
        world.pass(ms(4_000));
    }
    assert!(is_refused(world.outcome(tab, &asked), FailReason::FarRefused));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.pass(ms(10_000));
    world.hears_nothing(SERVER);
}

#[test]
fn of_several_holds_that_wait_the_last_is_done() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let first = world.ask(tab, hold("c1"));
    let (second, third) = (world.ask(tab, unhold("c1")), world.ask(tab, hold("c1")));
    assert!(is_refused(world.outcome(tab, &second), FailReason::WrongState), "taken back by the third");
    takes(&mut world, "recvonly", 2);
    assert_eq!((world.outcome(tab, &first), world.outcome(tab, &third)), (OK, OK), "it is held already");
    world.hears_nothing(SERVER);
    let (fourth, fifth) = (world.ask(tab, unhold("c1")), world.ask(tab, hold("c1")));
    takes(&mut world, "sendrecv", 3);
    assert_eq!((world.outcome(tab, &fourth), world.outcome(tab, &fifth)), (OK, None));
    takes(&mut world, "recvonly", 4);
    assert_eq!(world.outcome(tab, &fifth), OK);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Held));
}

#[test]
fn a_hang_up_settles_the_holds_that_wait() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let requests = [world.ask(tab, hold("c1")), world.ask(tab, unhold("c1"))];
    world.done(tab, hang_up("c1"));
    for request in requests {
        assert!(is_refused(world.outcome(tab, &request), FailReason::WrongState));
    }
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::LocalHangUp));
}

/// A call in whose session timer the refresh is out.
fn refreshing(world: &mut World) -> (usize, Asked) {
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    let timer = [("Session-Expires", "90;refresher=uac"), ("Require", "timer")];
    world.far(SERVER).respond(&invite, 200, Some(&sdp(30_000)), &timer);
    world.hears_ack(SERVER);
    world.pass(ms(46_000));
    (tab, world.hears(SERVER, Method::Invite))
}

#[test]
fn a_hold_during_a_refresh_is_done_after_it() {
    let mut world = World::new();
    let (tab, refresh) = refreshing(&mut world);
    let asked = world.ask(tab, hold("c1"));
    world.hears_nothing(SERVER);
    world.respond(SERVER, &refresh, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    assert_eq!(world.outcome(tab, &asked), None);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active), "the answer was to the refresh");
    takes(&mut world, "recvonly", 2);
    assert_eq!(world.outcome(tab, &asked), OK);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Held));
}

#[test]
fn a_hold_waits_for_the_answer_to_an_offer_of_ours_in_a_200() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", None);
    let call = world.only_call(tab);
    world.net.swallow_acks = true;
    world.net.ack_sdp = Some(sdp(30_000));
    world.done(tab, answer(&call));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    let asked = world.ask(tab, hold(&call));
    world.hears_nothing(SERVER);
    assert_eq!(world.outcome(tab, &asked), None);
    world.net.release_acks();
    world.pump();
    takes(&mut world, "recvonly", 2);
    assert_eq!(world.outcome(tab, &asked), OK);
    assert_eq!(world.state(tab, &call), Some(CallState::Held));
}

#[test]
fn an_answer_that_never_comes_fails_the_hold_that_waits_for_it() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.ring("alice", None);
    let call = world.only_call(tab);
    // The ACK brings none.
    world.net.swallow_acks = true;
    world.done(tab, answer(&call));
    let asked = world.ask(tab, hold(&call));
    world.net.release_acks();
    world.pump();
    assert!(is_refused(world.outcome(tab, &asked), FailReason::WrongState));
}

#[test]
fn a_transfer_waits_for_a_refresh_and_for_a_hold() {
    let mut world = World::new();
    let (tab, refresh) = refreshing(&mut world);
    let call_id = || "c1".parse().expect("an id");
    let held = world.ask(tab, hold("c1"));
    let sent = world.ask(tab, Request::Transfer { call_id: call_id(), target: "carol".to_owned() });
    let again = world.ask(tab, Request::Transfer { call_id: call_id(), target: "dave".to_owned() });
    assert!(is_refused(world.outcome(tab, &again), FailReason::WrongState), "one at a time");
    world.hears_nothing(SERVER);
    world.respond(SERVER, &refresh, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    takes(&mut world, "recvonly", 2);
    assert_eq!(world.outcome(tab, &held), OK);
    let refer = world.hears(SERVER, Method::Refer);
    assert_eq!(refer.request.headers.get("Refer-To"), Some("<sip:carol@example.org>"));
    world.respond(SERVER, &refer, 603, None);
    assert!(is_refused(world.outcome(tab, &sent), FailReason::FarRefused));
}
