use crate::far::{described, sdp};
use crate::world::{A, SERVER, World, hang_up};
use gateway_core::sip::Method;
use gateway_protocol::message::{CallState, EndReason, Outcome, Request};
use std::time::Duration;

#[test]
fn every_user_is_registered_at_both() {
    let (mut world, second) = World::paired();
    let tab = world.join(A, "alice");
    assert_eq!((world.far(SERVER).bindings.len(), world.far(second).bindings.len()), (1, 1));
    let (session, now) = (world.tabs[tab].session.clone(), world.now);
    world.gateway(A).instance.sign_off(&session.session_id, &session.session_token, now).expect("it lives");
    world.pump();
    assert_eq!((world.far(SERVER).bindings.len(), world.far(second).bindings.len()), (0, 0));
}

#[test]
fn new_calls_go_through_the_one_that_lives_and_nobody_is_told() {
    let (mut world, second) = World::paired();
    let tab = world.join(A, "alice");
    world.kill(SERVER);
    assert!(world.is_available(tab));
    world.dial(tab, "c1", "bob");
    let invite = world.hears(second, Method::Invite);
    let contact = invite.request.headers.get("Contact").expect("a contact");
    assert!(contact.contains(&invite.from.addr.to_string()));
    world.respond(second, &invite, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.kill(second);
    assert_eq!(world.unavailable(tab).as_deref(), Some("sip-server-unreachable"));
}

#[test]
fn a_running_call_keeps_its_verbs_through_the_other() {
    let (mut world, second) = World::paired();
    let tab = world.join(A, "alice");
    let (mut dialog, _) = world.talk(tab, "c1");
    world.kill(SERVER);
    let asked = world.ask(tab, Request::Hold { call_id: "c1".parse().expect("an id") });
    let invite = world.hears(second, Method::Invite);
    assert_eq!(invite.request.headers.get("Call-ID"), Some(dialog.call_id.as_str()));
    world.respond(second, &invite, 200, Some(&described(30_000, "recvonly", 2, true)));
    world.hears_ack(second);
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    // And what the far side says comes in there too.
    let id = world.say(second, invite.from, dialog.request(Method::Options));
    assert_eq!(world.hears_answer(second, id).status, 200);
    world.done(tab, hang_up("c1"));
    world.hears(second, Method::Bye);
}

#[test]
fn a_call_comes_in_at_either() {
    let (mut world, second) = World::paired();
    let tab = world.join(A, "alice");
    let binding = world.far(second).bindings[0].uri.clone();
    let from = world.far(second).registers[0].from;
    let invite = world.far(second).invite("<sip:bob@example.org>", &binding, Some(&sdp(30_000)));
    let id = world.say(second, from, invite);
    let call = world.only_call(tab);
    world.done(tab, crate::world::answer(&call));
    assert_eq!(world.hears_answer(second, id).status, 200);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
}

#[test]
fn what_a_dying_server_did_not_take_goes_to_the_other() {
    let (mut world, second) = World::paired();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.far(SERVER).is_deaf = true;
    world.dial(tab, "c2", "bob");
    let asked = world.ask(tab, Request::Hold { call_id: "c1".parse().expect("an id") });
    world.kill(SERVER);
    let invite = world.hears(second, Method::Invite);
    let contact = invite.request.headers.get("Contact").expect("a contact");
    assert!(contact.contains(&invite.from.addr.to_string()), "{contact}");
    world.respond(second, &invite, 200, Some(&sdp(30_001)));
    assert_eq!(world.state(tab, "c2"), Some(CallState::Active));
    let hold = world.hears(second, Method::Invite);
    world.respond(second, &hold, 200, Some(&described(30_000, "recvonly", 2, true)));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
}

#[test]
fn a_call_that_a_dying_server_took_is_not_made_twice() {
    let (mut world, second) = World::paired();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 100, None);
    world.kill(SERVER);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Failed));
    assert!(world.far(second).heard.is_empty(), "{:?}", world.far(second).heard);
}
