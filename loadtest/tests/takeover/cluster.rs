//! Instances as processes, and in this process the registrar that they share.

use crate::process::Process;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gateway::registrar::{RegistrarArgs, RegistrarServer};
use gateway_core::sip::Transport;
use std::net::SocketAddr;

pub(crate) const DOMAIN: &str = "example.org";

pub(crate) struct Cluster {
    pub(crate) registrar: SocketAddr,
    instances: Vec<Process>,
    flags: Vec<Vec<String>>,
    _server: RegistrarServer,
    _files: tempfile::TempDir,
}

impl Cluster {
    /// So many instances with further flags.
    pub(crate) fn start(instances: usize, extra: &[&str]) -> Self {
        let listen = ["--sip-listen", "sip:127.0.0.1:0;transport=tcp", "--sip-domain", DOMAIN];
        let args = RegistrarArgs::parse_from(["registrar"].into_iter().chain(listen));
        let server = RegistrarServer::start(&args).expect("the registrar starts");
        let registrar = server.local(Transport::Tcp).expect("it listens");
        let files = tempfile::tempdir().expect("a folder");
        let keys = files.path().join("cluster.keys");
        std::fs::write(&keys, STANDARD.encode([7; 32])).expect("written");
        let keys = keys.display().to_string();
        let flags: Vec<_> = (0..instances).map(|index| flags(index, registrar, &keys, extra)).collect();
        let instances = flags.iter().map(|flags| Process::start(flags)).collect();
        Self { registrar, instances, flags, _server: server, _files: files }
    }

    pub(crate) fn public(&self, index: usize) -> SocketAddr {
        self.instances[index].public
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.instances[index].kill();
    }

    /// The same again, with other ports.
    pub(crate) fn restart(&mut self, index: usize) {
        self.instances[index] = Process::start(&self.flags[index]);
    }
}

fn flags(index: usize, registrar: SocketAddr, keys: &str, extra: &[&str]) -> Vec<String> {
    let (id, server) = (format!("gw-{index}"), format!("sip:{registrar};transport=tcp"));
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags = ["--auth", "anonymous", "--cluster-key-file", keys, "--instance-id", &id, "--media-threads", "1"];
    let sip = ["--sip-registrar", &server, "--sip-domain", DOMAIN, "--sip-allow", "*"];
    flags.into_iter().chain(sip).chain(ports).chain(extra.iter().copied()).map(str::to_owned).collect()
}
