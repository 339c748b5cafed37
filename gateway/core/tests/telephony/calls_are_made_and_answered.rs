use crate::far::sdp;
use crate::world::{A, SERVER, World, answer, hang_up};
use gateway_core::sip::{Method, SipUri};
use gateway_protocol::message::{CallState, EndReason};

#[test]
fn a_call_rings_is_answered_and_hung_up() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    assert_eq!(invite.request.uri, "sip:bob@example.org");
    assert!(invite.request.headers.get("From").is_some_and(|from| from.contains("sip:alice@example.org")));
    assert!(invite.request.sdp().is_some_and(|offer| offer.contains("opus/48000/2") && offer.contains("PCMA/8000")));

    world.respond(SERVER, &invite, 180, None);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Ringing));
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    let path = world.gateway(A).path().clone();
    assert_eq!(path.audio.rtp.to_string(), "10.0.2.1:30000");
    assert!(path.audio.sends && path.audio.receives);

    world.done(tab, hang_up("c1"));
    let bye = world.hears(SERVER, Method::Bye);
    assert_eq!(bye.request.headers.get("CSeq"), Some("2 BYE"));
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::LocalHangUp));
    world.respond(SERVER, &bye, 200, None);
    assert_eq!(world.gateway(A).live_peers().count(), 0);
}

#[test]
fn the_far_side_hangs_up() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let bye = world.say(SERVER, to, dialog.request(Method::Bye));
    assert_eq!(world.hears_answer(SERVER, bye).status, 200);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::RemoteHangUp));
    assert_eq!(world.gateway(A).live_peers().count(), 0);
}

#[test]
fn a_call_comes_in_and_is_answered() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (id, invite) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    assert_eq!(world.state(tab, &call), Some(CallState::Ringing));
    world.done(tab, answer(&call));
    let response = world.hears_answer(SERVER, id);
    assert_eq!(response.status, 200);
    let contact = response.headers.get("Contact").expect("a contact").trim_matches(['<', '>']).to_owned();
    assert!(SipUri::parse(&contact).expect("a URI").param("hf-gen").is_some());
    assert!(response.sdp().is_some_and(|answer| answer.contains("m=audio 20002 RTP/AVP 0 101")), "{response:?}");
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_000);

    world.done(tab, hang_up(&call));
    let bye = world.hears(SERVER, Method::Bye);
    assert_eq!(bye.request.headers.get("Call-ID"), invite.headers.get("Call-ID"));
    assert_eq!(bye.request.headers.get("To"), invite.headers.get("From"));
}

#[test]
fn early_media_is_connected_before_the_answer() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 183, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Connecting), "nothing rings");
    assert_eq!(world.gateway(A).path().audio.rtp.port(), 30_000);
    world.respond(SERVER, &invite, 180, None);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Ringing));
    // The answer was in the 183; the 200 need not repeat it.
    world.respond(SERVER, &invite, 200, None);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}
