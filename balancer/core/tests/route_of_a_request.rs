//! The pin decides; and when it can't, another instance answers in the same request and says why.

mod world;

use balancer_core::{
    AdminState, Instance, Loss, Run, Snapshot, State,
    pick::Avoid,
    pin::{Pin, PinId},
    route::{Answer, Ask, Change, Kind, NoRoute, Reason, Told, Tried, browser_cookie, route, session_cookie, told_by},
};
use world::{compose, instance, instances, seeded};

fn pin(instance: &'static str, boot: &'static str) -> Pin<'static> {
    Pin { instance, boot, id: PinId(1), issued: 0, member: true }
}

const PIN: Pin<'static> = Pin { instance: "gw-1", boot: "gw-1-1", id: PinId(1), issued: 0, member: true };

fn ask(kind: Kind, pin: Option<Pin<'static>>) -> Ask<'static> {
    match kind {
        Kind::Session => Ask { kind, session_pin: pin, browser_pin: None, avoid: Avoid::default() },
        Kind::SignIn | Kind::Page => Ask { kind, session_pin: None, browser_pin: pin, avoid: Avoid::default() },
    }
}

fn told(snapshot: &Snapshot, ask: &Ask<'_>) -> Result<(String, Told), NoRoute> {
    let route = route(snapshot, ask, &mut seeded(1))?;
    Ok((route.instance.run.instance.to_string(), route.told))
}

/// Three instances, the pinned one of them changed.
fn with(change: impl FnOnce(&mut Instance)) -> Snapshot {
    let mut all = instances(3);
    change(&mut all[1]);
    compose(all)
}

const KINDS: [Kind; 3] = [Kind::SignIn, Kind::Session, Kind::Page];

#[test]
fn a_pin_to_a_healthy_instance_is_kept_by_every_kind_of_request() {
    for kind in KINDS {
        assert_eq!(told(&with(|_| {}), &ask(kind, Some(PIN))), Ok(("gw-1".to_owned(), Told::Kept)));
    }
}

#[test]
fn without_a_pin_any_instance_answers() {
    for kind in KINDS {
        assert_eq!(told(&with(|_| {}), &ask(kind, None)).expect("some").1, Told::New);
    }
}

#[test]
fn a_pin_to_a_lost_instance_moves_and_says_why() {
    for (loss, reason) in [(Loss::Gone, Reason::Gone), (Loss::Silent, Reason::Silent)] {
        let snapshot = with(|pinned| pinned.state = State::Down(loss));
        for kind in KINDS {
            let (instance, told) = told(&snapshot, &ask(kind, Some(PIN))).expect("others live");
            assert_eq!(told, Told::Moved(reason));
            assert_ne!(instance, "gw-1");
        }
    }
}

#[test]
fn another_boot_id_is_restarted_and_another_instance_is_unknown() {
    let snapshot = with(|_| {});
    let reason = |pin| told(&snapshot, &ask(Kind::Session, Some(pin))).expect("some").1;
    assert_eq!(reason(pin("gw-1", "before")), Told::Moved(Reason::Restarted));
    assert_eq!(reason(pin("gw-9", "any")), Told::Moved(Reason::Unknown));
}

#[test]
fn a_restarted_instance_is_asked_itself_about_its_sessions() {
    let snapshot = with(|_| {});
    for seed in 0..20 {
        let route = route(&snapshot, &ask(Kind::Session, Some(pin("gw-1", "other"))), &mut seeded(seed)).expect("some");
        assert_eq!(route.instance.run.instance.as_str(), "gw-1");
    }
    let dead = with(|pinned| pinned.state = State::Down(Loss::Gone));
    let (instance, verdict) = told(&dead, &ask(Kind::Session, Some(pin("gw-1", "other")))).expect("others live");
    assert_eq!(verdict, Told::Moved(Reason::Unknown), "the pin may be of a run that was not heard of yet: no proof");
    assert_ne!(instance, "gw-1");
}

#[test]
fn who_answers_has_the_last_word() {
    let run = |boot: &str| Run::parse("gw-1", boot).expect("valid");
    let (old, new) = (run("gw-1-1"), run("gw-1-2"));
    assert_eq!(told_by(Told::Kept, Some(&PIN), &old, &new), Told::Moved(Reason::Restarted));
    assert_eq!(told_by(Told::Kept, Some(&PIN), &old, &old), Told::Kept);
    let newer = pin("gw-1", "gw-1-2");
    assert_eq!(told_by(Told::Moved(Reason::Restarted), Some(&newer), &old, &new), Told::Kept);
    assert_eq!(told_by(Told::New, None, &old, &new), Told::New);
}

#[test]
fn a_draining_or_suspect_instance_keeps_its_own_and_gets_nothing_new() {
    let draining = with(|pinned| pinned.admin_state = AdminState::Drain);
    let suspect = with(|pinned| pinned.state = State::Suspect);
    for (snapshot, reason) in [(draining, Reason::Draining), (suspect, Reason::Suspect)] {
        assert_eq!(told(&snapshot, &ask(Kind::Session, Some(PIN))).expect("kept").1, Told::Kept);
        assert_eq!(told(&snapshot, &ask(Kind::SignIn, Some(PIN))).expect("moved").1, Told::Moved(reason));
    }
}

#[test]
fn a_full_instance_keeps_its_own_and_gets_nothing_new() {
    let mut all = instances(3);
    all[1] = instance(1, |_, report| report.used = 100);
    let snapshot = compose(all);
    assert_eq!(told(&snapshot, &ask(Kind::Session, Some(PIN))).expect("kept").1, Told::Kept);
    assert_eq!(told(&snapshot, &ask(Kind::SignIn, Some(PIN))).expect("moved").1, Told::Moved(Reason::Full));
}

#[test]
fn an_avoided_instance_is_left_unless_it_is_the_only_one() {
    let mut ask = ask(Kind::SignIn, Some(PIN));
    ask.avoid.unwanted = Some("gw-1.gw-1-1".parse().expect("valid"));
    let (instance, verdict) = told(&with(|_| {}), &ask).expect("others are free");
    assert_eq!(verdict, Told::Moved(Reason::Avoided));
    assert_ne!(instance, "gw-1");
    let alone = compose(vec![instance_1()]);
    assert_eq!(told(&alone, &ask), Ok(("gw-1".to_owned(), Told::Moved(Reason::Avoided))));
}

fn instance_1() -> Instance {
    instance(1, |_, _| {})
}

#[test]
fn a_failed_try_is_not_repeated_there_and_its_reason_is_told() {
    let snapshot = with(|_| {});
    let mut ask = ask(Kind::Page, Some(PIN));
    ask.avoid.tried.push(Tried { run: snapshot.instances[1].run.clone(), reason: Reason::Gone });
    let (instance, verdict) = told(&snapshot, &ask).expect("others live");
    assert_eq!(verdict, Told::Moved(Reason::Gone));
    assert_ne!(instance, "gw-1");
}

#[test]
fn a_blind_balancer_repins_nothing_that_is_silent() {
    let mut snapshot = with(|pinned| pinned.state = State::Down(Loss::Silent));
    snapshot.blind = true;
    assert_eq!(told(&snapshot, &ask(Kind::Session, Some(PIN))), Err(NoRoute::Blind));
    let mut snapshot = with(|pinned| pinned.state = State::Down(Loss::Gone));
    snapshot.blind = true;
    assert!(told(&snapshot, &ask(Kind::Session, Some(PIN))).is_ok(), "a refusal is proof");
}

#[test]
fn nowhere_to_go_says_whether_none_lives_or_none_is_free() {
    let dead = compose(vec![instance(0, |each, _| each.state = State::Down(Loss::Gone))]);
    let full = compose(vec![instance(0, |_, report| report.used = 100)]);
    assert_eq!(told(&dead, &ask(Kind::SignIn, None)), Err(NoRoute::NoneAlive));
    assert_eq!(told(&full, &ask(Kind::SignIn, None)), Err(NoRoute::NoneFree));
    assert!(told(&full, &ask(Kind::Page, None)).is_ok());
}

// ---- cookies ----

fn answer(kind: Kind, told: Told, status: u16) -> Answer<'static> {
    Answer { kind, told, status, sign_off: false, browser_pin: None }
}

#[test]
fn a_201_sets_both_cookies() {
    let created = answer(Kind::SignIn, Told::New, 201);
    assert_eq!(browser_cookie(&created), Change::Set { member: true });
    assert_eq!(session_cookie(&created), Change::Set { member: true });
    let refused = answer(Kind::SignIn, Told::New, 401);
    assert_eq!((browser_cookie(&refused), session_cookie(&refused)), (Change::Keep, Change::Keep));
}

#[test]
fn a_session_cookie_is_renewed_by_a_probe_and_expires_with_its_session() {
    assert_eq!(session_cookie(&answer(Kind::Session, Told::Kept, 200)), Change::Set { member: true });
    for status in [404, 410] {
        assert_eq!(session_cookie(&answer(Kind::Session, Told::Kept, status)), Change::Expire);
        let gone = answer(Kind::Session, Told::Moved(Reason::Gone), status);
        assert_eq!(session_cookie(&gone), Change::Expire);
    }
    let signed_off = Answer { sign_off: true, ..answer(Kind::Session, Told::Kept, 204) };
    assert_eq!(session_cookie(&signed_off), Change::Expire);
    assert_eq!(session_cookie(&answer(Kind::Session, Told::Kept, 401)), Change::Keep);
}

#[test]
fn silence_here_proves_nothing_so_the_session_cookie_stays() {
    for reason in [Reason::Silent, Reason::Unknown] {
        assert_eq!(session_cookie(&answer(Kind::Session, Told::Moved(reason), 404)), Change::Keep);
    }
}

#[test]
fn a_page_pins_a_new_browser_and_leaves_a_members_pin_alone() {
    let new = answer(Kind::Page, Told::New, 200);
    assert_eq!(browser_cookie(&new), Change::Set { member: false });
    let dead = |member| Answer {
        browser_pin: Some(Pin { member, ..PIN }),
        ..answer(Kind::Page, Told::Moved(Reason::Gone), 200)
    };
    assert_eq!(browser_cookie(&dead(false)), Change::Set { member: false });
    assert_eq!(browser_cookie(&dead(true)), Change::Keep, "it lets its bearer back in first");
    let silent = Answer { told: Told::Moved(Reason::Silent), ..dead(false) };
    assert_eq!(browser_cookie(&silent), Change::Keep);
}
