use crate::browser::Browser;
use crate::cluster::Cluster;
use crate::kamailio::{self, Kamailio};
use crate::phone::Phone;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

/// Bounds are for a machine that is busy; what was measured is printed.
const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_secs(2);

/// Why there are no calls.
async fn unavailable(browser: &mut Browser) -> Value {
    loop {
        let service = browser.event("service").await["service"].clone();
        if service["available"] == false {
            return service["reason"].clone();
        }
    }
}

#[tokio::test]
async fn media_goes_on_and_everybody_is_told() {
    if !kamailio::is_installed() {
        return;
    }
    let servers = Kamailio::pair().await;
    let cluster = Cluster::start(1, &[servers[0].address, servers[1].address]);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut carol = Browser::join(&cluster, 0, "carol").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let (media, _) = tokio::join!(alice.dial("c1", "phone", ALICE), phone.answers());
    alice.state("c1", "active").await;
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;

    let frozen = Instant::now();
    servers.iter().for_each(Kamailio::freeze);
    let (reason, carols) = tokio::join!(unavailable(&mut alice), unavailable(&mut carol));
    let found = frozen.elapsed();
    assert_eq!((reason.as_str(), carols.as_str()), (Some("sip-server-silent"), Some("sip-server-silent")));
    assert!(found < SOON, "{found:?}");

    let asked = Instant::now();
    let request = json!({ "method": "start_call", "call_id": "c2", "target": "phone", "sdp": crate::browser::Call::new(ALICE, true).await.offer() });
    let outcome = carol.ask(request).await;
    let refused = asked.elapsed();
    assert_eq!(
        (&outcome["status"], &outcome["reason"]),
        (&json!("failed"), &json!("service-unavailable")),
        "{outcome}"
    );
    assert!(refused < AT_ONCE, "{refused:?}");
    println!("two hung SIP servers were found after {found:?}; a new call was refused after {refused:?}");

    phone.forget();
    media.ear().clear();
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;

    servers[1].thaw();
    for browser in [&mut alice, &mut carol] {
        assert_eq!(browser.event("service").await["service"]["available"], true);
    }
    let (_, invite) = tokio::join!(alice.verb("hold", "c1"), phone.answers());
    assert!(invite.header("Via").contains(&servers[1].address.to_string()), "{invite:?}");
    alice.verb("hang_up", "c1").await;
    phone.is_told_bye().await;
}
