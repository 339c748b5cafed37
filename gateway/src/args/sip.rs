//! The flags of the SIP side.

use crate::sip::{ServerName, Source};
use clap::{Args, ValueEnum};
use gateway_core::sdp::Security;
use gateway_core::sip::{AgentSettings, Peer, SipUri, Transport};
use gateway_core::{DialPlan, SipSettings};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How an instance reaches SIP; without `--sip-registrar` it does not.
#[derive(Debug, Clone, Args)]
pub struct SipArgs {
    /// SIP server where users are registered and through which every call goes, sip:HOST:PORT;transport=udp|tcp|tls; repeatable, the preferred one first; a name is looked up again while nobody answers. Of two, the one that lives carries running calls on, but what a far side sends to the one that died is lost, until --sip-session-expires or 30 s without media end the call; an address that moves to another machine keeps calls as they are
    #[arg(long, value_name = "URI")]
    pub sip_registrar: Vec<String>,
    /// Where a SIP server sends datagrams from besides its own address and port; without a port, from any; repeatable
    #[arg(long, value_name = "IP[:PORT]", value_parser = source)]
    pub sip_trusted: Vec<Source>,
    /// Where SIP is received, auto:PORT for the address towards the default route; a free port of 127.0.0.1 if absent
    #[arg(long, value_name = "IP:PORT", value_parser = super::own_address::parse)]
    pub sip_listen: Option<SocketAddr>,
    /// Domain of the users' SIP addresses; the host of the first --sip-registrar if absent
    #[arg(long, value_name = "NAME")]
    pub sip_domain: Option<String>,
    /// Realm for which passwords are used; --sip-domain if absent
    #[arg(long, value_name = "NAME")]
    pub sip_realm: Option<String>,
    /// Whom users may call, * for any text, such as 1*, bob or *@partner.example; repeatable; nobody if absent
    #[arg(long, value_name = "PATTERN")]
    pub sip_allow: Vec<String>,
    /// Passwords of the users at the SIP server, a line USER:PASSWORD each
    #[arg(long, value_name = "FILE")]
    pub sip_credentials_file: Option<PathBuf>,
    /// PEM file of the authorities that a TLS server's certificate must come from; it must be for the host in --sip-registrar, or for --sip-domain if that is an address
    #[arg(long, value_name = "FILE")]
    pub sip_tls_ca: Option<PathBuf>,
    /// The far side hangs up by itself when this instance was silent for so long (RFC 4028)
    #[arg(long, value_name = "S", default_value_t = 180, value_parser = clap::value_parser!(u32).range(90..=7_200))]
    pub sip_session_expires: u32,
    /// UDP ports of the SIP side's media, at the address of --sip-listen
    #[arg(long, value_name = "LOW-HIGH", default_value = "42000-49999", value_parser = port_range)]
    pub rtp_ports: RangeInclusive<u16>,
    /// Address told to the SIP side for media; that of --sip-listen if absent
    #[arg(long, value_name = "IP")]
    pub rtp_advertise: Option<IpAddr>,
    /// What our own offers to the SIP side say of SRTP; those of others are answered in kind
    #[arg(long, value_enum, default_value_t = SrtpFlag::Off)]
    pub rtp_srtp: SrtpFlag,
}

/// Values of `--rtp-srtp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SrtpFlag {
    /// Plain RTP
    Off,
    /// Plain RTP with keys for whoever understands them
    Optional,
    /// SRTP or nothing
    Required,
}

impl SipArgs {
    /// The SIP servers by name, and where each was found first.
    pub fn servers(&self) -> Result<Vec<(ServerName, Peer)>, String> {
        self.sip_registrar.iter().map(|uri| server(uri)).collect()
    }

    /// The SIP domain.
    pub fn domain(&self) -> Option<String> {
        let host = || SipUri::parse(self.sip_registrar.first()?).ok().map(|uri| uri.host);
        self.sip_domain.clone().or_else(host)
    }

    /// Where SIP is received.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.sip_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The address that the SIP side sends media to.
    #[must_use]
    pub fn advertise(&self) -> IpAddr {
        self.rtp_advertise.unwrap_or_else(|| self.listen().ip())
    }

    /// The ports of the SIP side's media, if there is such a side.
    #[must_use]
    pub fn rtp_ports(&self) -> Option<(u16, u16)> {
        (!self.sip_registrar.is_empty()).then(|| (*self.rtp_ports.start(), *self.rtp_ports.end()))
    }

    /// Settings for the machine with these servers, or `None` without any.
    pub fn settings(&self, servers: Vec<Peer>, legs: u32, passwords: BTreeMap<String, String>) -> Option<SipSettings> {
        let domain = self.domain().filter(|_| !servers.is_empty())?;
        let agent = AgentSettings {
            servers,
            trusted: self.sip_trusted.iter().map(|source| source.ip).collect(),
            realm: self.sip_realm.clone().unwrap_or_else(|| domain.clone()),
            domain: domain.clone(),
            session_expires: Duration::from_secs(self.sip_session_expires.into()),
            // Ringing calls are legs as well.
            legs: legs as usize * 2,
            legs_per_lease: gateway_core::Limits::default().calls_per_session,
            user_agent: concat!("Holdfast/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let security = match self.rtp_srtp {
            SrtpFlag::Off => Security::Plain,
            SrtpFlag::Optional => Security::Optional,
            SrtpFlag::Required => Security::Required,
        };
        Some(SipSettings { agent, dial: DialPlan::new(&domain, self.sip_allow.clone()), passwords, security })
    }

    /// The first flag that can't be.
    pub fn check(&self) -> Result<(), String> {
        let without = self.sip_registrar.is_empty();
        if without && (self.sip_domain.is_some() || !self.sip_allow.is_empty() || !self.sip_trusted.is_empty()) {
            return Err("error: --sip-domain, --sip-allow, --sip-trusted: they need a --sip-registrar".to_owned());
        }
        let is_tls = |(_, peer): &(ServerName, Peer)| peer.transport == Transport::Tls;
        if self.servers()?.iter().any(is_tls) && self.sip_tls_ca.is_none() {
            return Err("error: --sip-registrar: a server over TLS needs --sip-tls-ca FILE".to_owned());
        }
        let advertised = self.advertise();
        if !self.sip_registrar.is_empty() && advertised.is_unspecified() {
            return Err(format!(
                "error: --sip-listen {}: the SIP side needs an address, give --rtp-advertise IP",
                self.listen()
            ));
        }
        Ok(())
    }
}

/// The place of a server whose name is not known yet: nothing can be sent there.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// `sip:HOST:PORT;transport=..`; the port is 5060, or 5061 over TLS, the transport UDP unless named.
fn server(text: &str) -> Result<(ServerName, Peer), String> {
    let allowed = "sip:HOST:PORT;transport=udp, tcp or tls is allowed";
    let wrong = |why: &str| format!("error: --sip-registrar {text}: {why}; {allowed}");
    let uri = SipUri::parse(text).map_err(|error| wrong(&error.to_string()))?;
    let transport = match uri.param("transport").map(str::to_ascii_lowercase).as_deref() {
        None | Some("udp") if !uri.secure => Transport::Udp,
        Some("tcp") if !uri.secure => Transport::Tcp,
        None | Some("tls") => Transport::Tls,
        Some(_) => return Err(wrong("no such transport")),
    };
    let port = uri.port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 });
    let host = uri.host.trim_start_matches('[').trim_end_matches(']');
    // An instance may start before its SIP server: what has no address now is looked up again.
    let addrs: Vec<SocketAddr> = (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let addr = addrs.first().copied().unwrap_or(NOWHERE);
    Ok((ServerName { host: host.to_owned(), port, addrs }, Peer { transport, addr }))
}

fn source(text: &str) -> Result<Source, String> {
    let with_port = text.parse::<SocketAddr>().map(|addr| Source { ip: addr.ip(), port: Some(addr.port()) });
    let alone = || text.parse::<IpAddr>().map(|ip| Source { ip, port: None });
    with_port.or_else(|_| alone()).map_err(|_| "IP or IP:PORT is allowed".to_owned())
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = text.split_once('-').ok_or("LOW-HIGH is expected")?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| "ports are numbers up to 65535".to_owned());
    let (low, high) = (port(low)?, port(high)?);
    if low < 1_024 || high < low || high - low < 15 {
        return Err("at least 16 ports from 1024 on are needed".to_owned());
    }
    Ok(low..=high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_and_a_transport() {
        let server = |text: &str| server(text).map(|(_, peer)| peer);
        let peer = |transport, addr: &str| Ok(Peer { transport, addr: addr.parse().expect("an address") });
        assert_eq!(server("sip:127.0.0.1"), peer(Transport::Udp, "127.0.0.1:5060"));
        assert_eq!(server("sip:127.0.0.1:5070;transport=tcp"), peer(Transport::Tcp, "127.0.0.1:5070"));
        assert_eq!(server("sips:[::1]"), peer(Transport::Tls, "[::1]:5061"));
        for wrong in ["127.0.0.1", "sip:127.0.0.1;transport=sctp", "sips:127.0.0.1;transport=udp"] {
            assert!(server(wrong).is_err_and(|line| line.contains(wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_server_is_known_by_its_name_and_has_all_its_addresses() {
        let (name, peer) = server("sip:localhost:5070;transport=tcp").expect("it is in every hosts file");
        assert_eq!((name.host.as_str(), name.port), ("localhost", 5_070));
        assert_eq!(name.addrs.first(), Some(&peer.addr));
    }

    #[test]
    fn a_server_that_is_not_there_yet_is_nowhere() {
        let (name, peer) = server("sip:sip.invalid;transport=tcp").expect("it may come");
        assert_eq!((name.host.as_str(), name.addrs.len(), peer.addr), ("sip.invalid", 0, NOWHERE));
    }

    #[test]
    fn a_trusted_source_is_an_address_with_or_without_a_port() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(source("192.0.2.1"), Ok(Source { ip, port: None }));
        assert_eq!(source("192.0.2.1:5070"), Ok(Source { ip, port: Some(5_070) }));
        assert!(source("[2001:db8::1]:5060").is_ok() && source("2001:db8::1").is_ok());
        assert!(["sip.example", "192.0.2.0/24", ""].iter().all(|wrong| source(wrong).is_err()));
    }

    #[test]
    fn a_port_range_is_not_too_small() {
        assert_eq!(port_range("42000-42015"), Ok(42_000..=42_015));
        for wrong in ["42000", "42000-42001", "80-1000", "5000-4000", "x-y"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }
}
