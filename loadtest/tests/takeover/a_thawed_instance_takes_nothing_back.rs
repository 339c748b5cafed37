//! An instance stands still for 0.3, 1, 5 and 31 s under a user who is idle, two who talk, one who is called and one who calls.
//! Behind the balancer 0.3 s moves nobody. Beyond that all go on at the other instance, and the thawed one, which finds their
//! requests in its sockets, says nothing to anybody.

use crate::browser::{Browser, Call, Closed, PATIENCE};
use crate::cluster::{Cluster, Server};
use crate::kamailio::{self, Kamailio};
use crate::line::Heard;
use crate::phone::Phone;
use futures_util::future::join_all;
use loadtest::sip_phone::message::Message;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// From the thaw on the SIP side is listened to for so long: beyond both looks at a binding after a takeover.
const AFTER: Duration = Duration::from_secs(8);
/// After this the balancer says no more of a freeze that is over.
const VERDICT: Duration = Duration::from_millis(500);
const TRIES: usize = 5;
const TALKS: f64 = 440.0;
const ANSWERS: f64 = 660.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Hangs up after the loss.
    Talking,
    /// Resumes.
    Resuming,
    RingingIn,
    RingingOut,
}

const STATES: [State; 5] = [State::Idle, State::Talking, State::Resuming, State::RingingIn, State::RingingOut];

struct User {
    state: State,
    name: String,
    browser: Browser,
    phone: Phone,
    media: Option<Call>,
    /// Its call's name.
    call: String,
    /// Of the INVITE that the phone rings for.
    ringing: Option<Message>,
}

/// What became of a user.
struct Row {
    state: State,
    instance: String,
    bindings: Vec<String>,
    heard: Vec<Heard>,
}

impl User {
    /// In its state, at the first instance.
    async fn ready(cluster: &Cluster, state: State) -> Self {
        let mut number = 0;
        let (name, browser) = loop {
            number += 1;
            let name = format!("{state:?}-{number}").to_lowercase();
            let browser = Browser::join(cluster, 0, &name).await;
            if browser.instance() == "gw-0" {
                break (name, browser);
            }
        };
        let phone = Phone::start(cluster, &format!("{name}-phone"), ANSWERS).await;
        let mut user = Self { state, name, browser, phone, media: None, call: "c1".to_owned(), ringing: None };
        match state {
            State::Idle => {}
            State::Talking | State::Resuming => user.talks().await,
            State::RingingIn => user.is_called().await,
            State::RingingOut => user.calls().await,
        }
        user
    }

    fn target(&self) -> String {
        format!("{}-phone", self.name)
    }

    async fn talks(&mut self) {
        let target = self.target();
        let (media, _) = tokio::join!(self.browser.dial("c1", &target, TALKS), self.phone.answers());
        self.browser.state("c1", "active").await;
        self.media = Some(media);
        self.hear_each_other().await;
    }

    async fn is_called(&mut self) {
        self.phone.calls(&self.name);
        self.call = self.rings().await;
        self.phone.hears("180").await;
    }

    async fn rings(&mut self) -> String {
        id_of(&self.browser.event("incoming_call").await)
    }

    async fn calls(&mut self) {
        let target = self.target();
        let (media, invite) = tokio::join!(self.browser.dial("c1", &target, TALKS), self.phone.rings());
        self.browser.state("c1", "ringing").await;
        (self.media, self.ringing) = (Some(media), Some(invite));
    }

    async fn hear_each_other(&self) {
        self.phone.forget();
        let media = self.media.as_ref().expect("a call");
        tokio::join!(self.phone.hears_tone(TALKS), media.hears(ANSWERS));
    }

    /// Asks for something that the frozen instance finds later.
    fn asks_in_vain(&mut self) {
        let request = match self.state {
            State::Talking | State::Resuming | State::RingingOut => {
                json!({ "method": "hang_up", "call_id": self.call })
            }
            State::RingingIn => json!({ "method": "reject_call", "call_id": self.call }),
            State::Idle => return,
        };
        self.browser.send(&json!({ "kind": "request", "id": "late", "request": request }));
    }

    /// At the other instance, once the balancer has given up this one.
    async fn moves(mut self, cluster: &Cluster) -> Self {
        assert_eq!(self.browser.closed().await, Closed(4503, "silent".to_owned()), "{:?}", self.state);
        let action = if self.state == State::Resuming { "resume" } else { "hang_up" };
        let dead = match self.state {
            State::Idle => json!([]),
            _ => json!([{ "call_id": self.call, "action": action }]),
        };
        self.browser = self.browser.take_over(cluster, 1, &dead).await;
        assert_eq!(self.browser.instance(), "gw-1");
        match self.state {
            State::Idle => self.browser.until_available().await,
            State::Talking => self.is_hung_up("BYE").await,
            State::RingingOut => self.is_hung_up("CANCEL").await,
            State::Resuming => self.resumes().await,
            State::RingingIn => self.answers().await,
        }
        self
    }

    async fn is_hung_up(&mut self, method: &str) {
        let request = self.phone.hears(method).await;
        self.phone.line.out.send(Message::response(&request, 200, "phone"));
        if let Some(invite) = self.ringing.take() {
            self.phone.line.out.send(Message::response(&invite, 487, "phone"));
        }
        self.media = None;
    }

    async fn resumes(&mut self) {
        let back = tokio::select! {
            back = self.browser.event("incoming_call") => back,
            () = self.phone.serves(2 * PATIENCE) => panic!("the call does not come back"),
        };
        assert_eq!(back["call"]["replaces"], "c1");
        self.call = id_of(&back);
        let (media, _) = tokio::join!(self.browser.answer(&self.call, TALKS), self.phone.answers());
        self.media = Some(media);
        self.hear_each_other().await;
    }

    async fn answers(&mut self) {
        self.call = self.rings().await;
        self.answers_in_place().await;
    }

    /// Where it is, as if nothing had been.
    async fn stays(mut self) -> Self {
        match self.state {
            State::Idle => {}
            State::Talking | State::Resuming => self.hear_each_other().await,
            State::RingingIn => self.answers_in_place().await,
            State::RingingOut => {
                let invite = self.ringing.take().expect("it rings");
                self.phone.picks_up(&invite).await;
                self.browser.state("c1", "active").await;
                self.hear_each_other().await;
            }
        }
        self
    }

    async fn answers_in_place(&mut self) {
        let (media, ()) = tokio::join!(self.browser.answer(&self.call, TALKS), self.phone.is_answered());
        self.media = Some(media);
        self.hear_each_other().await;
    }

    /// Whoever talks still does, and everybody else can be called.
    async fn ends(mut self, cluster: &Cluster) -> Row {
        if self.media.is_some() {
            self.hear_each_other().await;
        }
        let bindings = cluster.bindings(&self.name).await;
        let heard = self.phone.line.log.all();
        if self.media.is_none() {
            self.is_called().await;
        }
        Row { state: self.state, instance: self.browser.instance().to_owned(), bindings, heard }
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

/// How many users the balancer cuts off by some moment.
async fn cut_off(users: &[User], until: Instant) -> usize {
    let count = || users.iter().filter(|user| user.browser.is_cut()).count();
    while Instant::now() < until && count() < users.len() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    count()
}

/// What became of everybody; `None` when a machine that gives nobody the CPU for a while made the freeze a shorter one or a
/// longer one for the balancer.
async fn freeze(server: Server, span: Duration) -> Option<Vec<Row>> {
    let cluster = Cluster::behind_a_balancer(server);
    let moves = span > Duration::from_millis(400);
    let mut users = join_all(STATES.map(|state| User::ready(&cluster, state))).await;
    // Reads what the sockets hold, the newest capsules above all.
    users.iter_mut().for_each(|user| drop(user.browser.waiting()));
    let old = cluster.bindings(&users[0].name).await;
    let frozen = Instant::now();
    cluster.instance(0).freeze();
    let thaw = async {
        tokio::time::sleep_until((frozen + span).into()).await;
        cluster.instance(0).thaw();
        Instant::now()
    };
    let (users, thawed) = if moves {
        users.iter_mut().for_each(User::asks_in_vain);
        if cut_off(&users, frozen + span).await < users.len() {
            cluster.instance(0).thaw();
            return None;
        }
        tokio::join!(join_all(users.into_iter().map(|user| user.moves(&cluster))), thaw)
    } else {
        let thawed = thaw.await;
        if cut_off(&users, thawed + VERDICT).await > 0 {
            return None;
        }
        (join_all(users.into_iter().map(User::stays)).await, thawed)
    };
    let listens = join_all(users.into_iter().map(async |mut user| {
        user.phone.serves((thawed + AFTER).saturating_duration_since(Instant::now())).await;
        user
    }));
    let rows = join_all(listens.await.into_iter().map(|user| user.ends(&cluster))).await;
    tell(span, thawed, &old[0], &rows);
    let home = &rows[0].bindings;
    assert_eq!((home.len(), *home != old), (1, moves));
    for row in &rows {
        assert_eq!(row.bindings, *home, "{span:?}, {:?}", row.state);
        assert_eq!(row.instance, format!("gw-{}", usize::from(moves)));
        let late = late(row, thawed, &old[0]);
        assert!(!moves || late.is_empty(), "{span:?}, {:?}: the thawed instance said {late:?}", row.state);
        let answers = usize::from(row.state == State::RingingIn);
        assert_eq!(row.heard.iter().filter(|heard| heard.what == "200").count(), answers);
    }
    Some(rows)
}

/// What an instance said from some moment on.
fn late<'a>(row: &'a Row, since: Instant, from: &str) -> Vec<&'a str> {
    let late = row.heard.iter().filter(|heard| heard.at > since && heard.from == from);
    late.map(|heard| heard.what.as_str()).collect()
}

fn tell(span: Duration, thawed: Instant, frozen: &str, rows: &[Row]) {
    for row in rows {
        let said = |by_it: bool| {
            let heard = row.heard.iter().filter(|heard| (heard.from == frozen) == by_it);
            heard.map(|heard| heard.what.as_str()).collect::<Vec<_>>().join(" ")
        };
        println!(
            "{:>5} s | {:<10} | {} | {} | {:<22} | {:<25} | {}",
            span.as_secs_f64(),
            format!("{:?}", row.state),
            row.instance,
            row.bindings.join(" "),
            said(true),
            said(false),
            late(row, thawed, frozen).join(" ")
        );
    }
}

async fn freezes(server: impl AsyncFn() -> Server, span: Duration) {
    for _ in 0..TRIES {
        if freeze(server().await, span).await.is_some() {
            return;
        }
        println!("a freeze of {span:?} lasted longer or shorter on this machine");
    }
    panic!("{span:?}: the balancer does not do as it should, {TRIES} times");
}

async fn kamailio() -> Server {
    if kamailio::is_installed() { Server::Kamailio(Kamailio::start().await) } else { Server::own() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_it_finds_in_its_sockets() {
    println!(
        "freeze | user | instance | bound at | said by the frozen | said by the other | said after the thaw by the frozen"
    );
    let own = async || Server::own();
    tokio::join!(
        freezes(own, Duration::from_millis(300)),
        freezes(own, Duration::from_secs(1)),
        freezes(kamailio, Duration::from_secs(5)),
        freezes(own, Duration::from_secs(31))
    );
}
