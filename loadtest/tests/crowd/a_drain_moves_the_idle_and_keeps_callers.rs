use crate::support::{PATIENCE, drain, figures, gateways, load};
use loadtest::crowd::{Crowd, Load, block_on};

#[test]
fn a_caller_stays_through_a_drain() {
    let (gateways, _files) = gateways(2);
    let report = block_on(async {
        let crowd = Crowd::start(load(&gateways, 6)).expect("it starts");
        assert!(crowd.wait_for(PATIENCE, |now| now.heard == 6).await, "{:?}", crowd.snapshot());
        drain(&gateways[0]).await;
        assert!(crowd.wait_for(PATIENCE, |now| now.unavailable > 0).await, "nobody is told of the drain");
        assert_eq!(crowd.snapshot().attached, 6, "somebody was moved out of a call");
        figures(crowd).await
    })
    .expect("a runtime");
    assert_eq!((report.calls_lost, report.falsely_lost, report.never_recovered), (Some(0), Some(0), Some(0)));
}

#[test]
fn the_idle_are_moved_without_a_loss() {
    let (gateways, _files) = gateways(2);
    let report = block_on(async {
        let crowd = Crowd::start(Load { call: None, ..load(&gateways, 6) }).expect("it starts");
        assert!(crowd.wait_for(PATIENCE, |now| now.attached == 6).await, "{:?}", crowd.snapshot());
        drain(&gateways[0]).await;
        let moved = crowd.wait_for(PATIENCE, |now| now.attached > 6).await;
        assert!(moved, "{:?}", crowd.snapshot());
        assert_eq!(crowd.snapshot().unavailable, 0);
        figures(crowd).await
    })
    .expect("a runtime");
    assert_eq!((report.recovered, report.never_recovered), (Some(0), Some(0)));
}
