use super::*;
use crate::sip::{Challenge, Credentials};

const A1: &str = "<sip:a@127.0.0.1:4001;transport=tcp;hf-gen=1>;+sip.instance=\"<urn:uuid:1>\";expires=90";
const A2: &str = "<sip:a@127.0.0.1:4002;transport=tcp;hf-gen=2>;+sip.instance=\"<urn:uuid:1>\";expires=90;q=0.5";
const QUERY: &str = "";

fn query(world: &mut World) -> Vec<String> {
    let mut query = register("a", QUERY);
    query.headers.remove("Contact");
    let (_, out) = world.send(tcp(9), query);
    assert_eq!(out.statuses(), [200]);
    out.contacts().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_binding_is_returned_whole_with_the_time_that_is_left() {
    let mut world = World::new();
    world.register("a", tcp(4001), A2);
    world.pass(Duration::from_millis(500));
    let expected = "<sip:a@127.0.0.1:4002;transport=tcp;hf-gen=2>;expires=90;q=0.5;+sip.instance=\"<urn:uuid:1>\"";
    assert_eq!(query(&mut world), [expected]);
    world.pass(Duration::from_secs(90));
    assert_eq!(query(&mut world), [] as [&str; 0]);
}

#[test]
fn the_same_instance_replaces_and_another_adds() {
    let mut world = World::new();
    world.register("a", tcp(4001), A1);
    assert_eq!(world.register("a", tcp(4002), A2).contacts().len(), 1);
    assert_eq!(world.register("a", tcp(4003), "<sip:a@127.0.0.1:4003>;expires=60").contacts().len(), 2);
    assert_eq!(world.registrar.counts().bindings, 2);
}

#[test]
fn only_the_exact_uri_signs_out() {
    let mut world = World::new();
    world.register("a", tcp(4001), A2);
    let old = "<sip:a@127.0.0.1:4002;transport=tcp;hf-gen=1>;expires=0";
    assert_eq!(world.register("a", tcp(4001), old).contacts().len(), 1, "another generation");
    let same = "<sip:a@127.0.0.1:4002;transport=tcp;hf-gen=2>;expires=0";
    let out = world.register("a", tcp(4001), same);
    assert_eq!((out.statuses(), out.contacts().len()), (vec![200], 0));
}

#[test]
fn a_star_signs_all_out_and_wants_expires_0() {
    let mut world = World::new();
    world.register("a", tcp(4001), A1);
    assert_eq!(world.register("a", tcp(4001), "*").statuses(), [400]);
    let mut star = register("a", "*");
    star.headers.push("Expires", "0");
    star.headers.set("CSeq", "99 REGISTER");
    assert_eq!(world.send(tcp(4001), star).1.statuses(), [200]);
    assert_eq!(world.registrar.counts().bindings, 0);
}

#[test]
fn what_is_too_brief_too_late_or_no_sip_is_refused() {
    let mut world = World::new();
    let out = world.register("a", tcp(4001), "<sip:a@127.0.0.1:4001>;expires=9");
    assert_eq!((out.statuses(), out.responses[0].1.headers.get("Min-Expires")), (vec![423], Some("10")));
    assert_eq!(world.register("a", tcp(4001), "<tel:+49>").statuses(), [400]);
    world.register("a", tcp(4001), A1);
    assert_eq!(world.send(tcp(4001), register("a", A1)).1.statuses(), [500], "a lower number of the same series");
    let mut foreign = register("a", A1);
    foreign.headers.set("To", "<sip:a@example.com>");
    assert_eq!(world.send(tcp(4001), foreign).1.statuses(), [404]);
}

#[test]
fn a_user_has_ten_bindings_at_most() {
    let mut world = World::new();
    for n in 0..MAX_BINDINGS {
        assert_eq!(world.register("a", tcp(4001), &format!("<sip:a@127.0.0.1:{}>", 4100 + n)).statuses(), [200]);
    }
    assert_eq!(world.register("a", tcp(4001), "<sip:a@127.0.0.1:4999>").statuses(), [403]);
    assert_eq!(world.registrar.counts().bindings, MAX_BINDINGS);
}

#[test]
fn a_closed_connection_ends_what_was_registered_over_it() {
    let mut world = World::new();
    world.register("a", tcp(4001), A1);
    world.register("a", tcp(4003), "<sip:a@127.0.0.1:4003>;expires=60");
    world.register("b", tcp(4001), "<sip:b@127.0.0.1:4001>;expires=60");
    world.tell(SipEvent::Down { peer: tcp(4001) });
    assert_eq!(query(&mut world), ["<sip:a@127.0.0.1:4003>;expires=60"]);
    assert_eq!(world.registrar.counts().bindings, 1);
}

fn with_password() -> World {
    World::with(Some(BTreeMap::from([("a".to_owned(), "secret".to_owned())])))
}

fn answered(world: &mut World, mut request: SipRequest, user: &str, password: &str) -> Vec<u16> {
    let (_, out) = world.send(tcp(4001), request.clone());
    assert_eq!(out.statuses(), [401]);
    let challenge = Challenge::strongest(out.responses[0].1.headers.all("WWW-Authenticate")).expect("a challenge");
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    request.headers.push("Authorization", challenge.answer(&credentials, "REGISTER", "sip:example.org", "c", 1));
    world.send(tcp(4001), request).1.statuses()
}

#[test]
fn with_passwords_a_register_must_prove_whose_it_is() {
    assert_eq!(answered(&mut with_password(), register("a", A1), "a", "secret"), [200]);
    assert_eq!(answered(&mut with_password(), register("a", A1), "a", "wrong"), [403]);
    assert_eq!(answered(&mut with_password(), register("b", A1), "a", "secret"), [403], "another's address");
    assert_eq!(answered(&mut with_password(), register("b", A1), "b", "secret"), [403], "nobody's name");
}

#[test]
fn an_old_nonce_is_stale_and_nothing_worse() {
    let mut world = with_password();
    let (_, out) = world.send(tcp(4001), register("a", A1));
    let challenge = Challenge::strongest(out.responses[0].1.headers.all("WWW-Authenticate")).expect("a challenge");
    let credentials = Credentials { user: "a".to_owned(), password: "secret".to_owned() };
    world.pass(Duration::from_secs(301));
    let mut late = register("a", A1);
    late.headers.push("Authorization", challenge.answer(&credentials, "REGISTER", "sip:example.org", "c", 1));
    let (_, out) = world.send(tcp(4001), late);
    assert_eq!(out.statuses(), [401]);
    assert!(out.responses[0].1.headers.all("WWW-Authenticate").all(|value| value.contains("stale=true")));
}

#[test]
fn with_passwords_only_registered_flows_call_unasked() {
    let mut world = with_password();
    assert_eq!(world.call(tcp(4001), "a").1.statuses(), [407]);
    answered(&mut world, register("a", A1), "a", "secret");
    let (_, out) = world.call(tcp(4001), "a");
    assert_eq!(out.statuses(), [100]);
    out.only_request();
}
