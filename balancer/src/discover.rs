//! Which instances exist: the fixed ones of `--instance`, and those behind the name of `--discover`.
//!
//! A name's answer is membership, never health: what it leaves out is kept by the pool for as long as it answers, and no answer
//! at all changes nothing.

use balancer_core::Endpoint;
use std::{collections::BTreeSet, str::FromStr, time::Duration};
use tokio::{
    net::lookup_host,
    sync::watch,
    time::{MissedTickBehavior, timeout},
};

/// The name is asked as often as the instances are. Records' own lifetimes are ignored: Docker gives 600 s to answers that change in 0.3 s.
const INTERVAL: Duration = Duration::from_millis(100);
/// An answer is not waited for longer: the resolver itself waits for seconds when a packet is lost, and Docker's passes a name
/// without instances on to servers that may never answer.
const LIMIT: Duration = Duration::from_secs(1);
/// More addresses than this are not looked at.
const MAX_INSTANCES: usize = 1000;

/// `dns://name:8180?admin=9180`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName {
    name: String,
    http_port: u16,
    admin_port: u16,
}

impl FromStr for DnsName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or("dns://NAME:PORT?admin=PORT is allowed")
    }
}

fn parse(text: &str) -> Option<DnsName> {
    let (authority, admin_port) = text.strip_prefix("dns://")?.split_once("?admin=")?;
    let (name, http_port) = authority.rsplit_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    is_name.then_some(DnsName {
        name: name.to_owned(),
        http_port: http_port.parse().ok()?,
        admin_port: admin_port.parse().ok()?,
    })
}

impl DnsName {
    /// Its endpoints now, or `None` if the name can't be resolved.
    async fn resolve(&self) -> Option<BTreeSet<Endpoint>> {
        let addresses = timeout(LIMIT, lookup_host((self.name.as_str(), self.http_port))).await.ok()?.ok()?;
        Some(
            addresses
                .take(MAX_INSTANCES)
                .map(|http| Endpoint { http, admin: (http.ip(), self.admin_port).into() })
                .collect(),
        )
    }
}

/// Tells `found` of every change, for ever.
pub(crate) async fn watch(fixed: Vec<Endpoint>, name: DnsName, found: watch::Sender<Vec<Endpoint>>) {
    follow(&fixed, &name.name, found, async || name.resolve().await).await;
}

async fn follow(
    fixed: &[Endpoint],
    name: &str,
    found: watch::Sender<Vec<Endpoint>>,
    resolve: impl AsyncFn() -> Option<BTreeSet<Endpoint>>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut resolves = true;
    loop {
        ticks.tick().await;
        let answer = resolve().await;
        if answer.is_some() != resolves {
            resolves = answer.is_some();
            tracing::warn!(name, resolves, "the name of the instances; those known stay while they answer");
        }
        let Some(resolved) = answer else { continue };
        let all: Vec<_> = fixed.iter().copied().chain(resolved).collect();
        found.send_if_modified(|now| {
            let changed = *now != all;
            *now = all;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, collections::VecDeque};
    use tokio::time::Instant;

    #[test]
    fn a_name_has_two_ports() {
        let name: DnsName = "dns://gateway:8180?admin=9180".parse().expect("valid");
        assert_eq!(name, DnsName { name: "gateway".to_owned(), http_port: 8180, admin_port: 9180 });
        for wrong in
            ["gateway:8180", "dns://gateway?admin=1", "dns://gateway:8180", "dns://:1?admin=2", "dns://a/b:1?admin=2"]
        {
            assert!(wrong.parse::<DnsName>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_are_endpoints() {
        let name: DnsName = "dns://localhost:8180?admin=9180".parse().expect("valid");
        let found = name.resolve().await.expect("localhost is known");
        assert!(found.iter().any(|at| at.http.to_string() == "127.0.0.1:8180" && at.admin.port() == 9180));
    }

    fn endpoint(last: u8) -> Endpoint {
        Endpoint { http: ([192, 0, 2, last], 8180).into(), admin: ([192, 0, 2, last], 9180).into() }
    }

    /// What is told, and when, while the name's answers are these; `None` is NXDOMAIN. The last answer stays.
    async fn told(fixed: &[u8], answers: &[Option<&[u8]>]) -> Vec<(u128, Vec<Endpoint>)> {
        let fixed: Vec<_> = fixed.iter().copied().map(endpoint).collect();
        let (found, mut changes) = watch::channel(fixed.clone());
        let left: RefCell<VecDeque<_>> = RefCell::new(answers.iter().copied().collect());
        let next = async || {
            let mut left = left.borrow_mut();
            let answer = if left.len() > 1 { left.pop_front()? } else { left.front().copied()? };
            answer.map(|lasts| lasts.iter().copied().map(endpoint).collect())
        };
        let (start, mut told) = (Instant::now(), Vec::new());
        let listen = async {
            while changes.changed().await.is_ok() {
                told.push((start.elapsed().as_millis(), changes.borrow_and_update().clone()));
            }
        };
        let watched = async { tokio::join!(follow(&fixed, "gateway", found, next), listen) };
        assert!(timeout(INTERVAL * 20, watched).await.is_err(), "it watches for ever");
        told
    }

    fn endpoints(lasts: &[u8]) -> Vec<Endpoint> {
        lasts.iter().copied().map(endpoint).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_by_the_next_answer_whatever_the_lifetime_of_the_last() {
        let told = told(&[], &[Some(&[1, 2, 3]), Some(&[1, 2, 3]), Some(&[3, 1, 2, 5, 4])]).await;
        assert_eq!(told, [(0, endpoints(&[1, 2, 3])), (200, endpoints(&[1, 2, 3, 4, 5]))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_gone_changes_nothing() {
        let told = told(&[], &[Some(&[1, 2]), None, None, Some(&[2, 1]), None]).await;
        assert_eq!(told, [(0, endpoints(&[1, 2]))]);
    }

    #[tokio::test(start_paused = true)]
    async fn fixed_instances_stay_beside_those_of_the_name() {
        let told = told(&[9], &[None, Some(&[1]), Some(&[2])]).await;
        assert_eq!(told, [(100, endpoints(&[9, 1])), (200, endpoints(&[9, 2]))]);
    }
}
