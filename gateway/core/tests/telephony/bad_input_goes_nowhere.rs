use crate::far::{Far, sdp};
use crate::gateway::Options;
use crate::world::{A, SERVER, World, start};
use gateway_core::Limits;
use gateway_core::sip::{Method, SipEvent, SipRequest};
use gateway_protocol::message::{CallState, FailReason, Outcome, Request};

fn reason(world: &World, tab: usize, asked: &gateway_protocol::RequestId) -> Option<FailReason> {
    match world.outcome(tab, asked) {
        Some(Outcome::Failed { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[test]
fn a_stranger_gets_no_answer_and_is_counted() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (dialog, to) = world.talk(tab, "c1");
    let stranger = world.add_phone(66);
    let uri = world.far(SERVER).bindings[0].uri.clone();
    let invite = world.far(stranger).invite("<sip:mallory@evil.example>", &uri, Some(&sdp(30_000)));
    world.say(stranger, to, invite);
    let bye = dialog.clone().request(Method::Bye);
    world.say(stranger, to, bye);
    world.hears_nothing(stranger);
    let now = world.now;
    assert_eq!(world.gateway(A).instance.load(now).sip.strangers, 2);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    assert_eq!(world.only_call(tab), "c1");
}

/// What could end a header field, start another or leave its brackets. The network checks every line that leaves.
const SHARP: [&str; 9] = [
    "bob\r\nX-Evil: 1",
    "bob\nBye",
    "bob\0",
    "bob\u{7f}",
    "bob>;tag=x",
    "bob\"<sip:x@y>",
    "sip:bob@example.org?Replaces=x",
    "sip:bob@exam\r\nple.org",
    "bob bob",
];

#[test]
fn sharp_characters_in_a_target_are_refused() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c0");
    for target in SHARP {
        let asked = world.ask(tab, start("c1", target));
        assert_eq!(reason(&world, tab, &asked), Some(FailReason::NotAllowed), "{target:?}");
        let call_id = "c0".parse().expect("an id");
        let asked = world.ask(tab, Request::Transfer { call_id, target: target.to_owned() });
        assert_eq!(reason(&world, tab, &asked), Some(FailReason::NotAllowed), "{target:?}");
    }
    world.hears_nothing(SERVER);
}

#[test]
fn sharp_characters_in_a_users_name_are_escaped() {
    let mut world = World::new();
    let tab = world.join(A, "a\"<b>;c@d e%?");
    let register = world.far(SERVER).registers[0].request.clone();
    assert_eq!(register.headers.get("To"), Some("<sip:a%22%3Cb%3E%3Bc%40d%20e%25%3F@example.org>"));
    world.dial(tab, "c1", "bob");
    world.hears(SERVER, Method::Invite);
}

#[test]
fn targets_outside_the_allow_list_are_refused() {
    let options = Options { dial: vec!["bob", "+49*", "*@partner.example"], ..Options::default() };
    let mut world = World::played(1, options);
    let tab = world.join(A, "alice");
    let elsewhere = ["sip:bob@example.org;maddr=192.0.2.9", "bob@example.org:7000", "sip:bob@example.org;method=BYE"];
    let foreign =
        ["bob@evil.example", "sip:bob@evil.example", "sip:bob@partner.example.evil", "sip:bob@partner.example:9"];
    for target in ["carol", "+1900555", ""].into_iter().chain(elsewhere).chain(foreign) {
        let asked = world.ask(tab, start("c1", target));
        assert_eq!(reason(&world, tab, &asked), Some(FailReason::NotAllowed), "{target:?}");
    }
    world.hears_nothing(SERVER);
    let now = world.now;
    assert_eq!(world.gateway(A).instance.load(now).counts.not_allowed, 10);
    for (call, target, uri) in [
        ("c1", "bob", "sip:bob@example.org"),
        ("c2", "+4930123", "sip:+4930123@example.org"),
        ("c3", "sip:x@partner.example", "sip:x@partner.example"),
    ] {
        world.dial(tab, call, target);
        assert_eq!(world.hears(SERVER, Method::Invite).request.uri, uri);
    }
}

#[test]
fn calls_over_the_limit_per_minute_are_refused() {
    let limits = Limits { calls_per_minute: 3, calls_per_session: 8, ..Limits::default() };
    let mut world = World::played(1, Options { limits, ..Options::default() });
    let (tab, other) = (world.join(A, "alice"), world.join(A, "carol"));
    for call in ["c1", "c2", "c3"] {
        world.dial(tab, call, "bob");
    }
    let asked = world.ask(tab, start("c4", "bob"));
    assert_eq!(reason(&world, tab, &asked), Some(FailReason::RateLimited));
    let now = world.now;
    assert_eq!(world.gateway(A).instance.load(now).counts.rate_limited, 1);
    world.dial(other, "c1", "bob");
    world.pass(std::time::Duration::from_secs(21));
    world.dial(tab, "c5", "bob");
}

#[test]
fn more_calls_than_a_user_can_have_are_busy() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    for _ in 0..4 {
        world.ring("alice", Some(&sdp(30_000)));
    }
    while world.next_heard(SERVER).is_some() {}
    let (id, _) = world.ring("alice", Some(&sdp(30_000)));
    assert_eq!(world.hears_answer(SERVER, id).status, 486);
    assert_eq!(world.tabs[tab].calls.len(), 4);
}

#[test]
fn a_flood_of_calls_is_refused_and_another_user_is_called_as_ever() {
    let mut world = World::new();
    let (alice, carol) = (world.join(A, "alice"), world.join(A, "carol"));
    let mut refused = 0;
    for _ in 0..1_000 {
        let (id, _) = world.ring("alice", Some(&sdp(30_000)));
        if let Some(crate::far::Heard::Response(known, response)) = world.next_heard(SERVER)
            && known == id
        {
            refused += u32::from(response.status == 503);
        }
    }
    assert_eq!((refused, world.tabs[alice].calls.len()), (980, 4));
    let (id, _) = world.ring("carol", Some(&sdp(30_000)));
    let call = world.only_call(carol);
    world.done(carol, crate::world::answer(&call));
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
}

#[test]
fn a_call_for_nobody_here_is_answered_404() {
    let mut world = World::new();
    world.join(A, "alice");
    let to = world.far(SERVER).registers[0].from;
    for uri in ["sip:nobody@10.0.0.1:40001", "sip:10.0.0.1:40001", "sip:alice@example.org"] {
        let invite = world.far(SERVER).invite("<sip:bob@example.org>", uri, Some(&sdp(30_000)));
        let id = world.say(SERVER, to, invite);
        assert_eq!(world.hears_answer(SERVER, id).status, 404, "{uri}");
    }
}

/// Mangles an INVITE.
type Mangle = fn(&mut SipRequest);

#[test]
fn broken_invites_are_refused_and_cost_a_running_call_nothing() {
    let mangles: [(&str, Mangle); 14] = [
        ("no tag of the caller", |invite| invite.headers.set("From", "<sip:bob@example.org>")),
        ("no Call-ID", |invite| invite.headers.remove("Call-ID")),
        ("no From", |invite| invite.headers.remove("From")),
        ("no To", |invite| invite.headers.remove("To")),
        ("no Contact", |invite| invite.headers.remove("Contact")),
        ("a Contact that is none", |invite| invite.headers.set("Contact", "<")),
        ("no CSeq", |invite| invite.headers.remove("CSeq")),
        ("a URI that is none", |invite| invite.uri = "sip:".to_owned()),
        ("100rel", |invite| invite.headers.push("Require", "100rel")),
        ("an extension behind one of ours", |invite| invite.headers.push("Require", "timer, x-evil")),
        ("another scheme", |invite| invite.uri = "tel:+49".to_owned()),
        ("another kind of body", |invite| invite.body.iter_mut().for_each(|body| body.content_type = "x/y".to_owned())),
        ("another kind of answer", |invite| invite.headers.push("Accept", "text/plain, x/y")),
        ("a hundred extensions", |invite| (0..100).for_each(|_| invite.headers.push("Require", "x"))),
    ];
    for (what, mangle) in mangles {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        let (_, to) = world.talk(tab, "c1");
        let uri = world.far(SERVER).bindings[0].uri.clone();
        let mut invite = world.far(SERVER).invite("<sip:bob@example.org>", &uri, Some(&sdp(30_000)));
        mangle(&mut invite);
        let id = world.say(SERVER, to, invite);
        let status = world.hears_answer(SERVER, id).status;
        assert!((400..500).contains(&status), "{what}: {status}");
        let now = world.now;
        assert_eq!(world.gateway(A).instance.load(now).sip.refusals, [(status, 1)].into(), "{what}");
        assert_eq!(world.only_call(tab), "c1", "{what}");
        assert_eq!(world.state(tab, "c1"), Some(CallState::Active), "{what}");
    }
}

#[test]
fn a_capsule_of_another_user_acts_for_nobody() {
    let mut world = World::played(2, Options::default());
    let (alice, mallory) = (world.join(A, "alice"), world.join(A, "mallory"));
    world.talk(alice, "c1");
    world.tabs[mallory].capsule = world.tabs[alice].capsule.clone();
    world.tabs[mallory].calls = world.tabs[alice].calls.clone();
    let session = world.sign_in_with_its_capsule(mallory, 2);
    assert!(!session.recovering);
    world.hears_nothing(SERVER);
    assert_eq!(world.state(alice, "c1"), Some(CallState::Active));
}

#[test]
fn answers_to_nothing_are_ignored() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    let response = {
        let far: &mut Far = world.far(SERVER);
        let invite = far.invite("<sip:bob@example.org>", "sip:x@y", None);
        gateway_core::sip::SipResponse::to(&invite, 200, "t")
    };
    let now = world.now;
    let transaction = gateway_core::sip::ClientTransaction(99_999);
    world.gateway(A).instance.handle_sip(SipEvent::Response { transaction, response }, now);
    let transaction = gateway_core::sip::ServerTransaction(99_999);
    world.gateway(A).instance.handle_sip(SipEvent::Cancelled(transaction), now);
    world.gateway(A).instance.handle_sip(SipEvent::NeverAcked(transaction), now);
    world.pump();
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn a_far_side_that_talks_without_end_is_not_listened_to() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..200 {
        let info = dialog.request(Method::Info);
        let id = world.say(SERVER, to, info);
        *statuses.entry(world.hears_answer(SERVER, id).status).or_default() += 1;
    }
    assert_eq!(statuses, [(200, 40), (503, 160)].into());
    let bye = dialog.request(Method::Bye);
    let id = world.say(SERVER, to, bye);
    assert_eq!(world.hears_answer(SERVER, id).status, 200);
}
