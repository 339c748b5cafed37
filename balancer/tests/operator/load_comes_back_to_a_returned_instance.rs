//! `--failback`: the fuller instance is asked to let idle clients go; which ones, and where they go, is for it and for placement.

use crate::{
    process::Process,
    support::{
        client::{ask, sign_in},
        eventually,
        fake::{Fake, Mood},
    },
};

/// Thirty of a hundred places taken at the first, none at the second, which then has room again.
fn fill_the_first(process: &Process, fakes: &[Fake]) {
    fakes[1].mood(Mood::Full);
    for _ in 0..30 {
        assert_eq!(ask(process.http, sign_in("", "")).header("holdfast-instance"), "a");
    }
    fakes[1].mood(Mood::Serving);
}

#[test]
fn by_itself_when_nothing_was_wrong_for_long_enough() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let process = Process::start(&fakes, &["--failback-after-s", "1"]);
    fill_the_first(&process, &fakes);
    eventually("a hundredth of its places is to be made free", || fakes[0].rebalanced() == [1]);
    eventually("it is counted", || process.metric("holdfast_failback_clients_total") == 1.0);
    assert!(fakes[1].rebalanced().is_empty());
}

#[test]
fn or_only_when_an_operator_asks() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let process = Process::start(&fakes, &["--failback", "manual", "--failback-after-s", "0"]);
    fill_the_first(&process, &fakes);
    eventually("the loads are known", || process.instances("used") == ["30", "0"]);
    assert!(fakes[0].rebalanced().is_empty());
    assert_eq!(process.ask_for_failback().status, 202);
    eventually("clients are to be let go", || fakes[0].rebalanced() == [1]);
}

#[test]
fn never_while_an_instance_drains() {
    let fakes = [Fake::start("a"), Fake::start("b"), Fake::start("c")];
    let process = Process::start(&fakes, &["--failback", "manual", "--failback-after-s", "0"]);
    assert_eq!(process.put("c", "drain", &process.change_headers()).status, 200);
    eventually("it drains", || fakes[2].is_draining());
    fill_the_first(&process, &fakes);
    eventually("the loads are known", || process.instances("used") == ["30", "0", "0"]);
    assert_eq!(process.ask_for_failback().status, 202);
    // The wish is kept: it comes true when the drain is over.
    assert!(fakes[0].rebalanced().is_empty());
    assert_eq!(process.put("c", "up", &process.change_headers()).status, 200);
    eventually("clients are to be let go", || fakes[0].rebalanced() == [1]);
}
