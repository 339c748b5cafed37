use crate::far::{dialog_of, sdp};
use crate::world::{A, SERVER, World, answer};
use gateway_core::sip::Method;
use gateway_protocol::message::{CallState, EndReason};
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A call of ours with these fields in its answer.
fn call(world: &mut World, fields: &[(&str, &str)]) -> (usize, crate::far::Asked) {
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    assert_eq!(invite.request.headers.get("Session-Expires"), Some("1800;refresher=uac"));
    world.far(SERVER).respond(&invite, 200, Some(&sdp(30_000)), fields);
    world.hears_ack(SERVER);
    (tab, invite)
}

#[test]
fn we_refresh_by_update_where_it_is_known() {
    let mut world = World::new();
    let (tab, _) = call(&mut world, &[("Session-Expires", "120;refresher=uac"), ("Allow", "INVITE, UPDATE")]);
    for _ in 0..3 {
        world.pass(seconds(61));
        let update = world.hears(SERVER, Method::Update);
        assert!(update.request.body.is_none());
        world.respond_with(SERVER, &update, 200, &[("Session-Expires", "120;refresher=uac")]);
    }
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn or_by_an_invite_that_changes_nothing() {
    let mut world = World::new();
    let (tab, invite) = call(&mut world, &[("Session-Expires", "120;refresher=uac")]);
    world.pass(seconds(61));
    let refresh = world.hears(SERVER, Method::Invite);
    let version = |sdp: &str| sdp.lines().find(|line| line.starts_with("o=")).map(str::to_owned);
    assert_eq!(refresh.request.sdp().and_then(version), invite.request.sdp().and_then(version));
    world.respond(SERVER, &refresh, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.pass(seconds(30));
    world.hears_nothing(SERVER);
}

#[test]
fn a_far_side_that_does_not_refresh_has_gone() {
    let mut world = World::new();
    let (tab, _) = call(&mut world, &[("Session-Expires", "120;refresher=uas")]);
    world.pass(seconds(87));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.pass(seconds(2));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost));
    world.hears(SERVER, Method::Bye);
}

#[test]
fn its_refresh_keeps_the_call() {
    let mut world = World::new();
    let (tab, invite) = call(&mut world, &[("Session-Expires", "120;refresher=uas")]);
    let mut dialog = dialog_of(&invite);
    for _ in 0..3 {
        world.pass(seconds(60));
        let mut update = dialog.request(Method::Update);
        for (name, value) in [("Session-Expires", "120;refresher=uac"), ("Supported", "timer")] {
            update.headers.push(name, value);
        }
        let id = world.say(SERVER, invite.from, update);
        let response = world.hears_answer(SERVER, id);
        assert_eq!((response.status, response.headers.get("Session-Expires")), (200, Some("120;refresher=uac")));
    }
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.pass(seconds(89));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost));
}

#[test]
fn without_one_in_the_answer_there_is_none() {
    let mut world = World::new();
    let (tab, _) = call(&mut world, &[]);
    world.pass(seconds(2_000));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.hears_nothing(SERVER);
}

#[test]
fn a_refresh_answered_481_ends_the_call() {
    let mut world = World::new();
    let (tab, _) = call(&mut world, &[("Session-Expires", "120;refresher=uac")]);
    world.pass(seconds(61));
    let refresh = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &refresh, 481, None);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost));
}

#[test]
fn a_refresh_that_nobody_answers_ends_the_call_in_time() {
    let mut world = World::new();
    let (tab, _) = call(&mut world, &[("Session-Expires", "120;refresher=uac")]);
    world.pass(seconds(61));
    world.hears(SERVER, Method::Invite);
    world.pass(seconds(28));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost), "before the 120 s are over");
    world.hears(SERVER, Method::Bye);
}

#[test]
fn a_server_that_wants_longer_intervals_gets_them() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond_with(SERVER, &invite, 422, &[("Min-SE", "3600")]);
    let invite = world.hears(SERVER, Method::Invite);
    assert_eq!(invite.request.headers.get("Session-Expires"), Some("3600;refresher=uac"));
    assert_eq!(invite.request.headers.get("Min-SE"), Some("3600"));
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn of_a_call_that_comes_in_we_refresh_unless_the_caller_does() {
    for (asked, answered, refresher) in [
        (Some("120"), "120;refresher=uas", true),
        (Some("120;refresher=uac"), "120;refresher=uac", false),
        (Some("120;refresher=uas"), "120;refresher=uas", true),
        (None, "1800;refresher=uas", true),
    ] {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        let fields: Vec<_> = asked.map(|asked| ("Session-Expires", asked)).into_iter().collect();
        let (id, _) = world.ring_with("alice", Some(&sdp(30_000)), &[&fields[..], &[("Supported", "timer")]].concat());
        let call = world.only_call(tab);
        world.done(tab, answer(&call));
        let response = world.hears_answer(SERVER, id);
        assert_eq!(response.headers.get("Session-Expires"), Some(answered));
        world.pass(seconds(if asked.is_some() { 61 } else { 901 }));
        match refresher {
            true => drop(world.hears(SERVER, Method::Invite)),
            false => world.hears_nothing(SERVER),
        }
    }
}

#[test]
fn an_interval_that_is_too_short_is_refused() {
    let mut world = World::new();
    world.join(A, "alice");
    let fields = [("Session-Expires", "30"), ("Supported", "timer")];
    let (id, _) = world.ring_with("alice", Some(&sdp(30_000)), &fields);
    let response = world.hears_answer(SERVER, id);
    assert_eq!((response.status, response.headers.get("Min-SE")), (422, Some("90")));
}
