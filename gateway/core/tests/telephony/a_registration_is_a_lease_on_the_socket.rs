use crate::far::{Asked, Canned};
use crate::gateway::Left;
use crate::world::{A, SERVER, World};
use gateway_core::MediaChange;
use gateway_core::sip::{Method, SipUri};
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn has_contact(asked: &Asked) -> bool {
    asked.request.headers.get("Contact").is_some()
}

#[test]
fn it_starts_with_the_attach_and_ends_with_the_session() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let register = world.far(SERVER).registers[0].request.clone();
    assert_eq!(register.headers.get("To"), Some("<sip:alice@example.org>"));
    assert_eq!(register.headers.get("Expires"), Some("90"));
    let [binding] = &world.far(SERVER).bindings[..] else { panic!("one binding") };
    assert!(binding.param("+sip.instance").is_some_and(|instance| instance.starts_with("<urn:uuid:")));
    let uri = SipUri::parse(&binding.uri).expect("a URI");
    assert!(uri.param("hf-gen").is_some());
    assert!(world.is_available(tab));

    let (session, now) = (world.tabs[tab].session.clone(), world.now);
    assert_eq!(world.gateway(A).instance.load(now).registered, 1);
    world.gateway(A).instance.sign_off(&session.session_id, &session.session_token, now).expect("it lives");
    world.pump();
    assert_eq!(world.gateway(A).instance.load(now).registered, 0);
    let last = world.far(SERVER).registers.last().expect("an un-register").request.clone();
    let contact = last.headers.get("Contact").expect("a contact");
    assert_eq!(contact, format!("<{uri}>;expires=0"), "by the exact URI, without the instance");
    assert!(world.far(SERVER).bindings.is_empty());
}

#[test]
fn the_binding_is_looked_at_before_it_is_refreshed() {
    let mut world = World::new();
    world.join(A, "alice");
    world.pass(seconds(57));
    assert_eq!(world.far(SERVER).registers.len(), 1);
    world.pass(seconds(23));
    let asked: Vec<bool> = world.far(SERVER).registers.iter().map(has_contact).collect();
    assert_eq!(asked, [true, false, true]);
}

#[test]
fn without_a_socket_nothing_is_refreshed_and_back_it_is_registered_again() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    // A call whose media lives holds the session.
    world.dial(tab, "c1", "echo");
    let (peer, _) = world.gateway(A).live_peers().next().expect("the call");
    world.media(A, peer, MediaChange::Connected);
    world.cut(tab);
    world.pass(seconds(200));
    assert_eq!(world.far(SERVER).registers.len(), 1);
    let now = world.now;
    assert_eq!(world.gateway(A).instance.load(now).registered, 0);
    world.reattach(tab);
    world.pass(seconds(1));
    let asked: Vec<bool> = world.far(SERVER).registers.iter().map(has_contact).collect();
    assert_eq!(asked, [true, false, true], "a look first: another instance may have taken the user");
    assert!(world.is_available(tab));
}

#[test]
fn a_server_that_wants_longer_registrations_gets_them() {
    let mut world = World::new();
    world.far(SERVER).canned.push_back(Canned::new(423, &[("Min-Expires", "600")]));
    let tab = world.join(A, "alice");
    assert_eq!(world.far(SERVER).registers.last().expect("two").request.headers.get("Expires"), Some("600"));
    assert!(world.is_available(tab));
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_says() {
    let mut world = World::new();
    world.far(SERVER).canned.push_back(Canned::new(503, &[("Retry-After", "20")]));
    let tab = world.join(A, "alice");
    world.pass(Duration::from_millis(19_900));
    assert_eq!(world.far(SERVER).registers.len(), 1);
    assert_eq!(world.unavailable(tab).as_deref(), Some("registration-failed"));
    world.pass(seconds(1));
    assert_eq!(world.far(SERVER).registers.len(), 2);
    assert!(world.is_available(tab));
}

#[test]
fn who_reads_a_newer_generation_stops() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let mut newer = world.far(SERVER).bindings[0].clone();
    let uri = SipUri::parse(&newer.uri).expect("a URI");
    let generation: u64 = uri.param("hf-gen").and_then(|text| text.parse().ok()).expect("a number");
    newer.uri = newer.uri.replace(&generation.to_string(), &(generation + 1).to_string());
    world.far(SERVER).bindings = vec![newer.clone()];
    world.pass(seconds(300));
    let asked = world.far(SERVER).registers.len();
    assert_eq!((asked, &world.far(SERVER).bindings), (2, &vec![newer]), "one query, and nothing taken back");
    assert_eq!(world.unavailable(tab).as_deref(), Some("registered-elsewhere"));

    let (session, now) = (world.tabs[tab].session.clone(), world.now);
    world.gateway(A).instance.sign_off(&session.session_id, &session.session_token, now).expect("it lives");
    world.pump();
    assert_eq!(world.far(SERVER).registers.len(), asked);
}

#[test]
fn nothing_is_said_of_a_user_who_never_attached() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.cut(tab);
    world.gateway(A).left.clear();
    world.pass(seconds(61));
    assert_eq!(world.gateway(A).left, [Left::Request(Method::Register)], "the end of the grace un-registers");
}
