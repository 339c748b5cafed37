//! Gateways in this process, at one SIP server over TLS.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gateway::{Args, Gateway};
use std::net::SocketAddr;
use std::path::Path;

pub(crate) struct Cluster {
    gateways: Vec<Gateway>,
    _files: tempfile::TempDir,
}

impl Cluster {
    /// Instances that believe this authority, and a certificate for `domain` alone.
    pub(crate) fn start(instances: usize, server: SocketAddr, authority: &Path, domain: &str) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let keys = files.path().join("cluster.keys");
        std::fs::write(&keys, STANDARD.encode([7; 32])).expect("written");
        let (keys, authority) = (keys.display().to_string(), authority.display().to_string());
        let server = format!("sip:{server};transport=tls");
        let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
        let flags = ["--auth", "anonymous", "--cluster-key-file", &keys, "--media-threads", "1"];
        let sip = ["--sip-domain", domain, "--sip-allow", "*", "--sip-registrar", &server, "--sip-tls-ca", &authority];
        let all: Vec<&str> = ["gateway"].into_iter().chain(flags).chain(sip).chain(ports).collect();
        let start = |_| Gateway::start(Args::parse_from(&all)).expect("it starts");
        Self { gateways: (0..instances).map(start).collect(), _files: files }
    }

    pub(crate) fn public(&self, index: usize) -> SocketAddr {
        self.gateways[index].public()
    }
}
