use crate::support::{PATIENCE, figures, gateways, load};
use loadtest::crowd::{Crowd, Load, block_on};
use loadtest::engine::EngineKind;

#[test]
fn a_foreign_stack_is_a_user_too() {
    let (gateways, _files) = gateways(1);
    let report = block_on(async {
        let crowd = Crowd::start(Load { engine: EngineKind::Webrtc, ..load(&gateways, 2) }).expect("it starts");
        assert!(crowd.wait_for(PATIENCE, |now| now.heard == 2).await, "{:?}", crowd.snapshot());
        figures(crowd).await
    })
    .expect("a runtime");
    assert_eq!((report.signed_in, report.calls, report.calls_lost), (Some(2), Some(2), Some(0)));
    assert!(report.packets_returned > Some(0));
}
