use crate::browser::until;
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::kamailio::{self, Kamailio};
use crate::tap::Tap;
use std::sync::Arc;
use std::time::Duration;

const USERS: usize = 200;
/// A second, at a server that is back.
const RATE: f64 = 2_000.0;

/// How long it takes from the first REGISTER to the last.
async fn return_of(server: &mut Kamailio, tap: &Tap) -> Duration {
    server.kill();
    tap.take();
    server.restart().await;
    let mut registers = Vec::new();
    until("as many REGISTERs", || {
        registers.extend(tap.take());
        registers.len() >= USERS
    })
    .await;
    let span = registers[USERS - 1] - registers[0];
    let rate = USERS as f64 / span.as_secs_f64();
    println!("{USERS} users came back to their first server within {span:.0?}: {rate:.0} a second");
    span
}

#[tokio::test]
async fn to_a_server_that_is_back_beside_a_warm_one() {
    if !kamailio::is_installed() {
        return;
    }
    let mut servers = Kamailio::pair().await;
    let tap = Tap::before(servers[0].address).await;
    let cluster = Arc::new(Cluster::start(1, &[tap.address, servers[1].address]));
    let mut crowd = Crowd::join(&cluster, USERS).await;
    until("everybody at both", || servers.iter().all(|server| server.knows(&format!("user-{}", USERS - 1)))).await;
    // What comes late on a busy machine comes together; not every time.
    let mut pace = Duration::ZERO;
    for _ in 0..3 {
        pace = pace.max(return_of(&mut servers[0], &tap).await);
    }
    assert!(pace.as_secs_f64() > USERS as f64 / RATE / 4.0, "{pace:?}");
    until("everybody at the first again", || servers[0].knows(&format!("user-{}", USERS - 1))).await;
    assert!(crowd.is_at_rest(), "the second served everybody, so nobody was told");
}
