use crate::far::{Asked, described, dialog_of, sdp};
use crate::gateway::Options;
use crate::world::{A, SERVER, TabId, World, hang_up};
use gateway_core::sip::{Dialog, Method, Peer, SipRequest};
use gateway_protocol::message::{CallState, EndReason};
use std::time::Duration;

fn refer(dialog: &mut Dialog, to: &str) -> SipRequest {
    let mut refer = dialog.request(Method::Refer);
    refer.headers.push("Refer-To", to);
    refer
}

fn sipfrag(asked: &Asked) -> String {
    let body = asked.request.body.as_ref().expect("a body");
    assert!(body.content_type.starts_with("message/sipfrag"));
    assert_eq!(asked.request.headers.get("Event"), Some("refer"));
    body.text.trim().to_owned()
}

/// A call that is about to go to carol, with the INVITE to her.
fn moving(world: &mut World) -> (TabId, Dialog, Peer, Asked) {
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let id = world.say(SERVER, to, refer(&mut dialog, "<sip:carol@example.org>"));
    assert_eq!(world.hears_answer(SERVER, id).status, 202);
    let notify = world.hears(SERVER, Method::Notify);
    assert_eq!(sipfrag(&notify), "SIP/2.0 100 Trying");
    world.respond(SERVER, &notify, 200, None);
    let invite = world.hears(SERVER, Method::Invite);
    assert_eq!(invite.request.uri, "sip:carol@example.org");
    (tab, dialog, to, invite)
}

#[test]
fn the_call_moves_to_the_target_by_the_same_peer() {
    let mut world = World::new();
    let (tab, dialog, _, invite) = moving(&mut world);
    world.respond(SERVER, &invite, 180, None);
    let notify = world.hears(SERVER, Method::Notify);
    assert_eq!(sipfrag(&notify), "SIP/2.0 180 Ringing");
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_000);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_008)));
    world.hears_ack(SERVER);
    let notify = world.hears(SERVER, Method::Notify);
    assert_eq!(sipfrag(&notify), "SIP/2.0 200 OK");
    assert!(notify.request.headers.get("Subscription-State").is_some_and(|state| state.starts_with("terminated")));
    let bye = world.hears(SERVER, Method::Bye);
    assert!(dialog.owns(&bye.request), "the old far side");
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert_eq!(world.gateway(A).live_peers().count(), 1);
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_008);
    world.done(tab, hang_up("c1"));
    assert!(dialog_of(&invite).owns(&world.hears(SERVER, Method::Bye).request), "the new one");
}

#[test]
fn a_far_side_that_hangs_up_at_once_leaves_the_call_to_the_target() {
    let mut world = World::new();
    let (tab, mut dialog, to, invite) = moving(&mut world);
    let id = world.say(SERVER, to, dialog.request(Method::Bye));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.respond(SERVER, &invite, 180, None);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_008)));
    world.hears_ack(SERVER);
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_008);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn then_a_target_that_is_busy_ends_it() {
    let mut world = World::new();
    let (tab, mut dialog, to, invite) = moving(&mut world);
    world.say(SERVER, to, dialog.request(Method::Bye));
    world.respond(SERVER, &invite, 486, None);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Busy));
}

#[test]
fn a_target_that_is_busy_leaves_the_call_where_it_is() {
    let mut world = World::new();
    let (tab, _, _, invite) = moving(&mut world);
    world.respond(SERVER, &invite, 486, None);
    assert_eq!(sipfrag(&world.hears(SERVER, Method::Notify)), "SIP/2.0 486 Busy Here");
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_000);
    world.hears_nothing(SERVER);
}

#[test]
fn a_target_that_never_answers_is_given_up() {
    let mut world = World::new();
    let (tab, _, _, invite) = moving(&mut world);
    world.respond(SERVER, &invite, 180, None);
    world.hears(SERVER, Method::Notify);
    world.pass(Duration::from_secs(121));
    assert_eq!(sipfrag(&world.hears(SERVER, Method::Notify)), "SIP/2.0 408 Request Timeout");
    assert_eq!(world.next_heard(SERVER), Some(crate::far::Heard::Cancelled(invite.id)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_hang_up_ends_both() {
    let mut world = World::new();
    let (tab, dialog, _, invite) = moving(&mut world);
    world.respond(SERVER, &invite, 180, None);
    world.hears(SERVER, Method::Notify);
    world.done(tab, hang_up("c1"));
    assert!(dialog.owns(&world.hears(SERVER, Method::Bye).request));
    assert_eq!(world.next_heard(SERVER), Some(crate::far::Heard::Cancelled(invite.id)));
}

#[test]
fn targets_outside_the_allow_list_are_declined() {
    let options = Options { dial: vec!["bob", "carol"], ..Options::default() };
    let mut world = World::played(1, options);
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    for (target, status) in [
        ("<sip:dave@example.org>", 603),
        ("<sip:carol@evil.example>", 603),
        ("<sip:carol@example.org>, <sip:dave@example.org>", 400),
        ("nonsense", 400),
        ("<tel:+4930>", 400),
    ] {
        let id = world.say(SERVER, to, refer(&mut dialog, target));
        assert_eq!(world.hears_answer(SERVER, id).status, status, "{target}");
        world.hears_nothing(SERVER);
    }
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_second_transfer_meanwhile_is_declined() {
    let mut world = World::new();
    let (_, mut dialog, to, _) = moving(&mut world);
    let id = world.say(SERVER, to, refer(&mut dialog, "<sip:dave@example.org>"));
    assert_eq!(world.hears_answer(SERVER, id).status, 603);
}

#[test]
fn the_call_that_the_target_is_in_is_named_to_it() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let target = "<sip:carol@example.org?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>";
    world.say(SERVER, to, refer(&mut dialog, target));
    let invite = world.next_invite(SERVER);
    assert_eq!(invite.request.uri, "sip:carol@example.org");
    assert_eq!(invite.request.headers.get("Replaces"), Some("x@y;to-tag=1;from-tag=2"));
}

/// An INVITE of carol in the place of `dialog`, which is the far side's of a call.
fn in_place(world: &mut World, dialog: &Dialog, offer: Option<&str>) -> gateway_core::sip::ClientTransaction {
    // Seen from the side that is called.
    let value = format!("{};to-tag={};from-tag={}", dialog.call_id, dialog.remote_tag(), dialog.local_tag());
    world.ring_with("alice", offer, &[("Replaces", &value), ("Require", "replaces")]).0
}

#[test]
fn a_call_in_the_place_of_another_takes_it_over() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (dialog, _) = world.talk(tab, "c1");
    let id = in_place(&mut world, &dialog, Some(&sdp(30_008)));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    assert!(dialog.owns(&world.hears(SERVER, Method::Bye).request));
    assert_eq!(world.only_call(tab), "c1");
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_008);
    world.done(tab, hang_up("c1"));
    assert_eq!(world.hears(SERVER, Method::Bye).request.uri, "sip:far@10.0.1.1:5060;transport=tcp");
}

#[test]
fn without_an_offer_it_gets_ours() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (dialog, _) = world.talk(tab, "c1");
    world.net.ack_sdp = Some(sdp(30_010));
    let id = in_place(&mut world, &dialog, None);
    assert!(world.hears_answer(SERVER, id).sdp().is_some_and(|offer| offer.contains("m=audio 20002")));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_010);
}

#[test]
fn one_that_holds_holds_the_new_far_side_too() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (dialog, _) = world.talk(tab, "c1");
    world.ask(tab, crate::either_side_holds::hold("c1"));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "recvonly", 2, true)));
    world.hears_ack(SERVER);
    let id = in_place(&mut world, &dialog, Some(&sdp(30_008)));
    let response = world.hears_answer(SERVER, id);
    assert!(response.sdp().is_some_and(|answer| answer.contains("a=sendonly") || answer.contains("a=inactive")));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Held));
}

#[test]
fn a_place_that_is_nowhere_is_answered_481() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, _) = world.talk(tab, "c1");
    dialog.call_id = "another".to_owned();
    let id = in_place(&mut world, &dialog, Some(&sdp(30_008)));
    assert_eq!(world.hears_answer(SERVER, id).status, 481);
    assert_eq!(world.only_call(tab), "c1");
}
