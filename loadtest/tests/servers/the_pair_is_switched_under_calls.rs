use crate::browser::{Browser, Call, until};
use crate::cluster::Cluster;
use crate::kamailio::{self, Kamailio};
use crate::phone::Phone;
use serde_json::json;
use tokio::task::JoinHandle;

const CALLS: usize = 10;
const PHONE: f64 = 660.0;

struct Talk {
    browser: Browser,
    media: Call,
    /// It hears a tone of its own, and goes on until the end.
    phone: JoinHandle<Phone>,
}

async fn talk(cluster: &Cluster, number: usize) -> Talk {
    let hertz = 400.0 + 10.0 * number as f64;
    let mut browser = Browser::join(cluster, 0, &format!("user-{number}")).await;
    let mut phone = Phone::start(cluster, &format!("phone-{number}"), PHONE).await;
    let target = format!("phone-{number}");
    let (media, _) = tokio::join!(browser.dial("c1", &target, hertz), phone.answers());
    browser.state("c1", "active").await;
    phone.hears_tone(hertz).await;
    media.hears(PHONE).await;
    Talk { browser, media, phone: tokio::spawn(phone.keeps()) }
}

impl Talk {
    async fn is_heard(&self) {
        self.media.ear().clear();
        self.media.hears(PHONE).await;
    }
}

#[tokio::test]
async fn and_none_ends() {
    if !kamailio::is_installed() {
        return;
    }
    let mut servers = Kamailio::pair().await;
    let cluster = Cluster::start(1, &[servers[0].address, servers[1].address]);
    let mut talks = futures_util::future::join_all((0..CALLS).map(|number| talk(&cluster, number))).await;

    servers[0].kill();
    for talk in &mut talks {
        talk.browser.verb("hold", "c1").await;
        talk.browser.verb("unhold", "c1").await;
    }
    futures_util::future::join_all(talks.iter().map(Talk::is_heard)).await;

    servers[0].restart().await;
    until("everybody at the first again", || (0..CALLS).all(|user| servers[0].knows(&format!("user-{user}")))).await;
    servers[1].kill();
    futures_util::future::join_all(talks.iter().map(Talk::is_heard)).await;

    let mut ended = Vec::new();
    for talk in &mut talks {
        // Reads what the socket holds.
        talk.browser.ask(json!({ "method": "hang_up", "call_id": "nothing" })).await;
        ended.extend(talk.browser.events.iter().filter(|event| event["type"] == "call_ended").cloned());
    }
    println!("a pair switched over and back under {CALLS} calls: {} ended", ended.len());
    assert!(ended.is_empty(), "{ended:?}");
    for mut talk in talks {
        talk.browser.verb("hang_up", "c1").await;
        let told = tokio::time::timeout(crate::browser::PATIENCE, talk.phone).await;
        told.expect("a BYE in time").expect("the phone did not panic");
    }
}
