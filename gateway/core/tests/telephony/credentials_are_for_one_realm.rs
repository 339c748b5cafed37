use crate::far::Canned;
use crate::gateway::Options;
use crate::world::{A, SERVER, World};
use gateway_core::sip::{Authorization, Credentials, Method, SipRequest};

fn secured() -> World {
    World::played(1, Options { passwords: vec![("alice", "wonderland")], ..Options::default() })
}

fn challenge(realm: &str, algorithm: &str) -> String {
    format!("Digest realm=\"{realm}\", nonce=\"n1\", algorithm={algorithm}, qop=\"auth\"")
}

fn alice() -> Credentials {
    Credentials { user: "alice".into(), password: "wonderland".into() }
}

#[test]
fn a_registration_is_proved_by_either_hash() {
    for algorithm in ["MD5", "SHA-256"] {
        let mut world = secured();
        world
            .far(SERVER)
            .canned
            .push_back(Canned::new(401, &[("WWW-Authenticate", &challenge("example.org", algorithm))]));
        let tab = world.join(A, "alice");
        let [first, second] = &world.far(SERVER).registers[..] else { panic!("two REGISTERs") };
        assert_eq!(first.request.headers.get("Authorization"), None);
        let value = second.request.headers.get("Authorization").expect("credentials");
        assert!(value.contains(&format!("algorithm={algorithm}")), "{value}");
        assert!(Authorization::parse(value).expect("digest").proves(&alice(), "REGISTER"));
        assert!(second.request.cseq() > first.request.cseq());
        assert!(world.is_available(tab));
    }
}

#[test]
fn another_realm_hears_nothing() {
    let mut world = secured();
    world.far(SERVER).canned.push_back(Canned::new(401, &[("WWW-Authenticate", &challenge("evil.example", "MD5"))]));
    let tab = world.join(A, "alice");
    assert_eq!(world.far(SERVER).registers.len(), 1);
    assert_eq!(world.unavailable(tab).as_deref(), Some("registration-refused"));
}

#[test]
fn a_stronger_hash_of_another_realm_does_not_hide_ours() {
    let mut world = secured();
    let (ours, other) = (challenge("example.org", "MD5"), challenge("evil.example", "SHA-256"));
    world.far(SERVER).canned.push_back(Canned::new(401, &[("WWW-Authenticate", &other), ("WWW-Authenticate", &ours)]));
    let tab = world.join(A, "alice");
    assert!(world.is_available(tab));
    let value = world.far(SERVER).registers[1].request.headers.get("Authorization").expect("credentials").to_owned();
    assert_eq!(Authorization::parse(&value).expect("digest").realm, "example.org");
}

#[test]
fn wrong_credentials_are_not_tried_again_and_again() {
    let mut world = secured();
    for _ in 0..3 {
        let again = Canned::new(401, &[("WWW-Authenticate", &challenge("example.org", "MD5"))]);
        world.far(SERVER).canned.push_back(again);
    }
    let tab = world.join(A, "alice");
    assert_eq!(world.far(SERVER).registers.len(), 2);
    assert_eq!(world.unavailable(tab).as_deref(), Some("registration-refused"));
    world.pass(std::time::Duration::from_secs(50));
    assert_eq!(world.far(SERVER).registers.len(), 2);
}

#[test]
fn a_call_and_every_request_within_it_is_proved() {
    let mut world = secured();
    let tab = world.join(A, "alice");
    world.dial(tab, "c1", "bob");
    let first = world.hears(SERVER, Method::Invite);
    let asked = challenge("example.org", "SHA-256");
    world.respond_with(SERVER, &first, 407, &[("Proxy-Authenticate", &asked)]);
    let second = world.hears(SERVER, Method::Invite);
    assert_eq!(second.request.cseq(), Some(2));
    let value = second.request.headers.get("Proxy-Authorization").expect("credentials");
    assert!(Authorization::parse(value).expect("digest").proves(&alice(), "INVITE"));
    world.respond(SERVER, &second, 200, Some(&crate::far::described(30_000, "sendrecv", 1, false)));
    world.hears_ack(SERVER);

    // Two digits as INFO, both challenged: no number comes twice.
    let call_id = "c1".parse().expect("an id");
    world.done(tab, gateway_protocol::message::Request::SendDigits { call_id, digits: "12".to_owned() });
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let info = world.hears(SERVER, Method::Info);
        numbers.extend(info.request.cseq());
        world.respond_with(SERVER, &info, 407, &[("Proxy-Authenticate", &asked)]);
    }
    for _ in 0..2 {
        let info = world.hears(SERVER, Method::Info);
        assert!(info.request.headers.get("Proxy-Authorization").is_some());
        numbers.extend(info.request.cseq());
        world.respond(SERVER, &info, 200, None);
    }
    world.done(tab, crate::world::hang_up("c1"));
    let bye = world.hears(SERVER, Method::Bye);
    numbers.extend(bye.request.cseq());
    world.respond_with(SERVER, &bye, 407, &[("Proxy-Authenticate", &asked)]);
    let bye = world.hears(SERVER, Method::Bye);
    assert!(bye.request.headers.get("Proxy-Authorization").is_some());
    numbers.extend(bye.request.cseq());
    assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
}

/// A challenge with a nonce of its own.
fn asked(nonce: &str, more: &str) -> String {
    format!("Digest realm=\"example.org\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"{more}")
}

/// Nonce and count of a request's credentials, which are right.
fn signed(request: &SipRequest, field: &str) -> Option<(String, String)> {
    let value = request.headers.get(field)?;
    let given = Authorization::parse(value).expect("digest");
    assert!(given.proves(&alice(), request.method.as_str()), "{value}");
    let count = value.split("nc=").nth(1).and_then(|rest| rest.split(',').next()).expect("a count");
    Some((given.nonce, count.trim_start_matches('0').to_owned()))
}

fn registrations(world: &mut World) -> Vec<Option<(String, String)>> {
    let registers = &world.far(SERVER).registers;
    registers.iter().map(|asked| signed(&asked.request, "Authorization")).collect()
}

fn used(nonce: &str, count: &str) -> Option<(String, String)> {
    Some((nonce.to_owned(), count.to_owned()))
}

#[test]
fn a_nonce_signs_every_registration_until_it_is_too_old() {
    let mut world = secured();
    world.far(SERVER).canned.push_back(Canned::new(401, &[("WWW-Authenticate", &asked("n1", ""))]));
    let tab = world.join(A, "alice");
    // Asked what is bound, and refreshed, without another challenge.
    world.pass(std::time::Duration::from_secs(80));
    assert_eq!(registrations(&mut world), [None, used("n1", "1"), used("n1", "2"), used("n1", "3")]);
    world.far(SERVER).canned.push_back(Canned::new(401, &[("WWW-Authenticate", &asked("n2", ", stale=true"))]));
    world.pass(std::time::Duration::from_secs(75));
    assert_eq!(registrations(&mut world)[4..], [used("n1", "4"), used("n2", "1"), used("n2", "2")]);
    assert!(world.is_available(tab));
}

#[test]
fn a_server_that_takes_each_nonce_once_is_answered_each_time() {
    let mut world = secured();
    for nonce in ["n1", "n2", "n3"] {
        // The first may ask at once; after it a good answer makes room for the next question.
        world.far(SERVER).canned.push_back(Canned::new(401, &[("WWW-Authenticate", &asked(nonce, ""))]));
        if nonce == "n1" {
            world.join(A, "alice");
        } else {
            world.far(SERVER).registers.clear();
            world.pass(std::time::Duration::from_secs(78));
            let [first, second, ..] = &registrations(&mut world)[..] else { panic!("asked again") };
            assert!(first.as_ref().is_some_and(|(old, _)| old != nonce), "{first:?}");
            assert_eq!(*second, used(nonce, "1"));
        }
    }
    assert!(world.is_available(0));
}

#[test]
fn a_server_that_calls_every_nonce_too_old_is_answered_three_times() {
    let mut world = secured();
    for nonce in ["n1", "n2", "n3", "n4", "n5", "n6"] {
        let again = Canned::new(401, &[("WWW-Authenticate", &asked(nonce, ", stale=true"))]);
        world.far(SERVER).canned.push_back(again);
    }
    let tab = world.join(A, "alice");
    assert_eq!(registrations(&mut world).len(), 4);
    assert_eq!(world.unavailable(tab).as_deref(), Some("registration-refused"));
}

#[test]
fn a_call_is_challenged_once() {
    let mut world = secured();
    let tab = world.join(A, "alice");
    let field = "Proxy-Authorization";
    world.dial(tab, "c1", "bob");
    let first = world.hears(SERVER, Method::Invite);
    world.respond_with(SERVER, &first, 407, &[("Proxy-Authenticate", &asked("n1", ""))]);
    let second = world.hears(SERVER, Method::Invite);
    assert_eq!(signed(&second.request, field), used("n1", "1"));
    world.respond(SERVER, &second, 200, Some(&crate::far::described(30_000, "sendrecv", 1, false)));
    world.hears_ack(SERVER);
    let held = world.ask(tab, crate::either_side_holds::hold("c1"));
    let change = world.hears(SERVER, Method::Invite);
    assert_eq!(signed(&change.request, field), used("n1", "2"));
    world.respond(SERVER, &change, 200, Some(&crate::far::described(30_000, "recvonly", 2, true)));
    world.hears_ack(SERVER);
    assert!(world.outcome(tab, &held).is_some());
    world.done(tab, crate::world::hang_up("c1"));
    assert_eq!(signed(&world.hears(SERVER, Method::Bye).request, field), used("n1", "3"));
    world.dial(tab, "c2", "carol");
    let next = world.hears(SERVER, Method::Invite);
    assert_eq!(signed(&next.request, field), used("n1", "4"));
    assert_eq!(next.request.headers.get("Authorization"), None, "the registrar's nonce is none of the proxy's");
}
