use crate::browser::Browser;
use crate::cluster::Cluster;

const ALICE: f64 = 440.0;
const BOB: f64 = 660.0;

#[tokio::test]
async fn in_opus_until_one_holds_or_hangs_up() {
    let cluster = Cluster::start(2);
    let (mut alice, mut bob) = (Browser::join(&cluster, 0, "alice").await, Browser::join(&cluster, 1, "bob").await);
    let ours = alice.dial("c1", "bob", ALICE).await;
    let ringing = bob.event("incoming_call").await;
    alice.state("c1", "ringing").await;
    let call = ringing["call"]["call_id"].as_str().expect("an id").to_owned();
    assert_eq!(ringing["call"]["target"], "sip:alice@example.org");
    let theirs = bob.answer(&call, BOB).await;
    alice.state("c1", "active").await;
    ours.hears(BOB).await;
    theirs.hears(ALICE).await;
    assert!(ours.ear().packets.keys().all(|payload_type| *payload_type == 111), "{:?}", ours.ear().packets);

    alice.verb("hold", "c1").await;
    let held = bob.state(&call, "held").await;
    assert_eq!(held["held_by"], "remote");
    theirs.is_silent().await;
    ours.is_silent().await;
    alice.verb("unhold", "c1").await;
    bob.state(&call, "active").await;
    ours.hears(BOB).await;
    theirs.hears(ALICE).await;

    bob.verb("hang_up", &call).await;
    let ended = alice.event("call_ended").await;
    assert_eq!(ended["reason"], "remote-hang-up");
    crate::browser::until("close_notify", || ours.is_closed() && theirs.is_closed()).await;
}

#[tokio::test]
async fn a_third_gets_the_call() {
    let cluster = Cluster::start(2);
    let (mut alice, mut bob) = (Browser::join(&cluster, 0, "alice").await, Browser::join(&cluster, 1, "bob").await);
    let mut carol = Browser::join(&cluster, 0, "carol").await;
    let _ours = alice.dial("c1", "bob", ALICE).await;
    let ringing = bob.event("incoming_call").await;
    let call = ringing["call"]["call_id"].as_str().expect("an id").to_owned();
    let theirs = bob.answer(&call, BOB).await;
    theirs.hears(ALICE).await;

    let transfer = serde_json::json!({ "method": "transfer", "call_id": "c1", "target": "carol" });
    let transferred = tokio::spawn(async move {
        alice.done(transfer).await;
        alice.event("call_ended").await
    });
    let ringing = carol.event("incoming_call").await;
    let third = carol.answer(ringing["call"]["call_id"].as_str().expect("an id"), 880.0).await;
    assert_eq!(transferred.await.expect("it ends")["reason"], "transferred");
    theirs.hears(880.0).await;
    third.hears(BOB).await;
}
