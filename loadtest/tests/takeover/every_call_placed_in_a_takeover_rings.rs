//! Users of an instance that is killed sign in at the other at random moments, and are called at random moments before, while and
//! after they do, through Kamailio.

use crate::browser::{Browser, PATIENCE, until};
use crate::cluster::{Cluster, Server};
use crate::kamailio::{self, Kamailio};
use crate::phone::Phone;
use futures_util::future::join_all;
use loadtest::sip_phone::message::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SEED: u64 = 7;
const USERS: usize = 40;
const ROUNDS: usize = 5;
/// Calls are placed from the begin of a round to its end.
const ROUND: Duration = Duration::from_millis(800);
/// The instance dies at this moment of it; its users sign in afterwards, by the end.
const DEATH: Duration = Duration::from_millis(100);

/// Kamailio may forget the CANCEL when it comes between a late branch and the first answer to that. It is not what is shown here.
const GIVES_UP: Duration = Duration::from_secs(5);

struct Callee {
    name: String,
    browser: Browser,
    phone: Phone,
    end: End,
}

/// How its calls end.
#[derive(Clone, Copy)]
enum End {
    GivenUp,
    Declined,
    Busy,
}

const ENDS: [End; 3] = [End::GivenUp, End::Declined, End::Busy];

/// When a user is called, and when it signs in.
struct Moments {
    called: Instant,
    enters: Instant,
}

impl Callee {
    async fn join(cluster: &Cluster, number: usize) -> Self {
        let name = format!("callee-{number}");
        let browser = Browser::join(cluster, 0, &name).await;
        let phone = Phone::start(cluster, &format!("caller-{number}"), 660.0).await;
        Self { name, browser, phone, end: ENDS[number % ENDS.len()] }
    }

    /// From the later of call and sign-in until it rings at the other instance; `None` if it does not.
    async fn is_called(&mut self, cluster: &Cluster, home: usize, moments: &Moments) -> Option<Duration> {
        let Self { name, browser, phone, end } = self;
        let calls = async {
            tokio::time::sleep_until(moments.called.into()).await;
            (phone.calls(name), Instant::now())
        };
        let rings = async {
            tokio::time::sleep_until(moments.enters.into()).await;
            browser.closed().await;
            *browser = browser.take_over(cluster, home, &dead_calls(&browser.events)).await;
            let signed_in = Instant::now();
            let mut passed = Vec::new();
            let ringing = browser.event_whenever("incoming_call", &mut passed);
            let ringing = tokio::time::timeout(PATIENCE, ringing).await.ok()?;
            Some((ringing, signed_in, Instant::now()))
        };
        let ((invite, called), rung) = tokio::join!(calls, rings);
        let (ringing, signed_in, rung) = rung?;
        // Who gives up before anything has answered may be too early for the server.
        let log = phone.line.log.clone();
        until("180", || log.all().iter().any(|heard| heard.what == "180" && heard.at > called)).await;
        let call = ringing["call"]["call_id"].clone();
        match end {
            End::GivenUp => {
                phone.line.out.send(cancel(&invite));
                let mut passed = Vec::new();
                if tokio::time::timeout(GIVES_UP, browser.event_whenever("call_ended", &mut passed)).await.is_err() {
                    println!("{name} is not told that the caller gave up");
                    browser.ask(json!({ "method": "reject_call", "call_id": call })).await;
                }
            }
            End::Declined | End::Busy => {
                let (busy, told) = if matches!(end, End::Busy) { (true, "486") } else { (false, "603") };
                browser.done(json!({ "method": "reject_call", "call_id": call, "busy": busy })).await;
                until(told, || log.all().iter().any(|heard| heard.what == told && heard.at > called)).await;
            }
        }
        Some(rung.saturating_duration_since(called.max(signed_in)))
    }
}

/// Of the INVITE's own transaction (RFC 3261 §9.1).
fn cancel(invite: &Message) -> Message {
    let kept =
        ["Via", "Max-Forwards", "From", "To", "Call-ID"].map(|name| (name.to_owned(), invite.header(name).to_owned()));
    let start = invite.start.replacen("INVITE", "CANCEL", 1);
    Message { start, headers: kept.into(), body: String::new() }.with("CSeq", "1 CANCEL")
}

/// A call that rang before the death.
fn dead_calls(events: &VecDeque<Value>) -> Value {
    let ringing = events.iter().filter(|event| event["type"] == "incoming_call");
    ringing.map(|event| json!({ "call_id": event["call"]["call_id"], "action": "hang_up" })).collect()
}

fn moments(random: &mut SmallRng, begin: Instant) -> Moments {
    let mut between = |from: Duration| begin + random.random_range(from..ROUND);
    Moments { called: between(Duration::ZERO), enters: between(DEATH) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_of_two_hundred() {
    if !kamailio::is_installed() {
        return;
    }
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut cluster = Cluster::at(Server::Kamailio(Kamailio::start().await), 2);
    let mut callees = join_all((0..USERS).map(|number| Callee::join(&cluster, number))).await;
    let mut rung = Vec::new();
    for round in 0..ROUNDS {
        let (dying, home) = (round % 2, (round + 1) % 2);
        let begin = Instant::now();
        let moments: Vec<_> = callees.iter().map(|_| moments(&mut random, begin)).collect();
        let death = async {
            tokio::time::sleep_until((begin + DEATH).into()).await;
            cluster.instance(dying).end();
        };
        let calls = callees.iter_mut().zip(&moments).map(|(callee, at)| callee.is_called(&cluster, home, at));
        let (calls, ()) = tokio::join!(join_all(calls), death);
        rung.extend(calls.into_iter().flatten());
        cluster.restart(dying);
    }
    rung.sort_unstable();
    let (median, last) = (rung.get(rung.len() / 2), rung.last());
    println!(
        "{} of {} calls rang, {median:?} at p50 and {last:?} at most after the later of call and sign-in",
        rung.len(),
        USERS * ROUNDS
    );
    assert_eq!(rung.len(), USERS * ROUNDS);
}
