//! The address of the servers is taken over by one that knows nothing: the first is killed, the second starts at the same address.

use crate::browser::{Browser, until};
use crate::cluster::Cluster;
use crate::kamailio::{self, Kamailio};
use crate::phone::Phone;
use serde_json::{Value, json};
use std::time::Instant;

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

fn call_id(ringing: &Value) -> String {
    ringing["call"]["call_id"].as_str().expect("an id").to_owned()
}

/// Another one starts where this one is killed. Over TCP users are told; datagrams that are lost for a moment nobody notices.
async fn moves(server: &mut Kamailio, transport: &str, users: [&str; 2]) {
    let killed = Instant::now();
    server.restart().await;
    until("them to be known", || users.iter().all(|user| server.knows(user))).await;
    println!("over {transport} both users were known {:.1?} after the server was killed", killed.elapsed());
}

#[tokio::test]
async fn both_sides_keep_every_verb_over_tcp() {
    both_sides_keep_every_verb("tcp").await;
}

#[tokio::test]
async fn both_sides_keep_every_verb_over_udp() {
    both_sides_keep_every_verb("udp").await;
}

async fn both_sides_keep_every_verb(transport: &str) {
    if !kamailio::is_installed() {
        return;
    }
    let mut server = Kamailio::start().await;
    let cluster = Cluster::over(transport, 1, &[server.address]);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut bob = Browser::join(&cluster, 0, "bob").await;
    let mut called = Phone::start(&cluster, "called", PHONE).await;
    called.events = false;
    let mut caller = Phone::start(&cluster, "caller", PHONE).await;
    let (ours, _) = tokio::join!(alice.dial("c1", "called", ALICE), called.answers());
    alice.state("c1", "active").await;
    caller.calls("bob");
    let theirs = call_id(&bob.event("incoming_call").await);
    let (bobs, ()) = tokio::join!(bob.answer(&theirs, ALICE), caller.is_answered());
    ours.hears(PHONE).await;
    bobs.hears(PHONE).await;

    moves(&mut server, transport, ["alice", "bob"]).await;

    tokio::join!(alice.verb("hold", "c1"), called.answers_until("a=sendonly"));
    tokio::join!(alice.verb("unhold", "c1"), called.answers());
    alice.done(json!({ "method": "send_digits", "call_id": "c1", "digits": "5" })).await;
    called.is_told_digit('5').await;
    called.says('7').await;
    assert_eq!(alice.event("digit").await["digit"], "7");
    called.holds().await;
    assert_eq!(alice.state("c1", "held").await["held_by"], "remote");
    called.hangs_up().await;
    assert_eq!(alice.event("call_ended").await["reason"], "remote-hang-up");

    caller.says('8').await;
    assert_eq!(bob.event("digit").await["digit"], "8");
    caller.hears_tone(ALICE).await;
    bobs.hears(PHONE).await;
    bob.verb("hang_up", &theirs).await;
    caller.is_told_bye().await;
}

#[tokio::test]
async fn ringing_calls_are_answered_over_tcp() {
    ringing_calls_are_answered("tcp").await;
}

#[tokio::test]
async fn ringing_calls_are_answered_over_udp() {
    ringing_calls_are_answered("udp").await;
}

async fn ringing_calls_are_answered(transport: &str) {
    if !kamailio::is_installed() {
        return;
    }
    let mut server = Kamailio::start().await;
    let cluster = Cluster::over(transport, 1, &[server.address]);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut bob = Browser::join(&cluster, 0, "bob").await;
    let mut called = Phone::start(&cluster, "called", PHONE).await;
    let mut caller = Phone::start(&cluster, "caller", PHONE).await;
    let (ours, invite) = tokio::join!(alice.dial("c1", "called", ALICE), called.rings());
    alice.state("c1", "ringing").await;
    caller.calls("bob");
    let theirs = call_id(&bob.event("incoming_call").await);
    caller.hears("180").await;

    moves(&mut server, transport, ["alice", "bob"]).await;

    called.picks_up(&invite).await;
    alice.state("c1", "active").await;
    let (bobs, ()) = tokio::join!(bob.answer(&theirs, ALICE), caller.is_answered());
    called.hears_tone(ALICE).await;
    ours.hears(PHONE).await;
    caller.hears_tone(ALICE).await;
    bobs.hears(PHONE).await;
    caller.hangs_up().await;
    assert_eq!(bob.event("call_ended").await["reason"], "remote-hang-up");
    called.hangs_up().await;
    assert_eq!(alice.event("call_ended").await["reason"], "remote-hang-up");
    until("no call", || ours.is_closed() && bobs.is_closed()).await;
}
