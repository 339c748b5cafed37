use crate::far::{dialog_of, sdp};
use crate::world::{A, SERVER, TabId, World, answer};
use gateway_core::sip::{Body, Dialog, Method, Peer, SipRequest};
use gateway_protocol::RequestId;
use gateway_protocol::message::{CallState, EndReason, FailReason, Outcome, Request};
use std::time::Duration;

fn transfer(call: &str, target: &str) -> Request {
    Request::Transfer { call_id: call.parse().expect("an id"), target: target.to_owned() }
}

pub(crate) fn notify(dialog: &mut Dialog, line: &str) -> SipRequest {
    let mut notify = dialog.request(Method::Notify);
    notify.headers.push("Event", "refer");
    notify.headers.push("Subscription-State", "active;expires=60");
    notify.body = Some(Body { content_type: "message/sipfrag".to_owned(), text: format!("SIP/2.0 {line}\r\n") });
    notify
}

/// A call whose far side has accepted to call carol.
fn transferring() -> (World, TabId, RequestId, Dialog, Peer) {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let asked = world.ask(tab, transfer("c1", "carol"));
    let refer = world.hears(SERVER, Method::Refer);
    assert_eq!(refer.request.headers.get("Refer-To"), Some("<sip:carol@example.org>"));
    assert_eq!(refer.request.headers.get("Referred-By"), Some("<sip:alice@example.org>"));
    world.respond(SERVER, &refer, 202, None);
    let id = world.say(SERVER, to, notify(&mut dialog, "100 Trying"));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    assert_eq!(world.outcome(tab, &asked), None);
    (world, tab, asked, dialog, to)
}

#[test]
fn the_call_ends_once_the_far_side_reached_the_target() {
    let (mut world, tab, asked, mut dialog, to) = transferring();
    world.say(SERVER, to, notify(&mut dialog, "200 OK"));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Transferred));
}

#[test]
fn a_target_that_is_busy_leaves_the_call_as_it_is() {
    let (mut world, tab, asked, mut dialog, to) = transferring();
    world.say(SERVER, to, notify(&mut dialog, "486 Busy Here"));
    let Some(Outcome::Failed { reason: FailReason::FarRefused, detail }) = world.outcome(tab, &asked) else {
        panic!("{:?}", world.outcome(tab, &asked))
    };
    assert!(detail.is_some_and(|detail| detail.contains("486")));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_far_side_that_declines_leaves_the_call_as_it_is() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let asked = world.ask(tab, transfer("c1", "carol"));
    let refer = world.hears(SERVER, Method::Refer);
    world.respond(SERVER, &refer, 603, None);
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::FarRefused, .. })));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn without_any_word_of_it_the_transfer_counts_as_refused() {
    let (mut world, tab, asked, ..) = transferring();
    world.pass(Duration::from_secs(131));
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::FarRefused, .. })));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

/// A far side that took a transfer hangs up.
#[test]
fn a_far_side_that_leaves_without_a_word_was_transferred() {
    for told in [true, false] {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        let (mut dialog, to) = world.talk(tab, "c1");
        let asked = world.ask(tab, transfer("c1", "carol"));
        let refer = world.hears(SERVER, Method::Refer);
        world.respond(SERVER, &refer, 202, None);
        if told {
            world.say(SERVER, to, notify(&mut dialog, "180 Ringing"));
        }
        let id = world.say(SERVER, to, dialog.request(Method::Bye));
        assert_eq!(world.hears_answer(SERVER, id).status, 200);
        assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
        assert_eq!(world.ended(tab, "c1"), Some(EndReason::Transferred));
        world.hears_nothing(SERVER);
    }
}

#[test]
fn a_far_side_that_leaves_before_it_took_the_transfer_was_not() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let asked = world.ask(tab, transfer("c1", "carol"));
    world.hears(SERVER, Method::Refer);
    world.say(SERVER, to, dialog.request(Method::Bye));
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::WrongState, .. })));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::RemoteHangUp));
}

#[test]
fn who_was_sent_for_may_hang_up_after_who_was_sent() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut bob, to) = world.talk(tab, "c1");
    world.dial(tab, "c2", "carol");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_002)));
    world.hears_ack(SERVER);
    let asked = world
        .ask(tab, Request::TransferTo { call_id: "c1".parse().expect("an id"), other: "c2".parse().expect("an id") });
    let refer = world.hears(SERVER, Method::Refer);
    world.respond(SERVER, &refer, 202, None);
    world.say(SERVER, to, bob.request(Method::Bye));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Transferred));
    assert_eq!(world.state(tab, "c2"), Some(CallState::Active), "nobody said that its place was taken");
    world.say(SERVER, to, dialog_of(&invite).request(Method::Bye));
    assert_eq!(world.ended(tab, "c2"), Some(EndReason::Transferred));
}

#[test]
fn a_target_outside_the_allow_list_is_refused_here() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let asked = world.ask(tab, transfer("c1", "carol@evil.example"));
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::NotAllowed, .. })));
    world.hears_nothing(SERVER);
}

#[test]
fn an_unanswered_call_can_not_be_transferred() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let asked = world.ask(tab, transfer("c1", "carol"));
    assert!(matches!(world.outcome(tab, &asked), Some(Outcome::Failed { reason: FailReason::WrongState, .. })));
}

#[test]
fn two_far_sides_are_connected_with_each_other() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut bob, to) = world.talk(tab, "c1");
    world.dial(tab, "c2", "carol");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_002)));
    world.hears_ack(SERVER);
    let carol = dialog_of(&invite);
    let asked = world
        .ask(tab, Request::TransferTo { call_id: "c1".parse().expect("an id"), other: "c2".parse().expect("an id") });
    let refer = world.hears(SERVER, Method::Refer);
    assert_eq!(refer.request.headers.get("Call-ID"), Some(bob.call_id.as_str()));
    let place = format!(
        "<sip:carol@example.org?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}>",
        carol.call_id,
        carol.local_tag(),
        carol.remote_tag()
    );
    assert_eq!(refer.request.headers.get("Refer-To"), Some(place.as_str()));
    world.respond(SERVER, &refer, 202, None);
    world.say(SERVER, to, notify(&mut bob, "200 OK"));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Transferred));
    assert_eq!(world.ended(tab, "c2"), Some(EndReason::Transferred));
}

#[test]
fn a_far_side_that_was_sent_for_may_hang_up_before_the_transfer_is_reported() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut bob, to) = world.talk(tab, "c1");
    world.dial(tab, "c2", "carol");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_002)));
    world.hears_ack(SERVER);
    let mut carol = dialog_of(&invite);
    let asked = world
        .ask(tab, Request::TransferTo { call_id: "c1".parse().expect("an id"), other: "c2".parse().expect("an id") });
    let refer = world.hears(SERVER, Method::Refer);
    world.respond(SERVER, &refer, 202, None);
    world.say(SERVER, to, carol.request(Method::Bye));
    assert_eq!(world.ended(tab, "c2"), Some(EndReason::Transferred));
    assert_eq!(world.outcome(tab, &asked), None);
    world.say(SERVER, to, notify(&mut bob, "200 OK"));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Transferred));
}

#[test]
fn a_caller_of_another_domain_is_sent_for_at_its_contact() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let to = world.far(SERVER).registers[0].from;
    let uri = world.far(SERVER).bindings[0].uri.clone();
    let invite = world.far(SERVER).invite("<sip:+4930123@carrier.example>", &uri, Some(&sdp(30_004)));
    let id = world.say(SERVER, to, invite);
    let second = world.tabs[tab].calls.keys().find(|call| *call != "c1").expect("a second call").clone();
    world.done(tab, answer(&second));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    world
        .ask(tab, Request::TransferTo { call_id: "c1".parse().expect("an id"), other: second.parse().expect("an id") });
    let refer = world.hears(SERVER, Method::Refer);
    let value = refer.request.headers.get("Refer-To").expect("a target");
    assert!(value.starts_with("<sip:far@10.0.1.1:5060;transport=tcp?Replaces="), "{value}");
}
