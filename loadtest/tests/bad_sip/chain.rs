//! One instance under test and the tap between it and its SIP server.

use crate::client::{Answer, request};
use crate::cluster::DOMAIN;
use crate::tap::Tap;
use clap::Parser;
use gateway::{Args, Gateway};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

/// Calls that a user starts in a minute.
pub(crate) const CALLS_PER_MINUTE: u32 = 20;
/// Whom users may call.
const ALLOWED: [&str; 4] = ["phone*", "far*", "nobody", "+49*"];

pub(crate) struct Chain {
    /// Where clients go: no balancer stands before the instance.
    pub(crate) balancer: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) tap: Tap,
}

impl Chain {
    pub(crate) fn start(tap: Tap, files: &Path, rtp_ports: &str) -> Self {
        let keys = files.join("cluster.keys").display().to_string();
        let passwords = files.join("passwords").display().to_string();
        let id = format!("gw-{}", tap.transport);
        let server = format!("sip:{};transport={}", tap.address, tap.transport);
        let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
        let flags = ["--auth", "anonymous", "--cluster-key-file", &keys, "--instance-id", &id, "--media-threads", "1"];
        let sip = ["--sip-registrar", &server, "--sip-domain", DOMAIN, "--sip-credentials-file", &passwords];
        let allowed = ALLOWED.into_iter().flat_map(|pattern| ["--sip-allow", pattern]);
        let rtp = ["--rtp-ports", rtp_ports];
        let args = ["gateway"].into_iter().chain(flags).chain(sip).chain(allowed).chain(rtp).chain(ports);
        let args = Args::parse_from(args);
        let mut limits = args.limits();
        limits.calls_per_minute = CALLS_PER_MINUTE;
        let gateway = Gateway::start_limited(args, limits).expect("the gateway starts");
        Self { balancer: gateway.public(), gateway, tap }
    }

    /// A 201.
    pub(crate) async fn signed_in(&self, user: &str, client_id: &str) -> Answer {
        let body = json!({ "user": user, "client_id": client_id });
        let answer = request(self.balancer, "POST", "/v1/sessions", &[], &body.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// A counter of the instance, its labels included.
    pub(crate) async fn counts(&self, line: &str) -> u64 {
        value(&self.figures().await, line)
    }

    pub(crate) async fn figures(&self) -> String {
        request(self.gateway.private(), "GET", "/metrics", &[], "").await.text
    }
}

/// Of a counter in the text of the metrics. One with a label is there from its first increment on.
pub(crate) fn value(text: &str, line: &str) -> u64 {
    text.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0)
}
