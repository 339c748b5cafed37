//! Gateways in this process, and crowds for them.

use clap::Parser;
use gateway::{Args, Gateway};
use loadtest::crowd::{Crowd, Load};
use loadtest::http::{Ask, Base, Browser};
use loadtest::report::Report;
use std::time::Duration;

/// What comes, comes within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Gateways that share their keys; each knows the others as `alternates`, so that its users find them without a balancer.
pub(crate) fn gateways(count: usize) -> (Vec<Gateway>, tempfile::TempDir) {
    gateways_with(count, &[])
}

/// [`gateways`] with more flags.
pub(crate) fn gateways_with(count: usize, more: &[&str]) -> (Vec<Gateway>, tempfile::TempDir) {
    let files = tempfile::tempdir().expect("a folder");
    let keys = files.path().join("cluster.keys");
    std::fs::write(&keys, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").expect("written");
    let keys = keys.display().to_string();
    let start = |index: usize| {
        let name = format!("gw-{index}");
        let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
        let flags =
            ["--auth", "anonymous", "--media-threads", "1", "--cluster-key-file", &keys, "--instance-id", &name];
        let args = Args::parse_from(["gateway"].into_iter().chain(flags).chain(ports).chain(more.iter().copied()));
        Gateway::start(args).expect("the gateway starts")
    };
    ((0..count).map(start).collect(), files)
}

pub(crate) fn load(gateways: &[Gateway], users: u32) -> Load {
    let targets = gateways.iter().map(|gateway| format!("http://{}", gateway.public())).collect();
    Load { users, rate: 100.0, ..Load::quiet(targets) }
}

pub(crate) async fn figures(crowd: Crowd) -> Report {
    let mut report = Report::default();
    crowd.finish().await.fill(&mut report);
    report
}

pub(crate) async fn drain(gateway: &Gateway) {
    let base = Base::parse(&format!("http://{}", gateway.private())).expect("a base");
    let headers = vec![("holdfast-admin", "1".to_owned())];
    let ask = Ask { method: "POST", path: "/drain".to_owned(), headers, body: Vec::new() };
    let answer = Browser::new().ask(&base, &ask).await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
}
