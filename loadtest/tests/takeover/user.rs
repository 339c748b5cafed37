//! A user with a phone for the other side of its call, before and after its instance is lost.

use crate::browser::{Browser, Call, Closed, PATIENCE};
use crate::cluster::Cluster;
use crate::phone::Phone;
use crate::tone::{Cast, Ear, Voices};
use loadtest::sip_phone::message::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TALKS: u32 = 440;
const ANSWERS: u32 = 660;
/// Packets of the other's tone that each side hears.
const HEARD: u64 = 10;

/// What it does when its instance is lost, and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    /// Hangs up.
    Talking,
    /// Resumes.
    Resuming,
    /// Resumes what it has put on hold.
    Holding,
    RingingIn,
    RingingOut,
}

pub(crate) struct User {
    pub(crate) state: State,
    pub(crate) name: String,
    pub(crate) browser: Browser,
    pub(crate) phone: Phone,
    /// The client's side of a loss, as it comes.
    pub(crate) told: Vec<(&'static str, Instant)>,
    media: Option<Call>,
    /// Its call's name.
    call: String,
    /// The end of it was told.
    over: bool,
    /// Of the INVITE that the phone rings for.
    ringing: Option<Message>,
}

impl User {
    /// In its state, at the first instance.
    pub(crate) async fn ready(cluster: &Cluster, state: State) -> Self {
        let mut number = 0;
        let (name, browser) = loop {
            number += 1;
            let name = format!("{state:?}-{number}").to_lowercase();
            let browser = Browser::join(cluster, 0, &name).await;
            if browser.instance() == "gw-0" {
                break (name, browser);
            }
        };
        let phone = Phone::start(cluster, &format!("{name}-phone"), f64::from(ANSWERS)).await;
        let (told, call) = (Vec::new(), "c1".to_owned());
        let mut user = Self { state, name, browser, phone, told, media: None, call, over: false, ringing: None };
        match state {
            State::Idle => {}
            State::Talking | State::Resuming => user.talks().await,
            State::Holding => user.holds().await,
            State::RingingIn => user.is_called().await,
            State::RingingOut => user.calls().await,
        }
        // Reads what the socket holds, the newest capsule above all.
        user.browser.waiting();
        user
    }

    fn target(&self) -> String {
        format!("{}-phone", self.name)
    }

    async fn talks(&mut self) {
        let target = self.target();
        let media = Call::new(f64::from(TALKS), true).await;
        let (media, _) = tokio::join!(self.browser.dial_with("c1", &target, media), self.phone.answers());
        self.browser.state("c1", "active").await;
        self.has(media);
        self.hear_each_other().await;
    }

    async fn holds(&mut self) {
        self.talks().await;
        tokio::join!(self.browser.verb("hold", "c1"), self.phone.answers());
        self.browser.state("c1", "held").await;
    }

    /// By its phone.
    pub(crate) async fn is_called(&mut self) {
        self.phone.calls(&self.name);
        self.call = self.rings().await;
        self.phone.hears("180").await;
    }

    async fn rings(&mut self) -> String {
        id_of(&self.browser.event("incoming_call").await)
    }

    async fn calls(&mut self) {
        let target = self.target();
        let media = Call::new(f64::from(TALKS), true).await;
        let (media, invite) = tokio::join!(self.browser.dial_with("c1", &target, media), self.phone.rings());
        self.browser.state("c1", "ringing").await;
        self.ringing = Some(invite);
        self.has(media);
    }

    fn has(&mut self, media: Call) {
        media.says_in_pcmu(f64::from(TALKS));
        self.media = Some(media);
    }

    pub(crate) fn is_talking(&self) -> bool {
        self.media.is_some()
    }

    /// From now on, packet by packet: they may come late where nobody gets the CPU.
    pub(crate) async fn hear_each_other(&self) {
        let cast = Arc::new(Cast::new(&[TALKS, ANSWERS]));
        let media = self.media.as_ref().expect("a call");
        media.ear().voices = Some(Voices::new(&cast));
        self.phone.with_ear(|ear| ear.voices = Some(Voices::new(&cast)));
        let count = |ear: &Ear, tone| ear.voices.as_ref().and_then(|voices| voices.packets.get(&tone).copied());
        let until = Instant::now() + 3 * PATIENCE;
        loop {
            let heard = [count(&media.ear(), ANSWERS), self.phone.with_ear(|ear| count(ear, TALKS))];
            if heard.iter().all(|count| *count >= Some(HEARD)) {
                return;
            }
            assert!(Instant::now() < until, "{}: browser and phone hear {heard:?}", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks for something that a frozen instance finds later.
    pub(crate) fn asks_in_vain(&mut self) {
        let method = match self.state {
            State::Talking | State::Resuming | State::Holding | State::RingingOut => "hang_up",
            State::RingingIn => "reject_call",
            State::Idle => return,
        };
        let request = json!({ "method": method, "call_id": self.call });
        self.browser.send(&json!({ "kind": "request", "id": "late", "request": request }));
    }

    /// Its connection ends, and it signs in at this instance, or at whichever the balancer gives it.
    pub(crate) async fn re_enters(&mut self, cluster: &Cluster, index: usize) -> Closed {
        let closed = self.browser.closed().await;
        self.tells("lost");
        self.recalls();
        let action = match self.state {
            State::Resuming | State::Holding => "resume",
            _ => "hang_up",
        };
        let dead = match self.state {
            _ if self.over || self.state == State::Idle => json!([]),
            _ => json!([{ "call_id": self.call, "action": action }]),
        };
        self.browser = self.browser.take_over(cluster, index, &dead).await;
        assert_eq!(self.browser.instance(), format!("gw-{index}"));
        self.tells("signed in");
        closed
    }

    /// What the instance before still told.
    fn recalls(&mut self) {
        for event in &self.browser.events {
            match event["type"].as_str() {
                Some("session_recovered") => self.over = event["lost"] == json!([self.call]),
                Some("incoming_call") => (self.call, self.over) = (id_of(event), false),
                _ => {}
            }
        }
    }

    /// What becomes of its call.
    pub(crate) async fn goes_on(&mut self) {
        match self.state {
            State::Idle => self.browser.until_available().await,
            State::Talking => self.is_hung_up("BYE").await,
            State::RingingOut => self.is_hung_up("CANCEL").await,
            State::Resuming => self.resumes().await,
            State::Holding => {
                self.comes_back().await;
                self.browser.state(&self.call.clone(), "held").await;
                self.tells("held");
                tokio::join!(self.browser.verb("unhold", &self.call), self.phone.answers());
                self.hear_each_other().await;
            }
            State::RingingIn => {
                self.call = self.rings().await;
                self.tells("rings");
                self.answers().await;
            }
        }
    }

    async fn is_hung_up(&mut self, method: &str) {
        self.media = None;
        let request = self.phone.hears(method).await;
        self.phone.line.out.send(Message::response(&request, 200, "phone"));
        if let Some(invite) = self.ringing.take() {
            self.phone.line.out.send(Message::response(&invite, 487, "phone"));
        }
        if !self.over {
            let recovered = self.browser.event("session_recovered").await;
            assert_eq!(recovered["lost"], json!(["c1"]), "{:?}", self.state);
        }
        self.tells("told lost");
    }

    async fn resumes(&mut self) {
        self.comes_back().await;
        self.hear_each_other().await;
        self.tells("heard");
    }

    async fn comes_back(&mut self) {
        // The probe is answered meanwhile.
        let back = tokio::select! {
            back = self.browser.event("incoming_call") => back,
            () = self.phone.serves(2 * PATIENCE) => panic!("the call does not come back"),
        };
        assert_eq!(back["call"]["replaces"], self.call);
        self.call = id_of(&back);
        self.tells("comes back");
        let (media, _) = tokio::join!(self.browser.answer(&self.call, f64::from(TALKS)), self.phone.answers());
        self.has(media);
    }

    /// Where it is, as if nothing had been.
    pub(crate) async fn stays(&mut self) {
        match self.state {
            State::Idle => {}
            State::Talking | State::Resuming | State::Holding => self.hear_each_other().await,
            State::RingingIn => self.answers().await,
            State::RingingOut => {
                let invite = self.ringing.take().expect("it rings");
                self.phone.picks_up(&invite).await;
                self.browser.state("c1", "active").await;
                self.hear_each_other().await;
            }
        }
    }

    async fn answers(&mut self) {
        let (media, ()) = tokio::join!(self.browser.answer(&self.call, f64::from(TALKS)), self.phone.is_answered());
        self.has(media);
        self.hear_each_other().await;
        self.tells("heard");
    }

    fn tells(&mut self, what: &'static str) {
        self.told.push((what, Instant::now()));
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: {:?}", self.name, self.phone.line.log.all());
        }
    }
}

fn id_of(ringing: &Value) -> String {
    ringing["call"]["call_id"].as_str().expect("an id").to_owned()
}
