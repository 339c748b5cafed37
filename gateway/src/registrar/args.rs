//! The flags of `gateway registrar`.

use super::tls;
use crate::sip::SipTls;
use crate::telephony::passwords;
use clap::{Parser, ValueEnum};
use gateway_core::sip::{Algorithm, SipUri, Transport};
use holdfast_config::{Check, ConfigFlags};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The embedded SIP registrar, for the demo and for tests
#[derive(Debug, Clone, Parser)]
#[command(name = "gateway registrar", version)]
pub struct RegistrarArgs {
    /// Where it is configured.
    #[command(flatten)]
    pub config: ConfigFlags,
    /// Where SIP is served, sip:IP:PORT;transport=udp|tcp|tls; repeatable, once per transport
    #[arg(long, value_name = "URI", default_values = ["sip:127.0.0.1:5060;transport=udp", "sip:127.0.0.1:5060;transport=tcp"])]
    pub sip_listen: Vec<String>,
    /// Domain of the users' SIP addresses; the address of the first --sip-listen if absent
    #[arg(long, value_name = "NAME")]
    pub sip_domain: Option<String>,
    /// Passwords of the users, a line USER:PASSWORD each; everybody is believed if absent
    #[arg(long, value_name = "FILE")]
    pub sip_credentials_file: Option<PathBuf>,
    /// Hash with which passwords are proven
    #[arg(long, value_enum, default_value_t = DigestFlag::Md5)]
    pub sip_digest: DigestFlag,
    /// PEM file of the certificate chain shown over TLS
    #[arg(long, value_name = "FILE", requires = "sip_tls_key")]
    pub sip_tls_cert: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, value_name = "FILE", requires = "sip_tls_cert")]
    pub sip_tls_key: Option<PathBuf>,
    /// Private HTTP: metrics; none if absent
    #[arg(long, value_name = "IP:PORT")]
    pub admin_listen: Option<SocketAddr>,
}

/// Values of `--sip-digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestFlag {
    /// What every phone knows
    Md5,
    /// RFC 8760
    #[value(name = "sha-256")]
    Sha256,
}

impl From<DigestFlag> for Algorithm {
    fn from(flag: DigestFlag) -> Self {
        match flag {
            DigestFlag::Md5 => Self::Md5,
            DigestFlag::Sha256 => Self::Sha256,
        }
    }
}

impl RegistrarArgs {
    /// `--sip-listen`.
    pub(super) fn listen(&self) -> Result<Vec<(Transport, SocketAddr)>, String> {
        let listen: Vec<_> = self.sip_listen.iter().map(|text| place(text)).collect::<Result<_, _>>()?;
        for (at, (transport, _)) in listen.iter().enumerate() {
            if listen[..at].iter().any(|(other, _)| other == transport) {
                return Err(format!("error: --sip-listen {}: one per transport is allowed", self.sip_listen[at]));
            }
        }
        Ok(listen)
    }

    /// `--sip-domain`.
    pub(super) fn domain(&self) -> String {
        let first = || SipUri::parse(self.sip_listen.first()?).ok().map(|uri| uri.host);
        self.sip_domain.clone().or_else(first).unwrap_or_default()
    }

    pub(super) fn credentials(&self) -> anyhow::Result<Option<BTreeMap<String, String>>> {
        self.sip_credentials_file.as_deref().map(passwords).transpose()
    }

    pub(super) fn tls(&self) -> anyhow::Result<Option<SipTls>> {
        match (&self.sip_tls_cert, &self.sip_tls_key) {
            (Some(certificate), Some(key)) => tls(certificate, key).map(Some),
            _ => Ok(None),
        }
    }
}

impl Check for RegistrarArgs {
    fn check(&self) -> Result<(), String> {
        let listen = self.listen()?;
        if listen.iter().any(|(transport, _)| *transport == Transport::Tls) && self.sip_tls_cert.is_none() {
            return Err("error: --sip-listen: transport=tls needs --sip-tls-cert and --sip-tls-key".to_owned());
        }
        if let Some(address) = self.admin_listen.filter(|address| !address.ip().is_loopback()) {
            return Err(format!("error: --admin-listen {address}: only loopback is allowed"));
        }
        self.credentials().map_err(|error| format!("{error:#}"))?;
        self.tls().map_err(|error| format!("{error:#}"))?;
        Ok(())
    }
}

fn place(text: &str) -> Result<(Transport, SocketAddr), String> {
    let wrong = || {
        format!(
            "error: --sip-listen {text}: sip:IP:PORT;transport=udp, tcp or tls is allowed, with an IP that others reach"
        )
    };
    let uri = SipUri::parse(text).map_err(|_| wrong())?;
    let transport = match uri.param("transport") {
        None | Some("udp") => Transport::Udp,
        Some("tcp") => Transport::Tcp,
        Some("tls") => Transport::Tls,
        Some(_) => return Err(wrong()),
    };
    let ip: IpAddr = uri.host.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?;
    let port = uri.port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 });
    // It stands in Via and Record-Route.
    if ip.is_unspecified() || uri.user.is_some() { Err(wrong()) } else { Ok((transport, SocketAddr::new(ip, port))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_config::flags::{Stop, load};

    fn parse(args: &[&str]) -> Result<RegistrarArgs, Stop> {
        load(std::iter::once("gateway registrar").chain(args.iter().copied()).map(Into::into))
    }

    #[test]
    fn by_default_it_serves_udp_and_tcp_on_loopback() {
        let args = parse(&[]).expect("valid");
        let here = SocketAddr::from(([127, 0, 0, 1], 5060));
        assert_eq!(args.listen(), Ok(vec![(Transport::Udp, here), (Transport::Tcp, here)]));
        assert_eq!(args.domain(), "127.0.0.1");
    }

    #[test]
    fn what_can_not_be_served_is_refused_in_one_line() {
        for wrong in
            ["127.0.0.1:5060", "sip:host:5060", "sip:0.0.0.0:5060", "sip:127.0.0.1;transport=sctp", "sip:a@127.0.0.1"]
        {
            assert!(
                matches!(parse(&["--sip-listen", wrong]), Err(Stop::Refuse(line)) if line.contains(wrong)),
                "{wrong}"
            );
        }
        let twice = ["--sip-listen", "sip:127.0.0.1:1", "--sip-listen", "sip:127.0.0.1:2"];
        assert!(matches!(parse(&twice), Err(Stop::Refuse(line)) if line.contains("one per transport")));
        let bare = ["--sip-listen", "sip:127.0.0.1:1;transport=tls"];
        assert!(matches!(parse(&bare), Err(Stop::Refuse(line)) if line.contains("--sip-tls-cert")));
        let open = ["--admin-listen", "0.0.0.0:1"];
        assert!(matches!(parse(&open), Err(Stop::Refuse(line)) if line.contains("loopback")));
        let lost = ["--sip-credentials-file", "/nowhere/users"];
        assert!(matches!(parse(&lost), Err(Stop::Refuse(line)) if line.contains("/nowhere/users")));
    }
}
