use crate::browser::{Browser, Closed};
use crate::cluster::Cluster;
use crate::phone::Phone;

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

/// Without a grace, and after a second signal: what is left of calls ends with a word to the far side.
#[tokio::test]
async fn the_far_side_of_a_call_that_it_ends_is_told() {
    let cluster = Cluster::start(1);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let (media, _) = tokio::join!(alice.dial("c1", "phone", ALICE), phone.answers());
    alice.state("c1", "active").await;
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    let gateway = cluster.gateways[0].as_ref().expect("it lives");
    gateway.leave();
    assert_eq!(alice.event("draining").await["deadline_ms"], 1_000);
    gateway.leave();
    phone.is_told_bye().await;
    assert_eq!(alice.event("call_ended").await["reason"], "drained");
    assert_eq!(alice.closed().await, Closed(1012, "restarting".to_owned()));
    gateway.left().await;
}
