use crate::browser::Browser;
use crate::cluster::Cluster;
use crate::phone::Phone;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

/// Alice at the first of two instances talks with a phone; then that instance is gone.
async fn lost() -> (Cluster, Browser, Phone) {
    let mut cluster = Cluster::start(2);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let (media, _) = tokio::join!(alice.dial("c1", "phone", ALICE), phone.answers());
    alice.state("c1", "active").await;
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    // Reads what the socket holds, the newest capsule above all.
    alice.ask(json!({ "method": "hang_up", "call_id": "nothing" })).await;
    cluster.kill(0);
    phone.forget();
    (cluster, alice, phone)
}

fn dead(action: &str) -> Value {
    json!([{ "call_id": "c1", "action": action }])
}

#[tokio::test]
async fn hang_up_reaches_the_far_side_at_once() {
    let (cluster, alice, mut phone) = lost().await;
    let start = Instant::now();
    let mut alice = alice.take_over(&cluster, 1, &dead("hang_up")).await;
    let bye = phone.is_told_bye().await;
    assert!(bye.header("Reason").contains("instance lost"), "{bye:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(alice.event("session_recovered").await["lost"], json!(["c1"]));
}

#[tokio::test]
async fn resume_brings_its_sound_back_in_a_new_call() {
    let (cluster, alice, mut phone) = lost().await;
    let mut alice = alice.take_over(&cluster, 1, &dead("resume")).await;
    // The probe is answered while the test waits for what follows.
    let (back, _) = tokio::join!(alice.event("incoming_call"), phone.serves(Duration::from_secs(1)));
    assert_eq!(back["call"]["replaces"], "c1");
    let call = back["call"]["call_id"].as_str().expect("an id").to_owned();
    assert_eq!(alice.event("session_recovered").await["recovered"], json!([call]));
    let (media, invite) = tokio::join!(alice.answer(&call, ALICE), phone.answers());
    assert!(!invite.header("To").is_empty());
    alice.state(&call, "active").await;
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    phone.hangs_up().await;
    assert_eq!(alice.event("call_ended").await["reason"], "remote-hang-up");
}

#[tokio::test]
async fn a_phone_that_calls_in_the_gap_rings_at_the_new_instance() {
    let mut cluster = Cluster::start(2);
    let alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    cluster.kill(0);
    phone.calls("alice");
    let mut alice = alice.take_over(&cluster, 1, &json!([])).await;
    let ringing = alice.event("incoming_call").await;
    let call = ringing["call"]["call_id"].as_str().expect("an id").to_owned();
    let (media, ()) = tokio::join!(alice.answer(&call, ALICE), phone.is_answered());
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
}
