use crate::far::{described, sdp};
use crate::world::{A, SERVER, World, answer, hang_up};
use gateway_core::sip::{Body, Method};
use gateway_protocol::message::{CallState, EndReason};

#[test]
fn options_are_answered_in_and_out_of_a_dialog() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let inside = world.say(SERVER, to, dialog.request(Method::Options));
    let response = world.hears_answer(SERVER, inside);
    assert!(response.status == 200 && response.headers.get("Allow").is_some_and(|allow| allow.contains("INVITE")));
    let mut outside = dialog.request(Method::Options);
    outside.headers.set("To", "<sip:alice@example.org>");
    outside.headers.set("Call-ID", "another");
    let outside = world.say(SERVER, to, outside);
    assert_eq!(world.hears_answer(SERVER, outside).status, 200);
}

#[test]
fn an_unknown_dialog_is_answered_481() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    dialog.call_id = "another".to_owned();
    for method in [Method::Bye, Method::Invite, Method::Options, Method::Info] {
        let id = world.say(SERVER, to, dialog.request(method));
        assert_eq!(world.hears_answer(SERVER, id).status, 481);
    }
    let now = world.now;
    assert_eq!(world.gateway(A).instance.load(now).sip.unknown_dialogs, 4);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn an_old_request_is_answered_500() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let bye = dialog.request(Method::Bye);
    let info = world.say(SERVER, to, dialog.request(Method::Options));
    assert_eq!(world.hears_answer(SERVER, info).status, 200);
    let late = world.say(SERVER, to, bye);
    assert_eq!(world.hears_answer(SERVER, late).status, 500);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_new_target_is_where_the_next_request_goes() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let mut invite = dialog.request(Method::Invite);
    invite.headers.push("Contact", "<sip:far@10.9.9.9:5070;transport=tcp>");
    invite.body = Some(Body::sdp(sdp(31_000)));
    let id = world.say(SERVER, to, invite);
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 31_000);
    world.done(tab, hang_up("c1"));
    assert_eq!(world.hears(SERVER, Method::Bye).request.uri, "sip:far@10.9.9.9:5070;transport=tcp");
}

#[test]
fn a_call_without_an_offer_gets_ours_and_answers_in_its_ack() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", None);
    let call = world.only_call(tab);
    world.net.ack_sdp = Some(sdp(30_000));
    world.done(tab, answer(&call));
    let response = world.hears_answer(SERVER, id);
    assert!(response.sdp().is_some_and(|offer| offer.contains("opus/48000/2")));
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_000);
}

#[test]
fn a_change_without_an_offer_gets_ours() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let id = world.say(SERVER, to, dialog.request(Method::Invite));
    let response = world.hears_answer(SERVER, id);
    assert!(response.status == 200 && response.sdp().is_some_and(|offer| offer.contains("m=audio 20002")));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn several_phones_ring_and_two_answer() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    for tag in ["one", "two", "three"] {
        world.far(SERVER).respond_as(&invite, 180, tag, None, &[]);
    }
    world.far(SERVER).respond_as(&invite, 200, "two", Some(&sdp(30_002)), &[("Contact", "<sip:two@10.0.2.2>")]);
    world.far(SERVER).respond_as(&invite, 200, "three", Some(&sdp(30_004)), &[("Contact", "<sip:three@10.0.2.3>")]);
    // The proxy repeats the first one.
    world.far(SERVER).respond_as(&invite, 200, "two", Some(&sdp(30_002)), &[("Contact", "<sip:two@10.0.2.2>")]);
    let mut byes = Vec::new();
    while let Some(heard) = world.next_heard(SERVER) {
        if let crate::far::Heard::Request(asked) = heard {
            assert_eq!(asked.request.method, Method::Bye);
            byes.push(asked.request.uri);
        }
    }
    assert_eq!(byes, ["sip:three@10.0.2.3"]);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_002);
    world.done(tab, hang_up("c1"));
    assert_eq!(world.hears(SERVER, Method::Bye).request.uri, "sip:two@10.0.2.2");
}

#[test]
fn a_change_every_100_ms_is_answered_and_costs_the_call_nothing() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let (mut taken, mut refused) = (0, 0);
    for version in 2..100 {
        world.pass(std::time::Duration::from_millis(100));
        let mut invite = dialog.request(Method::Invite);
        invite.body = Some(Body::sdp(described(30_000, "sendrecv", version, true)));
        let id = world.say(SERVER, to, invite);
        let response = world.hears_answer(SERVER, id);
        match response.status {
            200 => taken += 1,
            500 => refused += u64::from(response.headers.get("Retry-After").is_some()),
            other => panic!("{other}"),
        }
    }
    assert!((45..=55).contains(&taken), "five a second, not {taken} in ten");
    let now = world.now;
    assert_eq!(world.gateway(A).instance.load(now).sip.refused, refused);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let mut invite = dialog.request(Method::Invite);
    invite.body = Some(Body::sdp(described(30_000, "sendonly", 2, true)));
    world.net.swallow_acks = true;
    let id = world.say(SERVER, to, invite);
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    world.pass(std::time::Duration::from_secs(33));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost));
    world.hears(SERVER, Method::Bye);
}

#[test]
fn one_call_that_comes_two_ways_rings_once() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (first, invite) = world.ring("alice", Some(&sdp(30_000)));
    let to = world.far(SERVER).registers[0].from;
    let second = world.say(SERVER, to, invite);
    assert_eq!(world.hears_answer(SERVER, second).status, 482);
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    assert_eq!(world.hears_answer(SERVER, first).status, 200);
}

#[test]
fn two_calls_at_once() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let (id, _) = world.ring("alice", Some(&sdp(31_000)));
    let waiting = world.tabs[tab].calls.keys().find(|call| *call != "c1").expect("a second call").clone();
    world.done(tab, answer(&waiting));
    let response = world.hears_answer(SERVER, id);
    assert_eq!(response.status, 200);
    assert_eq!(world.gateway(A).live_peers().count(), 2);
    world.done(tab, hang_up("c1"));
    world.hears(SERVER, Method::Bye);
    assert_eq!(world.state(tab, &waiting), Some(CallState::Active));
}
