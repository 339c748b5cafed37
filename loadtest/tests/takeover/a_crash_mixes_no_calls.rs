//! Each end of each call says a tone that nobody else says, and what comes is known packet by packet. Phones of the dead instance
//! go on talking to ports that soon belong to others.

use crate::browser::{Browser, Call};
use crate::cluster::Cluster;
use crate::phone::Phone;
use crate::tone::{Cast, Voices};
use futures_util::future::join_all;
use loadtest::sip_phone::message::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls on the instance that dies.
const DEAD: usize = 50;
/// Calls placed as it dies, at the other.
const NEW: usize = 50;
/// Calls that were on the other before.
const OLD: usize = 10;
/// Calls at the dead instance's successor, which has the same RTP ports to choose from.
const LATE: usize = 20;
/// Two instances can't have more ports ready than these, so that those of the dead are soon somebody else's.
const RTP_PORTS: &str = "22000-23039";
/// Packets of the other side that each end of a call hears at least.
const HEARD: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(120);

struct Person {
    browser: Browser,
    phone: Phone,
    /// What the browser says, and what the phone.
    tones: [u32; 2],
}

struct Talk {
    person: Person,
    media: Call,
}

impl Person {
    async fn join(cluster: &Cluster, instance: usize, number: usize) -> Self {
        let (user, name) = (format!("user-{number}"), format!("phone-{number}"));
        let tones = tones_of(number);
        let (browser, phone) =
            tokio::join!(Browser::join(cluster, instance, &user), Phone::start(cluster, &name, f64::from(tones[1])));
        Self { browser, phone, tones }
    }

    async fn calls(mut self, number: usize, cast: &Arc<Cast>) -> Talk {
        let (target, hertz) = (format!("phone-{number}"), f64::from(self.tones[0]));
        self.phone.with_ear(|ear| ear.voices = Some(Voices::new(cast)));
        let media = Call::new(hertz, true).await;
        media.says_in_pcmu(hertz);
        media.ear().voices = Some(Voices::new(cast));
        let (media, _) = tokio::join!(self.browser.dial_with("c1", &target, media), self.phone.answers());
        self.browser.state("c1", "active").await;
        Talk { person: self, media }
    }
}

impl Talk {
    /// What the browser heard, and what the phone: packets by their tone.
    fn heard(&self) -> [BTreeMap<u32, u64>; 2] {
        let packets = |voices: &Option<Voices>| voices.as_ref().expect("it listens").packets.clone();
        [packets(&self.media.ear().voices), self.person.phone.with_ear(|ear| packets(&ear.voices))]
    }

    fn is_heard(&self) -> bool {
        let [browser, phone] = self.person.tones;
        let [at_browser, at_phone] = self.heard();
        [at_browser.get(&phone), at_phone.get(&browser)].iter().all(|count| count.is_some_and(|count| *count >= HEARD))
    }

    /// Whether either end heard a tone that is not the other's. What is of no tone was filled in.
    fn has_strangers(&self) -> bool {
        let [browser, phone] = self.person.tones;
        let [at_browser, at_phone] = self.heard();
        [(at_browser, phone), (at_phone, browser)]
            .iter()
            .any(|(heard, own)| heard.keys().any(|tone| ![0, *own].contains(tone)))
    }

    /// The end of the old call, told once; the phone goes on talking to the port of the dead instance.
    async fn ends(mut self, cluster: &Cluster) -> Self {
        let dead = json!([{ "call_id": "c1", "action": "hang_up" }]);
        let mut browser = self.person.browser.take_over(cluster, 1, &dead).await;
        let (recovered, bye) = tokio::join!(browser.event("session_recovered"), self.person.phone.hears("BYE"));
        assert_eq!(recovered["lost"], json!(["c1"]));
        self.person.phone.line.out.send(Message::response(&bye, 200, "phone"));
        self.person.browser = browser;
        self
    }

    /// Nothing more is told of it.
    fn ended_once(&mut self) -> bool {
        let is_told = |event: &Value| event["call_id"] == "c1" || event["type"] == "session_recovered";
        !self.person.browser.waiting().iter().any(is_told) && self.person.phone.line.log.count("BYE") == 1
    }
}

fn tones_of(number: usize) -> [u32; 2] {
    let first = 300 + 20 * u32::try_from(number).expect("few");
    [first, first + 10]
}

async fn all_talk(people: Vec<(usize, Person)>, cast: &Arc<Cast>) -> Vec<Talk> {
    join_all(people.into_iter().map(|(number, person)| person.calls(number, cast))).await
}

async fn all_join(cluster: &Cluster, instance: usize, numbers: std::ops::Range<usize>) -> Vec<(usize, Person)> {
    join_all(numbers.map(async |number| (number, Person::join(cluster, instance, number).await))).await
}

async fn until_all_hear(talks: &[&[Talk]]) {
    let until = Instant::now() + PATIENCE;
    let deaf = || talks.iter().flat_map(|talks| talks.iter()).filter(|talk| !talk.is_heard());
    while deaf().next().is_some() {
        let told = || deaf().map(|talk| (talk.person.tones, talk.heard())).collect::<Vec<_>>();
        assert!(Instant::now() < until, "calls not heard at both ends: {:?}", told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every port that the dead instance left has heard its phone again.
async fn until_all_talk_to_the_dead(dead: &[Talk]) {
    let said = || dead.iter().map(|talk| talk.person.phone.said());
    let before: Vec<u64> = said().collect();
    while said().zip(&before).any(|(now, before)| now < before + 5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_hears_its_own_tone_alone() {
    let all = DEAD + NEW + OLD + LATE;
    let cast = Arc::new(Cast::new(&(0..all).flat_map(tones_of).collect::<Vec<_>>()));
    let mut cluster = Cluster::start(2, &["--rtp-ports", RTP_PORTS]);
    let (dying, fresh, staying) = tokio::join!(
        all_join(&cluster, 0, 0..DEAD),
        all_join(&cluster, 1, DEAD..DEAD + NEW),
        all_join(&cluster, 1, DEAD + NEW..DEAD + NEW + OLD)
    );
    let (mut dying, old) = tokio::join!(all_talk(dying, &cast), all_talk(staying, &cast));
    until_all_hear(&[&dying, &old]).await;
    // Reads what the sockets hold, the newest capsules above all.
    dying.iter_mut().for_each(|talk| drop(talk.person.browser.waiting()));

    // The dials are polled first, and have asked when the instance dies.
    let (fresh, ()) = tokio::join!(all_talk(fresh, &cast), async { cluster.kill(0) });
    let killed = Instant::now();
    let dead = join_all(dying.into_iter().map(|talk| talk.ends(&cluster)));
    let mut dead = dead.await;
    println!("{DEAD} calls of the dead ended within {:?}", killed.elapsed());
    cluster.restart(0);
    until_all_talk_to_the_dead(&dead).await;
    let late = all_join(&cluster, 0, all - LATE..all).await;
    let late = all_talk(late, &cast).await;
    let living: [&[Talk]; 3] = [&old, &fresh, &late];
    until_all_hear(&living).await;

    let talks = || living.iter().flat_map(|talks| talks.iter());
    let count = |own: bool| -> u64 {
        let heard = talks().flat_map(Talk::heard).flatten();
        heard.filter(|(tone, _)| (*tone > 0) == own).map(|(_, count)| count).sum()
    };
    println!("{OLD} old, {NEW} new and {LATE} late calls: {} packets heard, {} filled in", count(true), count(false));
    let mixed: Vec<_> = talks().chain(&dead).filter(|talk| talk.has_strangers()).collect();
    for talk in &mixed {
        println!("{:?} at {:?} heard {:?}", talk.person.tones, talk.person.phone.remote(), talk.heard());
    }
    assert_eq!(mixed.len(), 0, "calls with a stranger's tone");
    let twice = dead.iter_mut().filter_map(|talk| (!talk.ended_once()).then_some(talk.person.tones));
    assert_eq!(twice.collect::<Vec<_>>(), [[0; 2]; 0]);
}
