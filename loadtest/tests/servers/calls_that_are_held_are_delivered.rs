//! A hot pair shares the calls that it holds (182): the first is killed, its partner delivers them. The pair is played by sipp.

use crate::browser::{Browser, until};
use crate::cluster::Cluster;
use crate::phone::Phone;
use crate::sipp::{self, Sipp};
use loadtest::sip_phone::message::Message;
use std::net::SocketAddr;

const ALICE: f64 = 440.0;
const PHONE: f64 = 660.0;

async fn heard(server: &Sipp, method: &str) -> Message {
    let mut message = None;
    until(method, || {
        message = server.heard(method);
        message.is_some()
    })
    .await;
    message.expect("heard")
}

fn via(message: &Message) -> SocketAddr {
    let sent_by = message.header("Via").split([' ', ';']).nth(1);
    sent_by.and_then(|by| by.parse().ok()).expect("an address")
}

/// Out of the angle brackets.
fn uri(contact: &str) -> &str {
    contact.split(['<', '>']).nth(1).expect("a URI")
}

/// At the address that the dead one had.
#[tokio::test]
async fn a_call_of_ours() {
    if !sipp::is_installed() {
        return;
    }
    let first = Sipp::serves();
    let cluster = Cluster::over("udp", 1, &[first.address]);
    let mut alice = Browser::join(&cluster, 0, "alice").await;
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    let media = alice.dial("c1", "phone", ALICE).await;
    let invite = heard(&first, "INVITE").await;
    let gateway = via(&invite);

    let callee = phone.line.out.local;
    let mut second = first.delivers(&invite, gateway, (&format!("sip:phone@{callee}"), callee), gateway);
    let ringing = phone.rings().await;
    alice.state("c1", "ringing").await;
    phone.picks_up(&ringing).await;
    alice.state("c1", "active").await;
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    alice.verb("hang_up", "c1").await;
    until("the end of the call", || second.is_done()).await;
}

/// By the one that lives, at an address of its own.
#[tokio::test]
async fn a_call_to_us() {
    if !sipp::is_installed() {
        return;
    }
    let (first, second) = (Sipp::serves(), Sipp::serves());
    let cluster = Cluster::over("udp", 1, &[first.address, second.address]);
    let mut bob = Browser::join(&cluster, 0, "bob").await;
    let binding = heard(&second, "REGISTER").await;
    let gateway = via(&binding);
    let mut phone = Phone::start(&cluster, "phone", PHONE).await;
    phone.calls("bob");
    phone.hears("182").await;
    let invite = heard(&first, "INVITE").await;

    drop(first);
    let caller = phone.line.out.local;
    let mut second = second.delivers(&invite, caller, (uri(binding.header("Contact")), gateway), gateway);
    let ringing = bob.event("incoming_call").await;
    phone.hears("180").await;
    let call = ringing["call"]["call_id"].as_str().expect("an id").to_owned();
    let (media, ()) = tokio::join!(bob.answer(&call, ALICE), phone.is_answered());
    phone.hears_tone(ALICE).await;
    media.hears(PHONE).await;
    bob.verb("hang_up", &call).await;
    until("the end of the call", || second.is_done()).await;
}
