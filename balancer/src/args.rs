//! The flags of `balancer`; each is also a variable `HOLDFAST_<FLAG>` and a key of the file that `--config` names.

use crate::{discover::DnsName, files};
use balancer_core::{Endpoint, failback::Mode};
use clap::{ArgAction, Parser, ValueEnum};
use holdfast_config::{Check, ConfigFlags};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Pins browsers to gateway instances, watches the instances' health, and moves users when one dies.
#[derive(Debug, Clone, Parser)]
#[command(name = "balancer", version)]
pub struct Args {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take the text as help of the first flag")]
    pub config: ConfigFlags,
    /// Ask the balancer that runs with these flags whether it is alive, exit 0 if so, and stop
    #[arg(long)]
    pub check_health: bool,
    /// Public HTTP
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Private HTTP: dashboard, metrics, state changes
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9080")]
    pub admin_listen: SocketAddr,
    /// File with the token that changes need; required when --admin-listen is not on loopback. Instances get the same token
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Keys that all balancers and instances share, one base64 line each; without it a random one
    #[arg(long, value_name = "FILE")]
    pub cluster_key_file: Option<PathBuf>,
    /// Origin whose pages may read answers, exactly as browsers send it; repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub allowed_origin: Vec<String>,
    /// An instance; repeatable
    #[arg(long, value_name = "http=IP:PORT,admin=IP:PORT", value_parser = endpoint)]
    pub instance: Vec<Endpoint>,
    /// A name whose addresses are the instances, asked ten times a second
    #[arg(long, value_name = "dns://NAME:PORT?admin=PORT")]
    pub discover: Option<DnsName>,
    /// M: instances that must be able to die without leaving a user out
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub spare: u32,
    /// Part of the instances' capacity to be used at most, above 0, at most 1
    #[arg(long, value_name = "PART", default_value_t = 1.0, value_parser = part)]
    pub target: f64,
    /// Refuse new users, never returning ones, before fewer than M instances may die
    #[arg(long, action = ArgAction::SetTrue)]
    pub protect_spare: bool,
    /// An instance that owes an answer and sent no byte for so long is lost
    #[arg(long, value_name = "MS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(200..=60_000))]
    pub silence_ms: u32,
    /// After this time without an answer a sign-in is also tried at a second instance
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(50..=60_000))]
    pub create_timeout_ms: u32,
    /// How load comes back to an instance that has returned: idle users of fuller ones are moved bit by bit, or only after POST /failback on the admin listener
    #[arg(long, value_enum, default_value_t = FailbackFlag::Automatic)]
    pub failback: FailbackFlag,
    /// Every instance must be up for so long before load is brought back
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub failback_after_s: u32,
    /// Connections that one address (one /64 of IPv6) may have; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_connections_per_address: u32,
    /// PEM file with the certificate chain; makes --listen HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Address whose X-Forwarded-For and X-Forwarded-Proto are believed; repeatable
    #[arg(long, value_name = "IP")]
    pub trusted_proxy: Vec<IpAddr>,
    /// Threads of the data path; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    pub threads: u16,
}

/// Values of `--failback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailbackFlag {
    /// As soon as nothing was wrong for --failback-after-s
    Automatic,
    /// When an operator asks for it; else users stay until they sign out or reload
    Manual,
}

impl From<FailbackFlag> for Mode {
    fn from(flag: FailbackFlag) -> Self {
        match flag {
            FailbackFlag::Automatic => Self::Automatic,
            FailbackFlag::Manual => Self::Manual,
        }
    }
}

impl Check for Args {
    fn check(&self) -> Result<(), String> {
        if self.check_health {
            return Ok(());
        }
        if self.instance.is_empty() && self.discover.is_none() {
            return Err("error: no --instance and no --discover given; at least one is needed".to_owned());
        }
        if !self.admin_listen.ip().is_loopback() && self.admin_token_file.is_none() {
            let address = self.admin_listen;
            return Err(format!(
                "error: --admin-listen {address}: an address that is not loopback needs --admin-token-file"
            ));
        }
        if let Some(origin) = self.allowed_origin.iter().find(|origin| !is_origin(origin)) {
            return Err(format!(
                "error: --allowed-origin {origin}: http(s)://host[:port] is allowed, nothing behind it"
            ));
        }
        if let Some(twice) = first_twice(&self.instance) {
            let Endpoint { http, admin } = twice;
            return Err(format!("error: --instance http={http},admin={admin}: each instance once is allowed"));
        }
        files::check(self).map_err(|error| format!("{error:#}"))
    }
}

/// Reads `http=IP:PORT,admin=IP:PORT`, in any order.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    const ALLOWED: &str = "http=IP:PORT,admin=IP:PORT is allowed";
    let part = |name: &str| {
        let mut values = text.split(',').filter_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let value = values.next().ok_or_else(|| format!("{name} is missing; {ALLOWED}"))?;
        value.parse().map_err(|_| format!("{name}={value} is no IP:PORT; {ALLOWED}"))
    };
    if text.split(',').count() != 2 {
        return Err(ALLOWED.to_owned());
    }
    Ok(Endpoint { http: part("http")?, admin: part("admin")? })
}

/// The first endpoint that shares an address with one before it.
fn first_twice(endpoints: &[Endpoint]) -> Option<&Endpoint> {
    let shares = |one: &Endpoint, other: &Endpoint| one.http == other.http || one.admin == other.admin;
    endpoints
        .iter()
        .enumerate()
        .find(|(at, one)| endpoints[..*at].iter().any(|other| shares(one, other)))
        .map(|(_, one)| one)
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        Ok(_) | Err(_) => Err("a number above 0, at most 1, is allowed".to_owned()),
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_config::{Stop, flags::load};

    const INSTANCE: &str = "http=127.0.0.1:8180,admin=127.0.0.1:9180";

    fn run(args: &[&str]) -> Result<Args, Stop> {
        load(std::iter::once("balancer").chain(args.iter().copied()).map(Into::into))
    }

    fn refusal(args: &[&str]) -> String {
        match run(args) {
            Err(Stop::Refuse(line)) => line,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let args = run(&["--instance", INSTANCE]).expect("valid");
        assert_eq!((args.spare, args.target, args.silence_ms, args.create_timeout_ms), (1, 1.0, 400, 1000));
        assert_eq!(args.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(args.instance[0].admin.to_string(), "127.0.0.1:9180");
    }

    #[test]
    fn an_instance_is_two_addresses() {
        assert_eq!(endpoint("admin=127.0.0.1:9180,http=127.0.0.1:8180"), endpoint(INSTANCE));
        assert!(refusal(&["--instance", "127.0.0.1:8180"]).contains("http=IP:PORT,admin=IP:PORT"));
        assert!(refusal(&["--instance", "http=gw:8180,admin=127.0.0.1:9180"]).contains("http=gw:8180"));
    }

    #[test]
    fn rules_over_several_flags_are_one_line_each() {
        assert!(refusal(&[]).contains("--discover"));
        let line = refusal(&["--instance", INSTANCE, "--admin-listen", "10.0.0.1:9080"]);
        assert!(line.contains("--admin-token-file") && !line.contains('\n'), "{line}");
        assert!(refusal(&["--instance", INSTANCE, "--target", "1.5"]).contains("at most 1"));
        assert!(refusal(&["--instance", INSTANCE, "--silence-ms", "10"]).contains("200..=60000"));
        assert!(refusal(&["--instance", INSTANCE, "--allowed-origin", "https://a.example/"]).contains("a.example"));
        assert!(refusal(&["--instance", INSTANCE, "--tls-cert", "cert.pem"]).contains("--tls-key"));
        assert!(refusal(&["--instance", INSTANCE, "--instance", INSTANCE]).contains("once"));
    }
}
