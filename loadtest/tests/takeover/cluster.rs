//! Instances as processes, and the SIP server and balancer that they share.

use crate::balancer::Balancer;
use crate::kamailio::{self, Kamailio};
use crate::process::Process;
use balancer_core::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use gateway::registrar::{RegistrarArgs, RegistrarServer};
use gateway_core::sip::Transport;
use holdfast_config::ClusterKeys;
use loadtest::sip_phone::line::Line;
use loadtest::sip_phone::message::Message;
use std::net::SocketAddr;

pub(crate) const DOMAIN: &str = "example.org";

/// Where users are registered.
pub(crate) enum Server {
    /// `gateway registrar`, in this process.
    Own(RegistrarServer),
    Kamailio(Kamailio),
}

pub(crate) struct Cluster {
    pub(crate) registrar: SocketAddr,
    instances: Vec<Process>,
    flags: Vec<Vec<String>>,
    front: Option<Balancer>,
    _server: Server,
    _files: tempfile::TempDir,
}

impl Server {
    pub(crate) fn own() -> Self {
        let listen = ["--sip-listen", "sip:127.0.0.1:0;transport=tcp", "--sip-domain", DOMAIN];
        let args = RegistrarArgs::parse_from(["registrar"].into_iter().chain(listen));
        Self::Own(RegistrarServer::start(&args).expect("the registrar starts"))
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Own(server) => server.local(Transport::Tcp).expect("it listens"),
            Self::Kamailio(server) => server.address,
        }
    }
}

impl Cluster {
    /// So many instances with further flags, each reached by itself.
    pub(crate) fn start(instances: usize, extra: &[&str]) -> Self {
        Self::start_with(Server::own(), instances, extra)
    }

    /// So many at this SIP server, each reached by itself, with RTP ports that no other test uses.
    pub(crate) fn at(server: Server, instances: usize) -> Self {
        Self::start_with(server, instances, &["--sip-listen", &own_address()])
    }

    /// Two instances behind a balancer, with RTP ports that no other test uses.
    pub(crate) fn behind_a_balancer(server: Server) -> Self {
        let mut cluster = Self::at(server, 2);
        let endpoint = |instance: &Process| Endpoint { http: instance.public, admin: instance.private };
        let keys = ClusterKeys::parse(&key()).expect("a key");
        cluster.front = Some(Balancer::start(cluster.instances.iter().map(endpoint).collect(), &keys));
        cluster
    }

    fn start_with(server: Server, instances: usize, extra: &[&str]) -> Self {
        let registrar = server.address();
        let files = tempfile::tempdir().expect("a folder");
        let keys = files.path().join("cluster.keys");
        std::fs::write(&keys, key()).expect("written");
        let keys = keys.display().to_string();
        let flags: Vec<_> = (0..instances).map(|index| flags(index, registrar, &keys, extra)).collect();
        let instances = flags.iter().map(|flags| Process::start(flags)).collect();
        Self { registrar, instances, flags, front: None, _server: server, _files: files }
    }

    /// Where an instance is reached; with a balancer, where all are.
    pub(crate) fn public(&self, index: usize) -> SocketAddr {
        self.front.as_ref().map_or_else(|| self.instances[index].public, |front| front.address)
    }

    pub(crate) fn instance(&self, index: usize) -> &Process {
        &self.instances[index]
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.instances[index].kill();
    }

    /// The same again, with other ports.
    pub(crate) fn restart(&mut self, index: usize) {
        self.instances[index] = Process::start(&self.flags[index]);
    }

    /// Where the SIP server reaches a user: hosts and ports.
    pub(crate) async fn bindings(&self, user: &str) -> Vec<String> {
        let mut line = Line::connect(self.registrar).await.expect("it listens");
        let address = format!("<sip:{user}@{DOMAIN}>");
        let query = Message::request("REGISTER", &format!("sip:{DOMAIN}"))
            .with("Via", line.out.via("query"))
            .with("Max-Forwards", "70")
            .with("From", format!("{address};tag=query"))
            .with("To", address)
            .with("Call-ID", format!("query-{}", line.out.local))
            .with("CSeq", "1 REGISTER");
        line.out.send(query);
        let answer = line.next().await.expect("an answer");
        assert_eq!(answer.status(), Some(200));
        let contacts = answer.headers.iter().filter(|(name, _)| name == "Contact");
        contacts.flat_map(|(_, value)| value.split(',')).map(place).collect()
    }
}

/// Host and port of a URI, or of a Via's sent-by.
pub(crate) fn place(text: &str) -> String {
    let text = text.split_once('@').map_or(text, |(_, rest)| rest);
    text.split([';', '>']).next().unwrap_or_default().to_owned()
}

fn own_address() -> String {
    SocketAddr::new(kamailio::free_address().ip(), 0).to_string()
}

fn key() -> String {
    STANDARD.encode([7; 32])
}

fn flags(index: usize, registrar: SocketAddr, keys: &str, extra: &[&str]) -> Vec<String> {
    let (id, server) = (format!("gw-{index}"), format!("sip:{registrar};transport=tcp"));
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags = ["--auth", "anonymous", "--cluster-key-file", keys, "--instance-id", &id, "--media-threads", "1"];
    let sip = ["--sip-registrar", &server, "--sip-domain", DOMAIN, "--sip-allow", "*"];
    flags.into_iter().chain(sip).chain(ports).chain(extra.iter().copied()).map(str::to_owned).collect()
}
