use crate::bench::Bench;
use gateway_core::capsule::{Capsule, HALF_LIFE, LIFE};
use gateway_core::{SealKey, SealRing};
use gateway_protocol::message::Event;
use std::time::Duration;

#[test]
fn an_attached_client_always_holds_a_capsule_with_half_its_life_left() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    bench.take(socket);
    let mut capsules = Vec::new();
    for _ in 0..20 * 60 {
        bench.pass(Duration::from_secs(1));
        let sent = bench.sent.get(&socket).cloned().unwrap_or_default();
        bench.answer_pings(socket);
        capsules.extend(sent.into_iter().filter_map(|message| match message {
            gateway_protocol::ServerMessage::Event { event: Event::Capsule { capsule }, .. } => Some(capsule),
            _ => None,
        }));
    }
    assert_eq!(capsules.len(), 2);
    let ring = SealRing::new(vec![SealKey { id: [1; 4], key: [7; 32] }]).expect("one key");
    let start = 1_800_000_000;
    let opened = Capsule::open(&ring, &capsules[0], start).expect("ours");
    assert_eq!(opened.expires, start + HALF_LIFE.as_secs() + LIFE.as_secs());
    assert!(opened.token.proves(&session.session_token));
    assert!(Capsule::open(&ring, &capsules[1], start).expect("ours").revision > opened.revision);
}
