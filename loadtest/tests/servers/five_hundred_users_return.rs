use crate::browser::Browser;
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::kamailio::{self, Kamailio};
use crate::phone::Phone;
use std::sync::Arc;
use std::time::Instant;

const USERS: usize = 500;
const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

#[tokio::test]
async fn when_their_server_was_killed_and_started_anew() {
    if !kamailio::is_installed() {
        return;
    }
    let mut server = Kamailio::start().await;
    let cluster = Arc::new(Cluster::start(1, &[server.address]));
    let mut crowd = Crowd::join(&cluster, USERS).await;
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let (media, _) = tokio::join!(alice.dial("c1", "phone", ALICE), phone.answers());
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;

    let killed = Instant::now();
    server.kill();
    let told = crowd.all(false, killed).await;
    assert!(!server.knows("user-0"));
    // Nobody serves SIP meanwhile.
    phone.forget();
    media.ear().clear();
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    let restarted = Instant::now();
    server.restart().await;
    let registered = crowd.all(true, restarted).await;
    for user in (0..USERS).step_by(50) {
        assert!(server.knows(&format!("user-{user}")), "user-{user} is told of calls and is not registered");
    }
    println!(
        "Kamailio killed under {USERS} users: all told within {:.0?}; started anew: the first registered after {:.0?}, the last after {:.0?}",
        told.last, registered.first, registered.last
    );
    assert!(crowd.is_at_rest(), "nobody is signed out");
    phone.forget();
    media.ear().clear();
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    for available in [false, true] {
        assert_eq!(alice.event("service").await["service"]["available"], available);
    }
    alice.verb("hang_up", "c1").await;
    phone.is_told_bye().await;
}
