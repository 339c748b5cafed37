use crate::browser::{Browser, Call};
use crate::cluster::Cluster;
use crate::phone::Phone;
use serde_json::json;

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

#[tokio::test]
async fn opus_and_pcmu_are_made_of_each_other() {
    let cluster = Cluster::start(1);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let media = Call::new(ALICE, false).await;
    let (media, _) = tokio::join!(alice.dial_with("c1", "phone", media), phone.answers());
    alice.state("c1", "active").await;
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    assert_eq!(media.ear().packets.keys().copied().collect::<Vec<_>>(), [111]);

    alice.done(json!({ "method": "send_digits", "call_id": "c1", "digits": "12#" })).await;
    phone.hears_digits("12#").await;
    phone.dials("79");
    assert_eq!(alice.event("digit").await["digit"], "7");
    assert_eq!(alice.event("digit").await["digit"], "9");
    media.hears(PHONE).await;

    phone.hangs_up().await;
    assert_eq!(alice.event("call_ended").await["reason"], "remote-hang-up");
}

#[tokio::test]
async fn pcmu_is_passed_to_a_browser_that_takes_it() {
    let cluster = Cluster::start(1);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let (media, _) = tokio::join!(alice.dial("c1", "phone", ALICE), phone.answers());
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    assert_eq!(media.ear().packets.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(alice.event("send_codec").await["codec"], "PCMU");
    alice.verb("hang_up", "c1").await;
    phone.is_told_bye().await;
}

#[tokio::test]
async fn a_phone_calls_a_browser() {
    let cluster = Cluster::start(1);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    phone.calls("alice");
    let ringing = alice.event("incoming_call").await;
    assert_eq!(
        (&ringing["call"]["target"], &ringing["call"]["name"]),
        (&json!("sip:phone@example.org"), &json!("Bob"))
    );
    phone.hears("180").await;
    let call = ringing["call"]["call_id"].as_str().expect("an id").to_owned();
    let (media, ()) = tokio::join!(alice.answer(&call, ALICE), phone.is_answered());
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    alice.verb("hang_up", &call).await;
    phone.is_told_bye().await;
}
