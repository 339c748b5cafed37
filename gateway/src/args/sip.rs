//! The flags of the SIP side.

use clap::{Args, ValueEnum};
use gateway_core::sdp::Security;
use gateway_core::sip::{AgentSettings, Peer, SipUri, Transport};
use gateway_core::{DialPlan, SipSettings};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How an instance reaches SIP; without `--sip-registrar` it does not.
#[derive(Debug, Clone, Args)]
pub struct SipArgs {
    /// SIP server where users are registered and through which every call goes, sip:HOST:PORT;transport=udp|tcp|tls; repeatable, the preferred one first
    #[arg(long, value_name = "URI")]
    pub sip_registrar: Vec<String>,
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
    /// PEM file of the authorities that a TLS server's certificate must come from
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
    /// The SIP servers, names looked up once.
    pub fn servers(&self) -> Result<Vec<Peer>, String> {
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

    /// Settings for the machine, or `None` without a server.
    pub fn settings(&self, legs: u32, passwords: BTreeMap<String, String>) -> Result<Option<SipSettings>, String> {
        let servers = self.servers()?;
        let Some(domain) = self.domain() else { return Ok(None) };
        let agent = AgentSettings {
            servers,
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
        Ok(Some(SipSettings { agent, dial: DialPlan::new(&domain, self.sip_allow.clone()), passwords, security }))
    }

    /// The first flag that can't be.
    pub fn check(&self) -> Result<(), String> {
        if self.sip_registrar.is_empty() && (self.sip_domain.is_some() || !self.sip_allow.is_empty()) {
            return Err("error: --sip-domain, --sip-allow: they need a --sip-registrar".to_owned());
        }
        self.servers()?;
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

/// `sip:HOST:PORT;transport=..`; the port is 5060, or 5061 over TLS, the transport UDP unless named.
fn server(text: &str) -> Result<Peer, String> {
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
    let mut found = (host, port).to_socket_addrs().map_err(|error| wrong(&error.to_string()))?;
    let addr = found.next().ok_or_else(|| wrong("the name has no address"))?;
    Ok(Peer { transport, addr })
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
        let peer = |transport, addr: &str| Ok(Peer { transport, addr: addr.parse().expect("an address") });
        assert_eq!(server("sip:127.0.0.1"), peer(Transport::Udp, "127.0.0.1:5060"));
        assert_eq!(server("sip:127.0.0.1:5070;transport=tcp"), peer(Transport::Tcp, "127.0.0.1:5070"));
        assert_eq!(server("sips:[::1]"), peer(Transport::Tls, "[::1]:5061"));
        for wrong in ["127.0.0.1", "sip:127.0.0.1;transport=sctp", "sips:127.0.0.1;transport=udp"] {
            assert!(server(wrong).is_err_and(|line| line.contains(wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_port_range_is_not_too_small() {
        assert_eq!(port_range("42000-42015"), Ok(42_000..=42_015));
        for wrong in ["42000", "42000-42001", "80-1000", "5000-4000", "x-y"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }
}
