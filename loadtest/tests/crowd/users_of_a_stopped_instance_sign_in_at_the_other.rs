use crate::support::{PATIENCE, figures, gateways, load};
use loadtest::crowd::{Crowd, block_on};

#[test]
fn users_of_a_stopped_instance_sign_in_at_the_other() {
    let (mut gateways, _files) = gateways(2);
    let report = block_on(async {
        let crowd = Crowd::start(load(&gateways, 12)).expect("it starts");
        assert!(crowd.wait_for(PATIENCE, |now| now.heard == 12).await, "{:?}", crowd.snapshot());
        gateways.remove(0).stop();
        let back = crowd.wait_for(PATIENCE, |now| now.calls_lost > 0 && now.heard == 12 + now.calls_lost).await;
        assert!(back, "{:?}", crowd.snapshot());
        figures(crowd).await
    })
    .expect("a runtime");
    assert_eq!((report.signed_in, report.never_recovered, report.falsely_lost), (Some(12), Some(0), Some(0)));
    assert!(report.calls_lost > Some(0));
}
