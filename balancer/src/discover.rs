//! Which instances exist: the fixed ones of `--instance`, and those behind the name of `--discover`.

use balancer_core::Endpoint;
use std::{collections::BTreeSet, str::FromStr, time::Duration};
use tokio::{net::lookup_host, sync::watch, time::timeout};

/// The name is asked this often. Records' own lifetimes are ignored: Docker gives 600 s to answers that change in 0.3 s.
const INTERVAL: Duration = Duration::from_secs(1);
/// An answer is not waited for longer.
const LIMIT: Duration = Duration::from_secs(5);
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

/// Tells `found` of every change, for ever. A name that can't be resolved changes nothing: the instances are most likely still
/// there, and the pool keeps those whose checks pass.
pub(crate) async fn watch(fixed: Vec<Endpoint>, name: DnsName, found: watch::Sender<Vec<Endpoint>>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let Some(resolved) = name.resolve().await else {
            tracing::debug!(name = %name.name, "the name of the instances can't be resolved");
            continue;
        };
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
}
