use crate::far::{Asked, Heard, dialog_of, sdp};
use crate::gateway::{Options, UNIX};
use crate::world::{A, B, SERVER, TabId, World, answer, hang_up};
use gateway_core::MediaChange;
use gateway_core::sip::{Dialog, Headers, Method, tag_of};
use gateway_protocol::message::DeadCallAction::{HangUp, Resume};
use gateway_protocol::message::{CallState, EndReason, Event, Request};
use std::time::Duration;

/// What was sent has left after this.
const SENT: Duration = Duration::from_millis(100);

fn two() -> World {
    World::played(2, Options::default())
}

/// `(recovered, lost, unknown)` as the tab was told, which it is once.
fn told(world: &World, tab: TabId) -> Option<(Vec<String>, Vec<String>, Vec<String>)> {
    let names = |ids: &[gateway_protocol::CallId]| ids.iter().map(ToString::to_string).collect();
    let mut told = world.tabs[tab].events.iter().filter_map(|event| match event {
        Event::SessionRecovered { recovered, lost, unknown } => Some((names(recovered), names(lost), names(unknown))),
        _ => None,
    });
    let first = told.next();
    assert_eq!(told.next(), None, "told once");
    first
}

fn unix_cseq(asked: &Asked) -> bool {
    asked.request.cseq().is_some_and(|cseq| u64::from(cseq) >= UNIX.as_secs())
}

/// A tab in a call whose instance is dead.
fn talking() -> (World, TabId, Dialog) {
    let mut world = two();
    let tab = world.join(A, "alice");
    let (dialog, _) = world.talk(tab, "c1");
    world.pass(Duration::from_secs(1));
    world.kill(A);
    (world, tab, dialog)
}

#[test]
fn hang_up_ends_the_far_side() {
    let (mut world, tab, dialog) = talking();
    let tab = world.take_over(tab, B, HangUp);
    let bye = world.hears(SERVER, Method::Bye);
    assert!(unix_cseq(&bye), "{:?}", bye.request);
    assert!(bye.request.headers.get("Reason").is_some_and(|reason| reason.contains("instance lost")));
    assert!(dialog.owns(&bye.request));
    world.pass(SENT);
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
    world.respond(SERVER, &bye, 200, None);
    world.hears_nothing(SERVER);
}

#[test]
fn the_new_registration_takes_the_place_of_the_dead_one() {
    let (mut world, tab, _) = talking();
    let before = world.far(SERVER).bindings[0].clone();
    world.take_over(tab, B, HangUp);
    let [after] = &world.far(SERVER).bindings[..] else { panic!("one binding") };
    assert_eq!(after.param("+sip.instance"), before.param("+sip.instance"));
    assert_ne!(after.uri, before.uri);
    world.pass(Duration::from_secs(6));
    let looks = world.far(SERVER).registers.iter().filter(|asked| asked.request.headers.get("Contact").is_none());
    assert_eq!(looks.count(), 2, "1 s and 5 s after");
}

#[test]
fn a_binding_that_the_dead_one_stole_back_is_taken_again() {
    let (mut world, tab, _) = talking();
    let stale = world.far(SERVER).bindings[0].clone();
    world.take_over(tab, B, HangUp);
    let ours = world.far(SERVER).bindings[0].clone();
    world.far(SERVER).bindings = vec![stale];
    world.pass(Duration::from_secs(2));
    assert_eq!(world.far(SERVER).bindings[0].uri, ours.uri);
}

#[test]
fn resume_brings_the_far_side_back_as_a_new_call() {
    let (mut world, tab, dialog) = talking();
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    assert!(unix_cseq(&probe) && dialog.owns(&probe.request));
    assert_eq!(told(&world, tab), None);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    assert_eq!(told(&world, tab), Some((vec![call.clone()], vec![], vec![])));
    let replaced = world.tabs[tab].events.iter().find_map(|event| match event {
        Event::IncomingCall { call } => call.replaces.clone(),
        _ => None,
    });
    assert_eq!(replaced.map(String::from).as_deref(), Some("c1"));

    world.done(tab, answer(&call));
    let invite = world.hears(SERVER, Method::Invite);
    assert!(invite.request.cseq() > probe.request.cseq());
    let offer = invite.request.sdp().expect("an offer").to_owned();
    assert!(offer.contains("c=IN IP4 10.0.0.2") && offer.contains("a=sendrecv"), "{offer}");
    assert!(invite.request.headers.get("Contact").is_some_and(|contact| contact.contains("@10.0.0.2:")));
    assert_eq!(world.state(tab, &call), Some(CallState::Ringing));
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
    assert!(world.gateway(B).path().audio.sends);

    world.done(tab, hang_up(&call));
    let bye = world.hears(SERVER, Method::Bye);
    assert!(bye.request.cseq() > invite.request.cseq());
}

#[test]
fn the_gap_of_a_resumed_call_is_told_once_both_sides_are_heard() {
    let (mut world, tab, _) = talking();
    world.pass(Duration::from_millis(700));
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    world.pass(Duration::from_millis(150));
    world.done(tab, answer(&call));
    let peer = world.gateway(B).live_peers().next().expect("the call").0;
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    world.media(B, peer, MediaChange::Connected);
    world.pass(Duration::from_millis(90));
    let told = |world: &World| -> Vec<u32> {
        let gaps = world.tabs[tab].events.iter().filter_map(|event| match event {
            Event::CallResumed { call_id, gap_ms } => Some((call_id.to_string(), *gap_ms)),
            _ => None,
        });
        gaps.map(|(id, gap)| (id == call).then_some(gap).expect("of the new call")).collect()
    };
    assert_eq!(told(&world), [0; 0], "the far side is not heard yet");
    world.media(B, peer, MediaChange::FarHeard);
    world.media(B, peer, MediaChange::Suspended);
    world.media(B, peer, MediaChange::Resumed);
    assert_eq!(told(&world), [240], "150 ms until the answer, 90 ms until sound");
    let now = world.now;
    let counts = world.gateway(B).instance.load(now).counts;
    assert_eq!((counts.resumed, counts.resumed_gap), (1, Duration::from_millis(240)));
}

#[test]
fn the_version_of_the_description_counts_on() {
    let version = |sdp: &str| -> (String, u64) {
        let line = sdp.lines().find(|line| line.starts_with("o=")).expect("an origin");
        let words: Vec<_> = line.split(' ').collect();
        (words[1].to_owned(), words[2].parse().expect("a number"))
    };
    let mut world = two();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    world.hears_ack(SERVER);
    let before = version(invite.request.sdp().expect("an offer"));
    world.kill(A);
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    let after = version(world.hears(SERVER, Method::Invite).request.sdp().expect("an offer"));
    assert_eq!(after.0, before.0);
    assert!(after.1 > before.1, "RFC 3264 §8");
}

#[test]
fn a_held_call_is_taken_back_as_held() {
    let mut world = two();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.ask(tab, Request::Hold { call_id: "c1".parse().expect("an id") });
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&crate::far::described(30_000, "recvonly", 2, true)));
    world.hears_ack(SERVER);
    world.kill(A);
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    let invite = world.hears(SERVER, Method::Invite);
    assert!(invite.request.sdp().is_some_and(|offer| offer.contains("a=sendonly")));
    world.respond(SERVER, &invite, 200, Some(&crate::far::described(30_000, "recvonly", 3, true)));
    world.hears_ack(SERVER);
    assert_eq!(world.state(tab, &call), Some(CallState::Held));
}

#[test]
fn a_far_side_that_is_gone_is_lost() {
    for status in [481, 404] {
        let (mut world, tab, _) = talking();
        let tab = world.take_over(tab, B, Resume);
        let probe = world.hears(SERVER, Method::Options);
        world.respond(SERVER, &probe, status, None);
        assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])), "{status}");
        assert!(world.tabs[tab].calls.is_empty());
        world.hears_nothing(SERVER);
    }
}

#[test]
fn a_far_side_that_hangs_up_while_it_is_asked_is_lost() {
    let (mut world, tab, mut dialog) = talking();
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    let bye = world.say(SERVER, probe.from, dialog.request(Method::Bye));
    assert_eq!(world.hears_answer(SERVER, bye).status, 200);
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
    world.respond(SERVER, &probe, 481, None);
    world.pass(Duration::from_secs(6));
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
}

#[test]
fn a_far_side_that_says_nothing_is_unknown_after_five_seconds() {
    let (mut world, tab, _) = talking();
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.pass(Duration::from_millis(4_900));
    assert_eq!(told(&world, tab), None);
    world.pass(Duration::from_millis(200));
    assert_eq!(told(&world, tab), Some((vec![], vec![], vec!["c1".to_owned()])));
    // Nobody waits for what it says later.
    world.hears(SERVER, Method::Bye);
    world.respond(SERVER, &probe, 200, None);
    assert!(world.tabs[tab].calls.is_empty());
}

#[test]
fn without_a_sip_server_it_is_unknown_too() {
    let (mut world, tab, _) = talking();
    world.kill(SERVER);
    let tab = world.take_over(tab, B, HangUp);
    world.pass(Duration::from_secs(5));
    assert_eq!(told(&world, tab), Some((vec![], vec![], vec!["c1".to_owned()])));
}

#[test]
fn a_sip_server_that_comes_back_in_time_is_used() {
    let (mut world, tab, _) = talking();
    world.kill(SERVER);
    let tab = world.take_over(tab, B, HangUp);
    world.pass(Duration::from_secs(2));
    world.restart_server();
    world.pass(Duration::from_secs(2));
    world.hears(SERVER, Method::Bye);
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
}

#[test]
fn a_challenge_within_the_dialog_is_answered() {
    let options = Options { passwords: vec![("alice", "wonderland")], ..Options::default() };
    let mut world = World::played(2, options);
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.kill(A);
    let tab = world.take_over(tab, B, Resume);
    let asked = [("Proxy-Authenticate", "Digest realm=\"example.org\", nonce=\"n\", qop=\"auth\"")];
    let first = world.hears(SERVER, Method::Options);
    world.respond_with(SERVER, &first, 407, &asked);
    let probe = world.hears(SERVER, Method::Options);
    assert!(probe.request.headers.get("Proxy-Authorization").is_some());
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    let first = world.hears(SERVER, Method::Invite);
    world.respond_with(SERVER, &first, 407, &asked);
    let invite = world.hears(SERVER, Method::Invite);
    assert!(invite.request.headers.get("Proxy-Authorization").is_some());
    assert!(invite.request.cseq() > first.request.cseq());
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
}

#[test]
fn a_call_that_was_ringing_out_is_cancelled_in_the_dead_ones_name() {
    let mut world = two();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    for tag in ["one", "two"] {
        world.far(SERVER).respond_as(&invite, 180, tag, None, &[]);
    }
    world.pump();
    world.kill(A);
    let tab = world.take_over(tab, B, Resume);
    // The network matched it by the INVITE's branch and sent-by.
    assert_eq!(world.next_heard(SERVER), Some(Heard::Cancelled(invite.id)));
    let tags: Vec<_> =
        (0..2).filter_map(|_| world.hears(SERVER, Method::Bye).request.headers.get("To").and_then(tag_of)).collect();
    assert_eq!(tags, ["one", "two"], "in case that one was answered meanwhile");
    world.pass(SENT);
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
}

#[test]
fn the_reissued_invite_is_the_one_that_is_cancelled() {
    let options = Options { passwords: vec![("alice", "wonderland")], ..Options::default() };
    let mut world = World::played(2, options);
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let first = world.hears(SERVER, Method::Invite);
    let asked = [("Proxy-Authenticate", "Digest realm=\"example.org\", nonce=\"n\", qop=\"auth\"")];
    world.respond_with(SERVER, &first, 407, &asked);
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 180, None);
    world.kill(A);
    world.take_over(tab, B, HangUp);
    assert_eq!(world.next_heard(SERVER), Some(Heard::Cancelled(invite.id)));
}

#[test]
fn a_transfer_that_the_dead_one_followed_is_called_off() {
    for action in [HangUp, Resume] {
        let mut world = two();
        let tab = world.join(A, "alice");
        let (mut bob, to) = world.talk(tab, "c1");
        let mut refer = bob.request(Method::Refer);
        refer.headers.push("Refer-To", "<sip:carol@example.org>");
        let id = world.say(SERVER, to, refer);
        assert_eq!(world.hears_answer(SERVER, id).status, 202);
        let notify = world.hears(SERVER, Method::Notify);
        world.respond(SERVER, &notify, 200, None);
        let invite = world.hears(SERVER, Method::Invite);
        world.far(SERVER).respond_as(&invite, 180, "carol", None, &[]);
        world.pump();
        let notify = world.hears(SERVER, Method::Notify);
        world.respond(SERVER, &notify, 200, None);
        world.kill(A);
        let tab = world.take_over(tab, B, action);
        let (mut requests, mut cancelled) = (Vec::new(), false);
        while let Some(heard) = world.next_heard(SERVER) {
            match heard {
                Heard::Cancelled(id) => cancelled = id == invite.id,
                Heard::Request(asked) => requests.push(asked),
                _ => {}
            }
        }
        assert!(cancelled, "the INVITE to carol, in the dead one's name");
        let sent = |method: Method, dialog: &Dialog| {
            let tags = |headers: &Headers| headers.get("To").and_then(tag_of) == Some(dialog.local_tag());
            requests.iter().filter(|one| one.request.method == method && tags(&one.request.headers)).count()
        };
        let carol = Dialog::of_request(&invite.request, "carol").expect("a dialog");
        assert_eq!(sent(Method::Bye, &carol), 1, "in case that she answered meanwhile");
        match action {
            HangUp => {
                assert_eq!(sent(Method::Bye, &bob), 1);
                world.pass(SENT);
                assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
            }
            Resume => {
                let probe = requests.iter().find(|one| one.request.method == Method::Options).expect("a probe").clone();
                world.respond(SERVER, &probe, 200, None);
                assert_eq!(told(&world, tab), Some((vec![world.only_call(tab)], vec![], vec![])));
            }
        }
    }
}

#[test]
fn a_second_loss_while_the_user_re_enters() {
    let mut world = World::played(3, Options::default());
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.kill(A);
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    // Before anybody answers the new call its instance dies too.
    world.pass(Duration::from_secs(2));
    world.kill(B);
    let tab = world.take_over(tab, 3, Resume);
    let again = world.hears(SERVER, Method::Options);
    assert!(again.request.cseq() >= probe.request.cseq().map(|cseq| cseq + 100));
    world.respond(SERVER, &again, 200, None);
    let new = world.only_call(tab);
    assert_ne!(new, call);
    world.done(tab, answer(&new));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, &new), Some(CallState::Active));
}

#[test]
fn a_hang_up_that_may_not_have_left_is_repeated() {
    let mut world = World::played(3, Options::default());
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.kill(A);
    let tab = world.take_over(tab, B, HangUp);
    world.hears(SERVER, Method::Bye);
    assert_eq!(told(&world, tab), None);
    world.tabs[tab].has_started("c1".to_owned());
    world.kill(B);
    let tab = world.take_over(tab, 3, HangUp);
    world.hears(SERVER, Method::Bye);
    world.pass(SENT);
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
}

#[test]
fn a_recovered_call_that_the_user_declines_or_forgets_is_hung_up() {
    for declines in [true, false] {
        let (mut world, tab, _) = talking();
        let tab = world.take_over(tab, B, Resume);
        let probe = world.hears(SERVER, Method::Options);
        world.respond(SERVER, &probe, 200, None);
        let call = world.only_call(tab);
        match declines {
            true => world.done(tab, Request::RejectCall { call_id: call.parse().expect("an id"), busy: false }),
            false => world.pass(Duration::from_secs(121)),
        }
        assert!(world.ended(tab, &call).is_some());
        world.hears(SERVER, Method::Bye);
    }
}

#[test]
fn a_far_side_that_refuses_the_new_description_is_hung_up() {
    let (mut world, tab, _) = talking();
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 488, None);
    assert_eq!(world.ended(tab, &call), Some(EndReason::FarLost));
    world.hears(SERVER, Method::Bye);
}

#[test]
fn a_change_by_the_far_side_before_the_answer_is_put_off() {
    let (mut world, tab, mut dialog) = talking();
    let tab = world.take_over(tab, B, Resume);
    let probe = world.hears(SERVER, Method::Options);
    world.respond(SERVER, &probe, 200, None);
    let call = world.only_call(tab);
    let mut reinvite = dialog.request(Method::Invite);
    reinvite.body = Some(gateway_core::sip::Body::sdp(sdp(30_002)));
    let id = world.say(SERVER, probe.from, reinvite);
    assert_eq!(world.hears_answer(SERVER, id).status, 491, "there are no ports yet");
    world.done(tab, answer(&call));
    let invite = world.hears(SERVER, Method::Invite);
    world.respond(SERVER, &invite, 200, Some(&sdp(30_002)));
    assert_eq!(world.state(tab, &call), Some(CallState::Active));
}

#[test]
fn calls_that_no_capsule_knows_are_lost() {
    let mut world = two();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "echo");
    let tab = {
        world.kill(A);
        world.take_over(tab, B, Resume)
    };
    assert_eq!(told(&world, tab), Some((vec![], vec!["c1".to_owned()], vec![])));
}

#[test]
fn calls_that_the_client_does_not_name_are_left_alone() {
    let (mut world, tab, _) = talking();
    world.tabs[tab].calls.clear();
    let tab = world.take_over(tab, B, HangUp);
    assert_eq!(told(&world, tab), Some((vec![], vec![], vec![])));
    world.hears_nothing(SERVER);
}

#[test]
fn who_speaks_with_a_user_of_a_dead_instance_learns_that_it_is_lost() {
    let mut world = two();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let mut bye = dialog.request(Method::Bye);
    bye.headers.push("Reason", "SIP;cause=410;text=\"instance lost\"");
    let id = world.say(SERVER, to, bye);
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
    assert_eq!(world.ended(tab, "c1"), Some(EndReason::FarLost));
}

#[test]
fn the_dialog_of_an_incoming_call_is_taken_over_as_well() {
    let mut world = two();
    let tab = world.join(A, "alice");
    let (id, invite) = world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    let response = world.hears_answer(SERVER, id);
    let ours = Dialog::of_response(&invite, &response).expect("a dialog");
    world.kill(A);
    world.take_over(tab, B, HangUp);
    let bye = world.hears(SERVER, Method::Bye);
    assert!(ours.owns(&bye.request) && unix_cseq(&bye));
    assert_eq!(dialog_of(&Asked { request: invite, ..bye }).remote_tag(), ours.local_tag());
}
