//! An instance stands still for 0.3, 1, 5 and 31 s under a user who is idle, two who talk, one who is called and one who calls.
//! Behind the balancer 0.3 s moves nobody. Beyond that all go on at the other instance, and the thawed one, which finds their
//! requests in its sockets, says nothing to anybody.

use crate::browser::Closed;
use crate::cluster::{Cluster, Server};
use crate::kamailio::{self, Kamailio};
use crate::line::Heard;
use crate::user::{State, User};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// From the thaw on the SIP side is listened to for so long: beyond both looks at a binding after a takeover.
const AFTER: Duration = Duration::from_secs(8);
/// After this the balancer says no more of a freeze that is over.
const VERDICT: Duration = Duration::from_millis(500);
const TRIES: usize = 5;
const STATES: [State; 5] = [State::Idle, State::Talking, State::Resuming, State::RingingIn, State::RingingOut];

/// What became of a user.
struct Row {
    state: State,
    instance: String,
    bindings: Vec<String>,
    heard: Vec<Heard>,
    answered_by: BTreeSet<String>,
}

/// Whoever talks still does, and everybody else can be called.
async fn ends(mut user: User, cluster: &Cluster) -> Row {
    if user.is_talking() {
        user.hear_each_other().await;
    }
    let bindings = cluster.bindings(&user.name).await;
    let (heard, answered_by) = (user.phone.line.log.all(), user.phone.line.log.answered_by());
    if !user.is_talking() {
        user.is_called().await;
    }
    Row { state: user.state, instance: user.browser.instance().to_owned(), bindings, heard, answered_by }
}

/// At the other instance, once the balancer has given up this one.
async fn moved(mut user: User, cluster: &Cluster) -> User {
    assert_eq!(user.re_enters(cluster, 1).await, Closed(4503, "silent".to_owned()), "{:?}", user.state);
    user.goes_on().await;
    user
}

async fn stays(mut user: User) -> User {
    user.stays().await;
    user
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
        tokio::join!(join_all(users.into_iter().map(|user| moved(user, &cluster))), thaw)
    } else {
        let thawed = thaw.await;
        if cut_off(&users, thawed + VERDICT).await > 0 {
            return None;
        }
        (join_all(users.into_iter().map(stays)).await, thawed)
    };
    let listens = join_all(users.into_iter().map(async |mut user| {
        user.phone.serves((thawed + AFTER).saturating_duration_since(Instant::now())).await;
        user
    }));
    let rows = join_all(listens.await.into_iter().map(|user| ends(user, &cluster))).await;
    tell(span, thawed, &old[0], &rows);
    let home = &rows[0].bindings;
    assert_eq!((home.len(), *home != old), (1, moves));
    for row in &rows {
        assert_eq!(row.bindings, *home, "{span:?}, {:?}", row.state);
        assert_eq!(row.instance, format!("gw-{}", usize::from(moves)));
        let late = late(row, thawed, &old[0]);
        assert!(!moves || late.is_empty(), "{span:?}, {:?}: the thawed instance said {late:?}", row.state);
        let home = home.iter().filter(|_| row.state == State::RingingIn);
        assert_eq!(row.answered_by, home.cloned().collect(), "{span:?}, {:?}", row.state);
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
