//! Checks overlap, so answers may overtake each other: what an older check says is not believed against a newer one.

mod world;

use balancer_core::{Command, Pool, State, Time, pool::Answer};
use world::{config, endpoint, ms, report};

/// The numbers of the checks that the pool asks for now.
fn checks(pool: &mut Pool) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(command) = pool.next_command() {
        match command {
            Command::Check { number, .. } => numbers.push(number),
            Command::Cut { run, .. } => panic!("{run} was cut"),
            Command::Drain { .. } => {}
        }
    }
    numbers
}

/// A pool with one instance that is up, and two fresh checks of it, the older one first.
fn two_fresh_checks() -> (Pool, Time, u64, u64) {
    let mut pool = Pool::new(config(), Time::ZERO);
    pool.handle_endpoints(Time::ZERO, &[endpoint(0)]);
    for round in 0..3 {
        let now = ms(100 * round);
        pool.handle_timeout(now);
        for number in checks(&mut pool) {
            pool.handle_answer(now, endpoint(0), number, Answer::Report(report("gw-0", "second")));
        }
    }
    let now = ms(250);
    pool.handle_doubt(now, endpoint(0));
    pool.handle_doubt(now + ms(20), endpoint(0));
    let numbers = checks(&mut pool);
    (pool, now + ms(30), numbers[0], numbers[1])
}

#[test]
fn an_overtaken_failure_kills_nobody() {
    for stale in [Answer::Broken, Answer::Refused] {
        let (mut pool, now, older, newer) = two_fresh_checks();
        pool.handle_answer(now, endpoint(0), newer, Answer::Report(report("gw-0", "second")));
        pool.handle_answer(now, endpoint(0), older, stale);
        let snapshot = pool.take_snapshot(now).expect("something happened");
        assert_eq!(snapshot.instances[0].state, State::Up);
        checks(&mut pool);
    }
}

#[test]
fn an_overtaken_report_does_not_bring_the_old_run_back() {
    let (mut pool, now, older, newer) = two_fresh_checks();
    pool.handle_answer(now, endpoint(0), newer, Answer::Report(report("gw-0", "second")));
    pool.handle_answer(now, endpoint(0), older, Answer::Report(report("gw-0", "first")));
    let snapshot = pool.take_snapshot(now).expect("something happened");
    assert_eq!(snapshot.instances[0].run.boot.as_str(), "second");
    checks(&mut pool);
}

#[test]
fn doubts_within_a_moment_are_answered_by_one_check() {
    let (mut pool, now, ..) = two_fresh_checks();
    let now = now + ms(50);
    (0..1_000).for_each(|_| pool.handle_doubt(now, endpoint(0)));
    assert_eq!(checks(&mut pool).len(), 1);
    assert_eq!(checks(&mut pool).len(), 0);
}

#[test]
fn an_answer_to_nothing_is_ignored() {
    let (mut pool, now, ..) = two_fresh_checks();
    pool.handle_answer(now, endpoint(0), 9_999, Answer::Refused);
    pool.handle_answer(now, endpoint(7), 1, Answer::Refused);
    pool.handle_doubt(now, endpoint(7));
    assert_eq!(checks(&mut pool).len(), 0);
}
