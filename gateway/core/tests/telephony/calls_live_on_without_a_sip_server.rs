use crate::far::{described, sdp};
use crate::world::{A, SERVER, World, answer, hang_up, start};
use gateway_core::sip::Method;
use gateway_protocol::message::{CallState, EndReason, FailReason, Outcome, Request};
use std::time::Duration;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn refused(world: &World, tab: usize, asked: &gateway_protocol::RequestId) -> Option<FailReason> {
    match world.outcome(tab, asked) {
        Some(Outcome::Failed { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[test]
fn everybody_is_told_at_once_and_again_when_registered() {
    let mut world = World::new();
    let tabs = [world.join(A, "alice"), world.join(A, "carol")];
    world.kill(SERVER);
    for tab in tabs {
        assert_eq!(world.unavailable(tab).as_deref(), Some("sip-server-unreachable"));
        let asked = world.ask(tab, start("c1", "bob"));
        assert_eq!(refused(&world, tab, &asked), Some(FailReason::ServiceUnavailable));
        world.dial(tab, "c2", "echo");
    }
    world.pass(Duration::from_secs(5));
    world.restart_server();
    world.far(SERVER).is_slow_to_register = true;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.far(SERVER).registers.len(), 2);
    for tab in tabs {
        assert!(!world.is_available(tab), "the server is back, the user is not registered yet");
    }
    world.far(SERVER).register_all();
    world.pump();
    for tab in tabs {
        assert!(world.is_available(tab));
        world.dial(tab, "c3", "bob");
    }
}

#[test]
fn before_the_first_registration_no_call_is_offered() {
    let mut world = World::new();
    world.far(SERVER).is_slow_to_register = true;
    let tab = world.join(A, "alice");
    assert_eq!(world.unavailable(tab).as_deref(), Some("registering"));
    world.far(SERVER).register_all();
    world.pump();
    assert!(world.is_available(tab));
}

#[test]
fn a_hung_server_is_found_in_two_seconds() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.pass(Duration::from_secs(3));
    world.far(SERVER).is_deaf = true;
    world.pass(millis(1_400));
    assert!(world.is_available(tab));
    world.pass(millis(600));
    assert_eq!(world.unavailable(tab).as_deref(), Some("sip-server-silent"));
    world.far(SERVER).is_deaf = false;
    world.pass(Duration::from_secs(1));
    assert!(world.is_available(tab));
}

#[test]
fn a_running_call_keeps_its_media_and_its_verbs_come_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, _) = world.talk(tab, "c1");
    world.kill(SERVER);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    let asked = world.ask(tab, Request::Hold { call_id: "c1".parse().expect("an id") });
    assert_eq!(refused(&world, tab, &asked), Some(FailReason::FarRefused));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert!(world.gateway(A).path().audio.sends);

    world.restart_server();
    world.pass(Duration::from_secs(1));
    let announced = world.next_invite(SERVER);
    world.respond(SERVER, &announced, 200, Some(&sdp(30_000)));
    let asked = world.ask(tab, Request::Hold { call_id: "c1".parse().expect("an id") });
    let invite = world.next_invite(SERVER);
    world.respond(SERVER, &invite, 200, Some(&described(30_000, "recvonly", 2, true)));
    assert_eq!(world.outcome(tab, &asked), Some(Outcome::Ok { sdp: None }));
    world.hears_ack(SERVER);
    // The far side reaches us over the new flow.
    dialog.remote_cseq = None;
    let bye = world.say(SERVER, invite.from, dialog.request(Method::Bye));
    assert_eq!(world.hears_answer(SERVER, bye).status, 200);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::RemoteHangUp));
}

#[test]
fn the_far_side_learns_our_new_address_when_the_server_is_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.kill(SERVER);
    world.pass(Duration::from_secs(5));
    world.restart_server();
    world.pass(Duration::from_secs(2));
    let refresh = world.next_invite(SERVER);
    let contact = refresh.request.headers.get("Contact").expect("a contact").to_owned();
    assert!(contact.contains(&refresh.from.addr.to_string()), "{contact} over {}", refresh.from.addr);
    world.respond(SERVER, &refresh, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_refresh_while_the_server_is_away_ends_no_call() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.far(SERVER).respond(&invite, 200, Some(&sdp(30_000)), &[("Session-Expires", "120;refresher=uac")]);
    world.hears_ack(SERVER);
    world.pass(Duration::from_secs(50));
    world.kill(SERVER);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.restart_server();
    world.pass(Duration::from_secs(11));
    let refresh = world.next_invite(SERVER);
    world.far(SERVER).respond(&refresh, 200, Some(&sdp(30_000)), &[("Session-Expires", "120;refresher=uac")]);
    world.pump();
    world.pass(Duration::from_secs(50));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_call_that_rings_can_be_answered_when_the_server_is_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (_, _) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    world.far(SERVER).is_deaf = true;
    world.pass(Duration::from_secs(5));
    assert_eq!(world.state(tab, &call), Some(CallState::Ringing));
    world.far(SERVER).is_deaf = false;
    world.pass(Duration::from_secs(1));
    world.done(tab, answer(&call));
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
}

#[test]
fn a_hang_up_without_a_server_ends_the_call_for_the_user() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.kill(SERVER);
    world.done(tab, hang_up("c1"));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::LocalHangUp));
    assert_eq!(world.gateway(A).live_peers().count(), 0);
}
