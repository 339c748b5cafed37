use crate::far::{Heard, sdp};
use crate::gateway::BAD_OFFER;
use crate::world::{A, SERVER, World, answer, hang_up, start};
use gateway_core::sip::Method;
use gateway_protocol::message::{CallState, EndReason, FailReason, Outcome, Request};
use std::time::Duration;

#[test]
fn each_refusal_has_its_reason() {
    for (status, reason) in [
        (486, EndReason::Busy),
        (600, EndReason::Busy),
        (603, EndReason::Rejected),
        (403, EndReason::Rejected),
        (404, EndReason::NotFound),
        (480, EndReason::NoAnswer),
        (408, EndReason::NoAnswer),
        (500, EndReason::Failed),
        (488, EndReason::Failed),
    ] {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        world.dial(tab, "c1", "bob");
        let invite = world.hears(SERVER, Method::Invite);
        world.respond(SERVER, &invite, status, None);
        assert_eq!(world.ended(tab, "c1"), Some(reason), "{status}");
        assert_eq!(world.gateway(A).live_peers().count(), 0);
        world.hears_nothing(SERVER);
    }
}

#[test]
fn our_user_takes_its_call_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 180, None);
    world.done(tab, hang_up("c1"));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::LocalHangUp));
    assert_eq!(world.next_heard(SERVER), Some(Heard::Cancelled(invite.id)));
    world.respond(SERVER, &invite, 487, None);
    world.hears_nothing(SERVER);
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 180, None);
    world.done(tab, hang_up("c1"));
    assert_eq!(world.next_heard(SERVER), Some(Heard::Cancelled(invite.id)));
    // Two forks had answered already.
    world.far(SERVER).respond_as(&invite, 200, "one", Some(&sdp(30_000)), &[]);
    world.far(SERVER).respond_as(&invite, 200, "two", Some(&sdp(30_002)), &[]);
    let mut ended = Vec::new();
    while let Some(heard) = world.next_heard(SERVER) {
        if let Heard::Request(asked) = heard {
            assert_eq!(asked.request.method, Method::Bye);
            ended.extend(asked.request.headers.get("To").map(str::to_owned));
        }
    }
    ended.sort();
    let tags = ["<sip:bob@example.org>;tag=one", "<sip:bob@example.org>;tag=two"];
    assert_eq!(ended, tags);
}

#[test]
fn nobody_answers() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 180, None);
    world.pass(Duration::from_secs(119));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Ringing));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::NoAnswer));
    assert_eq!(world.next_heard(SERVER), Some(Heard::Cancelled(invite.id)));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    world.hears(SERVER, Method::Invite);
    world.pass(Duration::from_secs(33));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::NoAnswer));
}

#[test]
fn the_caller_takes_its_call_back() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    world.cancel(SERVER, id);
    assert_eq!(world.hears_answer(SERVER, id).status, 487);
    assert_eq!(world.ended(tab, &call), Some(EndReason::Cancelled));
    let late = world.ask(tab, answer(&call));
    let failed = Outcome::Failed { reason: FailReason::NoSuchCall, detail: None };
    assert_eq!(world.outcome(tab, &late), Some(failed));
}

#[test]
fn our_user_declines() {
    for (busy, status) in [(false, 603), (true, 486)] {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        let (id, _) = world.ring("alice", Some(&sdp(30_000)));
        let call = world.only_call(tab);
        world.done(tab, Request::RejectCall { call_id: call.parse().expect("an id"), busy });
        assert_eq!(world.hears_answer(SERVER, id).status, status);
        assert_eq!(world.ended(tab, &call), Some(EndReason::LocalHangUp));
    }
}

#[test]
fn a_call_that_the_user_lets_ring_ends_as_unanswered() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    world.pass(Duration::from_secs(121));
    assert_eq!(world.hears_answer(SERVER, id).status, 480);
    assert_eq!(world.ended(tab, &call), Some(EndReason::NoAnswer));
}

#[test]
fn a_page_that_closes_while_it_rings_declines_for_itself_alone() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    let (session, now) = (world.tabs[tab].session.clone(), world.now);
    world.gateway(A).instance.sign_off(&session.session_id, &session.session_token, now).expect("it lives");
    // A 603 would silence the user's desk phone too.
    assert_eq!(world.hears_answer(SERVER, id).status, 480);
}

#[test]
fn an_offer_that_the_plane_refuses_leaves_the_call_ringing() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    let bad = Request::AnswerCall { call_id: call.parse().expect("an id"), sdp: BAD_OFFER.to_owned() };
    let refused = world.ask(tab, bad);
    assert!(matches!(world.outcome(tab, &refused), Some(Outcome::Failed { reason: FailReason::BadSdp, .. })));
    assert_eq!(world.state(tab, &call), Some(CallState::Ringing));
    world.done(tab, answer(&call));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
}

#[test]
fn a_caller_without_a_common_codec_hears_488() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let g729 = sdp(30_000).replace("AVP 0 101", "AVP 18").replace("rtpmap:0 PCMU", "rtpmap:18 G729");
    let (id, _) = world.ring("alice", Some(&g729));
    let call = world.only_call(tab);
    world.ask(tab, answer(&call));
    assert_eq!(world.hears_answer(SERVER, id).status, 488);
    assert_eq!(world.ended(tab, &call), Some(EndReason::Failed));
    assert_eq!(world.gateway(A).live_peers().count(), 0);
}

#[test]
fn an_answer_without_a_common_codec_ends_the_call() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.done(tab, start("c1", "bob"));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some("v=0\r\nfoo"));
    world.hears_ack(SERVER);
    world.hears(SERVER, Method::Bye);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::Failed));
}
