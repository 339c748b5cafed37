//! Many users without calls: each has its tab, and what it is told goes into one book.

use crate::browser::Browser;
use crate::cluster::Cluster;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// So many sign in at a time.
const AT_ONCE: usize = 16;

pub(crate) struct Crowd {
    pub(crate) users: usize,
    told: mpsc::UnboundedReceiver<(usize, Instant, Value)>,
    /// A user whose socket ends panics.
    tasks: JoinSet<()>,
}

/// When each user was told something for the first and the last time.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Crowd {
    pub(crate) async fn join(cluster: &Arc<Cluster>, users: usize) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (room, mut joining) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for user in 0..users {
            let (cluster, room) = (cluster.clone(), room.clone());
            joining.spawn(async move {
                let _place = room.acquire_owned().await.expect("never closed");
                (user, Browser::join(&cluster, 0, &format!("user-{user}")).await)
            });
        }
        let mut tasks = JoinSet::new();
        while let Some(joined) = joining.join_next().await {
            let (user, browser) = joined.expect("every user signs in");
            tasks.spawn(listen(user, browser, tell.clone()));
        }
        Self { users, told, tasks }
    }

    /// Waits until everybody was told that there are calls, or none; how long after `since`.
    pub(crate) async fn all(&mut self, available: bool, since: Instant) -> Told {
        let mut missing: Vec<bool> = vec![true; self.users];
        let (mut first, mut last) = (None, Duration::ZERO);
        let hear = async {
            while missing.contains(&true) {
                let (user, at, service) = self.told.recv().await.expect("users live");
                if service["available"] == available {
                    missing[user] = false;
                    last = at - since;
                    first.get_or_insert(last);
                }
            }
        };
        let heard = tokio::time::timeout(crate::browser::PATIENCE * 2, hear).await;
        let count = missing.iter().filter(|missing| **missing).count();
        assert!(heard.is_ok(), "{count} users were not told that calls are {available}");
        Told { first: first.unwrap_or_default(), last }
    }

    /// Nobody was signed out or told anything since.
    pub(crate) fn is_at_rest(&mut self) -> bool {
        self.told.try_recv().is_err() && self.tasks.try_join_next().is_none() && self.tasks.len() == self.users
    }
}

async fn listen(user: usize, mut browser: Browser, tell: mpsc::UnboundedSender<(usize, Instant, Value)>) {
    loop {
        let event = browser.event_whenever("service", &mut Vec::new()).await;
        if tell.send((user, Instant::now(), event["service"].clone())).is_err() {
            return;
        }
    }
}
