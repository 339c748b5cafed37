use crate::far::{Heard, sdp};
use crate::world::{A, SERVER, TabId, World, answer};
use gateway_protocol::message::{CallState, EndReason};
use std::time::Duration;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A tab without its socket, and a call to it.
fn called() -> (World, TabId, gateway_core::sip::ClientTransaction) {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.cut(tab);
    world.pass(Duration::from_secs(1));
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    (world, tab, id)
}

#[test]
fn it_is_told_480_after_four_seconds() {
    let (mut world, tab, id) = called();
    world.pass(millis(3_900));
    assert_eq!(world.next_heard(SERVER), None, "not even that it rings");
    world.pass(millis(200));
    assert_eq!(world.hears_answer(SERVER, id).status, 480);
    world.reattach(tab);
    assert_eq!(world.tabs[tab].ended.values().collect::<Vec<_>>(), [&EndReason::NoAnswer], "it learns of it");
    assert_eq!(world.tabs[tab].missed, ["sip:bob@example.org"], "and of who it was");
}

#[test]
fn it_rings_when_the_browser_is_back_in_time() {
    let (mut world, tab, id) = called();
    world.pass(Duration::from_secs(3));
    world.reattach(tab);
    let call = world.only_call(tab);
    assert_eq!(world.state(tab, &call), Some(CallState::Ringing));
    assert!(matches!(world.next_heard(SERVER), Some(Heard::Response(_, response)) if response.status == 180));
    world.pass(Duration::from_secs(10));
    world.done(tab, answer(&call));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
}

#[test]
fn one_that_rings_waits_as_well_when_the_browser_goes() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    world.pass(Duration::from_secs(5));
    world.cut(tab);
    world.pass(Duration::from_secs(3));
    world.reattach(tab);
    assert_eq!(world.state(tab, &call), Some(CallState::Ringing));
    world.cut(tab);
    world.pass(millis(4_100));
    assert_eq!(world.hears_answer(SERVER, id).status, 480);
}

#[test]
fn a_call_that_was_answered_lives_on() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    world.cut(tab);
    world.pass(Duration::from_secs(20));
    let mut hold = dialog.request(gateway_core::sip::Method::Invite);
    hold.body = Some(gateway_core::sip::Body::sdp(crate::far::described(30_000, "sendonly", 2, true)));
    let id = world.say(SERVER, to, hold);
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    world.reattach(tab);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Held), "what happened meanwhile is shown");
}
