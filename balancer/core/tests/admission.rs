//! Who may sign in, after a loss and always.

mod world;

use balancer_core::{
    Admission, Snapshot, Time,
    admission::{
        Entry, LONGEST_NEWCOMER_WAIT, LONGEST_RECOVERY, LONGEST_WAIT, Refusal, SIGN_INS_A_MINUTE, retry_after,
    },
    pin::{Pin, PinId},
};
use std::time::Duration;
use world::{compose, instance, ms, seeded};

const AT_ONCE: Entry = Entry::Enter { wait: Duration::ZERO, pin_counts: true };

fn member(id: u64) -> Pin<'static> {
    Pin { instance: "gw-0", boot: "gw-0-1", id: PinId(id), issued: 0, member: true }
}

/// Two survivors that can set up 100 sessions a second together.
fn survivors() -> Snapshot {
    compose((1..3).map(|index| instance(index, |_, report| report.setup_rate = 50)).collect())
}

fn after_a_loss_of(sessions: u32) -> Admission {
    let mut admission = Admission::default();
    admission.handle_loss(Time::ZERO, "gw-0.gw-0-1".parse().expect("valid"), sessions);
    admission
}

fn enter(admission: &mut Admission, now: Time, pin: Option<Pin<'_>>) -> Entry {
    admission.handle_sign_in(now, pin.as_ref(), &survivors(), &mut seeded(1))
}

/// So many that new users are sent away, at 100 a second.
fn fill(admission: &mut Admission) {
    assert!((1_000..1_012).all(|id| !is_paced(enter(admission, ms(1), Some(member(id))))));
}

fn is_paced(entry: Entry) -> bool {
    matches!(entry, Entry::Later { why: Refusal::Paced, .. })
}

#[test]
fn nobody_waits_while_nothing_was_lost() {
    let mut admission = Admission::default();
    assert!((0..1_000).all(|id| enter(&mut admission, ms(1), Some(member(id))) == AT_ONCE));
}

#[test]
fn returning_users_enter_at_the_survivors_pace() {
    let mut admission = after_a_loss_of(1_000);
    let waits: Vec<_> = (0..200).map(|id| enter(&mut admission, ms(1), Some(member(id)))).collect();
    let waited: Vec<_> = waits
        .iter()
        .filter_map(|entry| match entry {
            Entry::Enter { wait, .. } => Some(*wait),
            Entry::Later { .. } => None,
        })
        .collect();
    assert_eq!(waited.len(), 51, "as many as can be set up within the longest wait");
    assert!(waited.is_sorted() && waited[50] == LONGEST_WAIT);
    assert!(waits[51..].iter().copied().all(is_paced));
}

#[test]
fn a_new_user_enters_only_while_few_wait() {
    let mut admission = after_a_loss_of(100);
    fill(&mut admission);
    assert!(is_paced(enter(&mut admission, ms(2), None)));
    assert!(!is_paced(enter(&mut admission, ms(2), Some(member(1)))), "whoever returns may wait for longer");
    let soon = ms(2) + Duration::from_millis(50);
    let Entry::Enter { wait, pin_counts: false } = enter(&mut admission, soon, None) else {
        panic!("the queue is short")
    };
    assert!(!wait.is_zero() && wait <= LONGEST_NEWCOMER_WAIT, "{wait:?}");
}

#[test]
fn priority_is_given_once_per_pin_and_to_a_tenth_more_than_were_there() {
    let mut admission = after_a_loss_of(100);
    fill(&mut admission);
    assert!(!is_paced(enter(&mut admission, ms(1), Some(member(1)))));
    assert!(is_paced(enter(&mut admission, ms(1), Some(member(1)))), "the second time it is a new user");
    let mut again = after_a_loss_of(10);
    assert!((0..11).all(|id| !is_paced(enter(&mut again, ms(1), Some(member(id))))));
    assert_eq!(enter(&mut again, ms(1), None), Entry::Enter { wait: Duration::ZERO, pin_counts: false }, "11 are back");
}

#[test]
fn one_that_was_told_to_come_later_has_its_priority_still() {
    let mut admission = after_a_loss_of(1_000);
    let told_later =
        (0..).find(|id| is_paced(enter(&mut admission, ms(1), Some(member(*id))))).expect("the queue fills");
    assert!(is_paced(enter(&mut admission, ms(400), None)), "others wait");
    let again = enter(&mut admission, ms(400), Some(member(told_later)));
    assert!(matches!(again, Entry::Enter { .. }), "{again:?}");
}

#[test]
fn a_pin_without_the_flag_or_of_another_run_has_no_priority() {
    let mut admission = after_a_loss_of(100);
    fill(&mut admission);
    let visitor = Pin { member: false, ..member(2) };
    let other = Pin { boot: "gw-0-2", ..member(3) };
    assert!(is_paced(enter(&mut admission, ms(1), Some(visitor))));
    assert!(is_paced(enter(&mut admission, ms(1), Some(other))));
}

#[test]
fn a_recovery_ends_in_any_case() {
    let mut admission = after_a_loss_of(1_000_000);
    assert_eq!(enter(&mut admission, ms(1), Some(member(1))), AT_ONCE);
    let later = ms(2) + LONGEST_RECOVERY;
    assert!((0..500).all(|_| !is_paced(enter(&mut admission, later, None))));
}

#[test]
fn a_pin_that_signs_in_too_often_counts_as_absent_for_a_minute() {
    let mut admission = Admission::default();
    let signs_in = |admission: &mut Admission, seconds| enter(admission, Time::from_secs(seconds), Some(member(7)));
    for second in 1..=SIGN_INS_A_MINUTE as u64 {
        assert_eq!(signs_in(&mut admission, second), AT_ONCE);
    }
    assert_eq!(signs_in(&mut admission, 58), Entry::Enter { wait: Duration::ZERO, pin_counts: false });
    assert_eq!(signs_in(&mut admission, 119), AT_ONCE);
    assert_eq!(enter(&mut admission, Time::from_secs(58), Some(member(8))), AT_ONCE, "others are not concerned");
}

#[test]
fn the_spare_is_protected_from_new_users_alone() {
    let mut snapshot = survivors();
    snapshot.newcomers = Some(0);
    let mut admission = Admission::default();
    let mut enter = |pin: Option<Pin<'_>>| admission.handle_sign_in(ms(1), pin.as_ref(), &snapshot, &mut seeded(1));
    assert_eq!(enter(Some(member(1))), AT_ONCE);
    assert!(matches!(enter(None), Entry::Later { why: Refusal::SpareProtected, .. }));
}

#[test]
fn retry_after_is_spread_by_the_crowd() {
    let crowd_of = |used: u32| {
        let world = compose(
            (1..3).map(|index| instance(index, |_, report| (report.setup_rate, report.used) = (50, used))).collect(),
        );
        let mut random = seeded(1);
        (0..500).map(|_| retry_after(&world, &mut random).as_secs()).collect::<Vec<_>>()
    };
    assert!(crowd_of(50).iter().all(|seconds| *seconds == 1), "a second is enough for 100 users at 100 a second");
    let seconds = crowd_of(100_000);
    for second in 1..=5 {
        assert!(seconds.iter().filter(|each| **each == second).count() > 50);
    }
    assert!(seconds.iter().all(|each| (1..=5).contains(each)));
}
