use crate::browser::{Browser, Call, until};
use crate::cluster::Cluster;
use crate::kamailio::{self, Kamailio};
use crate::phone::Phone;
use loadtest::sip_phone::message::Message;
use serde_json::json;
use std::time::{Duration, Instant};

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;
const SECOND: f64 = 880.0;
const THIRD: f64 = 1100.0;
/// 30 s without media end a call.
const LONG: Duration = Duration::from_secs(90);

/// Alice talks with a phone through the first of two servers.
struct World {
    servers: [Kamailio; 2],
    cluster: Cluster,
    alice: Browser,
    phone: Phone,
    media: Call,
}

impl World {
    async fn start() -> Self {
        let servers = Kamailio::pair().await;
        let cluster = Cluster::start(1, &[servers[0].address, servers[1].address]);
        let mut alice = Browser::join(&cluster, 0, "alice").await;
        for server in &servers {
            until("alice at both", || server.knows("alice")).await;
        }
        let mut phone = Phone::start(&cluster, "phone", PHONE).await;
        // Digits go to it by INFO.
        phone.events = false;
        let (media, invite) = tokio::join!(alice.dial("c1", "phone", ALICE), phone.answers());
        assert!(went_through(&invite, &servers[0]));
        alice.state("c1", "active").await;
        phone.hears_tone(ALICE).await;
        media.hears(PHONE).await;
        Self { servers, cluster, alice, phone, media }
    }
}

fn went_through(request: &Message, server: &Kamailio) -> bool {
    request.header("Via").contains(&format!(" {};", server.address))
}

#[tokio::test]
async fn calls_go_on_through_the_one_that_lives() {
    if !kamailio::is_installed() {
        return;
    }
    let World { mut servers, cluster, mut alice, mut phone, media } = World::start().await;
    let mut second = Phone::start(&cluster, "second", SECOND).await;
    let mut third = Phone::start(&cluster, "third", THIRD).await;
    servers[0].kill();

    let ((), invite) = tokio::join!(alice.verb("hold", "c1"), phone.answers());
    assert!(went_through(&invite, &servers[1]) && invite.body.contains("a=sendonly"), "{invite:?}");
    let ((), invite) = tokio::join!(alice.verb("unhold", "c1"), phone.answers());
    assert!(went_through(&invite, &servers[1]));
    alice.state("c1", "active").await;
    alice.done(json!({ "method": "send_digits", "call_id": "c1", "digits": "5" })).await;
    assert!(went_through(&phone.is_told_digit('5').await, &servers[1]));

    let (call, invite) = tokio::join!(alice.dial("c2", "second", ALICE), second.answers());
    assert!(went_through(&invite, &servers[1]));
    second.hears_tone(ALICE).await;
    call.hears(SECOND).await;

    third.line.out.prefer(servers[1].address);
    third.calls("alice");
    let ringing = alice.event("incoming_call").await;
    let id = ringing["call"]["call_id"].as_str().expect("an id").to_owned();
    let (call, ()) = tokio::join!(alice.answer(&id, ALICE), third.is_answered());
    third.hears_tone(ALICE).await;
    call.hears(THIRD).await;
    third.hangs_up().await;
    assert_eq!(alice.event("call_ended").await["call_id"], id.as_str());

    media.hears(PHONE).await;
    alice.verb("hang_up", "c1").await;
    assert!(went_through(&phone.is_told_bye().await, &servers[1]));
    assert!(alice.events.iter().all(|event| event["type"] != "service"), "{:?}", alice.events);
}

#[tokio::test]
async fn a_dialog_answered_481_ends_with_its_reason() {
    if !kamailio::is_installed() {
        return;
    }
    let World { mut servers, cluster: _cluster, mut alice, mut phone, media: _media } = World::start().await;
    servers[0].kill();
    let hold = json!({ "method": "hold", "call_id": "c1" });
    let (outcome, ()) = tokio::join!(alice.ask(hold), phone.knows_nothing());
    assert_eq!(outcome["status"], "failed");
    assert_eq!(alice.event("call_ended").await["reason"], "far-lost");
}

/// What the README says of two addresses.
#[tokio::test]
async fn a_far_side_that_hangs_up_at_the_dead_one_is_heard_by_its_silence() {
    if !kamailio::is_installed() {
        return;
    }
    let World { mut servers, cluster: _cluster, mut alice, mut phone, media: _media } = World::start().await;
    servers[0].kill();
    let start = Instant::now();
    let hung_up = tokio::time::timeout(Duration::from_secs(1), phone.hangs_up()).await;
    assert!(hung_up.is_err(), "it goes to the server that is dead");
    drop(phone);
    let mut passed = Vec::new();
    let ended = tokio::time::timeout(LONG, alice.event_whenever("call_ended", &mut passed)).await;
    let ended = ended.unwrap_or_else(|_| panic!("no end but {passed:?}"));
    println!("a far side's hang-up at a dead server was known after {:.1?}", start.elapsed());
    assert_eq!(ended["reason"], "far-lost");
}
