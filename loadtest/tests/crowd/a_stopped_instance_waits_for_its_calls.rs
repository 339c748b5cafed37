use crate::support::{PATIENCE, figures, gateways_with, load};
use gateway::Gateway;
use loadtest::crowd::{Crowd, Load, block_on};
use loadtest::report::Report;
use std::time::Duration;

const USERS: u32 = 8;

/// One of two instances is told to stop while everybody calls; ends when it has.
fn stop_one(grace_ms: &str, call_length: Option<Duration>, stop: impl Fn(&Gateway)) -> Report {
    let (gateways, _files) = gateways_with(2, &["--shutdown-grace-ms", grace_ms, "--drain-notice-ms", "200"]);
    block_on(async {
        let crowd = Crowd::start(Load { call_length, ..load(&gateways, USERS) }).expect("it starts");
        let all = u64::from(USERS);
        assert!(crowd.wait_for(PATIENCE, |now| now.heard >= all).await, "{:?}", crowd.snapshot());
        stop(&gateways[0]);
        tokio::time::timeout(PATIENCE, gateways[0].left()).await.expect("it ends");
        let (heard, lost) = (crowd.snapshot().heard, crowd.snapshot().calls_lost);
        let again = crowd.wait_for(PATIENCE, |now| now.heard >= heard + lost && now.waiting == 0).await;
        assert!(again, "{:?}", crowd.snapshot());
        figures(crowd).await
    })
    .expect("a runtime")
}

#[test]
fn calls_shorter_than_the_grace_end_by_themselves_and_the_next_ones_are_elsewhere() {
    let report = stop_one("60000", Some(Duration::from_millis(1_500)), Gateway::leave);
    assert_eq!((report.calls_lost, report.calls_drained, report.calls_failed), (Some(0), Some(0), Some(0)));
    assert_eq!((report.recovered, report.never_recovered), (Some(0), Some(0)), "nobody noticed a loss");
    assert!(report.calls > Some(u64::from(USERS)), "nobody called again");
}

#[test]
fn a_longer_call_ends_as_drained_at_the_end_of_the_grace() {
    let report = stop_one("600", None, Gateway::leave);
    assert!(report.calls_drained > Some(0) && report.calls_drained == report.calls_lost, "{report:?}");
    assert_eq!((report.falsely_lost, report.never_recovered), (Some(0), Some(0)));
}

#[test]
fn told_twice_it_does_not_wait() {
    let report = stop_one("86400000", None, |gateway| {
        gateway.leave();
        gateway.leave();
    });
    assert!(report.calls_drained > Some(0) && report.calls_drained == report.calls_lost, "{report:?}");
    assert_eq!(report.never_recovered, Some(0));
}
