//! What client, far side and SIP server see of an instance that is killed, by what each user was doing.

use crate::cluster::{Cluster, Server};
use crate::user::{State, User};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

const STATES: [State; 6] =
    [State::Idle, State::RingingIn, State::RingingOut, State::Talking, State::Resuming, State::Holding];
/// Beyond this nobody says anything any more.
const AFTER: Duration = Duration::from_secs(2);

/// What all see, from the kill on.
struct Seen {
    user: User,
    /// The user's only binding is that of another instance.
    bound: Instant,
}

async fn until_bound_elsewhere(cluster: &Cluster, name: &str, old: &[String]) -> Instant {
    loop {
        let now = cluster.bindings(name).await;
        if now.len() == 1 && now != old {
            return Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn moves(mut user: User, cluster: &Cluster, old: &[String], home: usize) -> Seen {
    let name = user.name.clone();
    let going = async {
        user.re_enters(cluster, home).await;
        user.goes_on().await;
    };
    let (bound, ()) = tokio::join!(until_bound_elsewhere(cluster, &name, old), going);
    user.phone.serves(AFTER).await;
    Seen { user, bound }
}

fn tell(what: &str, killed: Instant, seen: &[Seen]) {
    println!("{what}, ms | client | far side | bound");
    let ms = |at: Instant| at.saturating_duration_since(killed).as_millis();
    for Seen { user, bound } in seen {
        let client: Vec<_> = user.told.iter().map(|(what, at)| format!("{what} {}", ms(*at))).collect();
        let far = user.phone.line.log.all();
        let far: Vec<_> = far
            .iter()
            .filter(|heard| heard.at > killed)
            .map(|heard| format!("{} {}", heard.what, ms(heard.at)))
            .collect();
        println!("{:?} | {} | {} | {}", user.state, client.join(", "), far.join(", "), ms(*bound));
    }
}

/// What the far side of a user in this state hears, but for answers to its own INVITE.
fn expected(state: State) -> &'static [&'static str] {
    match state {
        State::Idle | State::RingingIn => &[],
        State::RingingOut => &["ACK", "BYE", "CANCEL"],
        State::Talking => &["BYE"],
        State::Resuming => &["ACK", "INVITE", "OPTIONS"],
        State::Holding => &["ACK", "ACK", "INVITE", "INVITE", "OPTIONS"],
    }
}

fn check(killed: Instant, seen: &mut Seen) {
    let user = &mut seen.user;
    let heard = user.phone.line.log.all();
    let late = heard.iter().filter(|heard| heard.at > killed).map(|heard| heard.what.as_str());
    let mut asked: Vec<_> = late.filter(|what| what.parse::<u16>().is_err()).collect();
    asked.sort_unstable();
    assert_eq!(asked, expected(user.state), "{:?}", user.state);
    assert_eq!(
        user.phone.line.log.answered_by().len(),
        usize::from(user.state == State::RingingIn),
        "{:?}",
        user.state
    );
    let again = user.browser.waiting().into_iter().filter(|event| event["type"] == "session_recovered").count();
    assert!(again <= 1, "{:?} is told of its loss once", user.state);
}

/// That everything was asked for at most twice, and answered once.
fn check_twice(killed: Instant, seen: &Seen) {
    let (state, heard) = (seen.user.state, seen.user.phone.line.log.all());
    let late: Vec<_> = heard.iter().filter(|heard| heard.at > killed).map(|heard| heard.what.as_str()).collect();
    let asked = |what: &str| late.iter().filter(|one| **one == what).count();
    for what in expected(state) {
        assert!(asked(what) >= 1, "{state:?}: no {what} in {late:?}");
    }
    let most = |what| 2 * expected(state).iter().filter(|one| **one == what).count();
    for what in ["BYE", "CANCEL", "OPTIONS", "INVITE"] {
        assert!(asked(what) <= most(what), "{state:?}: {late:?}");
    }
    let answered_by = seen.user.phone.line.log.answered_by();
    assert_eq!(answered_by.len(), usize::from(state == State::RingingIn), "{state:?}: {late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_its_users_do() {
    let mut cluster = Cluster::behind_a_balancer(Server::own());
    let users = join_all(STATES.map(|state| User::ready(&cluster, state))).await;
    let old = cluster.bindings(&users[0].name).await;
    let killed = Instant::now();
    cluster.kill(0);
    let mut seen = join_all(users.into_iter().map(|user| moves(user, &cluster, &old, 1))).await;
    tell("killed", killed, &seen);
    seen.iter_mut().for_each(|seen| check(killed, seen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_when_the_next_one_is_killed_while_they_re_enter() {
    let mut cluster = Cluster::start(3, &[]);
    let mut users = join_all(STATES.map(|state| User::ready(&cluster, state))).await;
    let killed = Instant::now();
    cluster.kill(0);
    join_all(users.iter_mut().map(|user| user.re_enters(&cluster, 1))).await;
    let old = cluster.bindings(&users[0].name).await;
    println!("the other is killed after {:?}", killed.elapsed());
    cluster.kill(1);
    let seen = join_all(users.into_iter().map(|user| moves(user, &cluster, &old, 2))).await;
    tell("killed again", killed, &seen);
    seen.iter().for_each(|seen| check_twice(killed, seen));
}
