use crate::support::{PATIENCE, figures, gateways, load};
use loadtest::crowd::{Crowd, Load, block_on};

#[test]
fn a_crowd_calls_and_hears_itself() {
    let (gateways, _files) = gateways(1);
    let report = block_on(async {
        let load = Load { requests: 100, parallel: 5, connections: 2, user_threads: 2, ..load(&gateways, 10) };
        let crowd = Crowd::start(load).expect("it starts");
        assert!(crowd.wait_for(PATIENCE, |now| now.heard == 10 && now.requests >= 20).await, "{:?}", crowd.snapshot());
        figures(crowd).await
    })
    .expect("a runtime");
    assert_eq!((report.users, report.signed_in, report.calls), (Some(10), Some(10), Some(10)));
    assert_eq!((report.calls_lost, report.falsely_lost, report.misrouted), (Some(0), Some(0), Some(0)));
    assert_eq!((report.recovered, report.never_recovered), (Some(0), Some(0)));
    assert!(report.packets_returned > Some(0));
    let lag = report.lag_ms.expect("measured");
    assert!(lag.users.is_some() && lag.media.is_some(), "{lag:?}");
}
