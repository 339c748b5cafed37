use crate::browser::{Browser, until};
use crate::certificates::Certificates;
use crate::cluster::Cluster;
use crate::kamailio::{self, DOMAIN, Kamailio};
use crate::log;
use std::time::Duration;

const ALICE: f64 = 440.0;
const BOB: f64 = 660.0;

#[tokio::test]
async fn calls_go_both_ways_over_tls() {
    if !kamailio::is_installed() {
        return;
    }
    let certificates = Certificates::make(DOMAIN);
    let server = Kamailio::start(&certificates).await;
    let cluster = Cluster::start(2, server.tls, &certificates.path("ca.pem"), DOMAIN);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut bob = Browser::join(&cluster, 1, "bob").await;
    for user in ["alice", "bob"] {
        assert!(server.binding(user).contains("transport=tls"), "{}", server.binding(user));
    }
    let mine = alice.dial("c1", "bob", ALICE).await;
    let call = bob.event("incoming_call").await["call"]["call_id"].as_str().expect("an id").to_owned();
    let theirs = bob.answer(&call, BOB).await;
    alice.state("c1", "active").await;
    mine.hears(BOB).await;
    theirs.hears(ALICE).await;
    bob.verb("hang_up", &call).await;
    assert_eq!(alice.event("call_ended").await["reason"], "remote-hang-up");
}

/// A server that can't prove who it is gets no user's name; the operator is told why, once.
async fn is_refused(authority: &str, domain: &str, why: &str) {
    if !kamailio::is_installed() {
        return;
    }
    log::keep();
    let certificates = Certificates::make(DOMAIN);
    let server = Kamailio::start(&certificates).await;
    let cluster = Cluster::start(1, server.tls, &certificates.path(authority), domain);
    let address = server.tls.to_string();
    until("a log line", || !log::of(&address).is_empty()).await;
    let joined = tokio::time::timeout(Duration::from_secs(2), Browser::join(&cluster, 0, "alice")).await;
    assert!(joined.is_err(), "calls are offered");
    assert!(!server.binding("alice").contains("transport"), "{}", server.binding("alice"));
    let lines = log::of(&address);
    println!("{lines:?}");
    assert!(lines.len() == 1 && lines[0].contains(why), "{lines:?}");
}

#[tokio::test]
async fn one_from_another_authority_is_refused() {
    is_refused("other.pem", DOMAIN, "UnknownIssuer").await;
}

#[tokio::test]
async fn one_for_another_name_is_refused() {
    is_refused("ca.pem", "another.example", "not valid for name \"another.example\"").await;
}
