//! The flags of `gateway`, checked.

mod own_address;
mod sip;

use clap::{Parser, ValueEnum};
use gateway_core::Limits;
use gateway_protocol::InstanceId;
use holdfast_config::{Check, ConfigFlags};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use sip::{SipArgs, SrtpFlag};

/// One instance of the Holdfast WebRTC gateway
#[derive(Debug, Clone, Parser)]
#[command(
    name = "gateway",
    version,
    after_help = "`gateway registrar` runs the embedded SIP registrar; see `gateway registrar --help`."
)]
pub struct Args {
    /// Where it is configured.
    #[command(flatten)]
    pub config: ConfigFlags,
    /// Ask the instance that runs with these flags whether it is well, exit 0 if so, and stop
    #[arg(long)]
    pub check_health: bool,
    /// Public HTTP: sign-in, sockets, the softphone page
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8180")]
    pub listen: SocketAddr,
    /// Private HTTP: health, metrics, drain
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9180")]
    pub admin_listen: SocketAddr,
    /// File with the token that changes at --admin-listen need; required when that is not on loopback
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Keys shared by the whole cluster, one base64 line of 32 bytes or more each
    #[arg(long, value_name = "FILE")]
    pub cluster_key_file: Option<PathBuf>,
    /// Origin of a page that may use this service besides its own, exactly as browsers send it; repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub allowed_origin: Vec<String>,
    /// Name of this instance, [A-Za-z0-9_-]{1,64}; random if absent
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<InstanceId>,
    /// The one UDP port of all media; auto:PORT takes the address towards the default route
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:40001", value_parser = own_address::parse)]
    pub media_listen: SocketAddr,
    /// Address told to browsers for media; repeatable; --media-listen if absent
    #[arg(long, value_name = "IP:PORT")]
    pub media_advertise: Vec<SocketAddr>,
    /// Media worker threads; one per core if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub media_threads: Option<u16>,
    /// Sessions that it holds
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub capacity: u32,
    /// Calls that it holds
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub call_capacity: u32,
    /// Sessions that it sets up in a second
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub setup_rate: u32,
    /// How users prove who they are
    #[arg(long, value_enum, default_value_t = AuthFlag::Jwt)]
    pub auth: AuthFlag,
    /// JWK or JWK set (JSON) that verifies the users' JWTs
    #[arg(long, value_name = "FILE")]
    pub jwt_key_file: Option<PathBuf>,
    /// Folder of the softphone page and the client bundle
    #[arg(long, value_name = "DIR", default_value = "js-client/dist")]
    pub web_dir: PathBuf,
    /// From the health report's first `draining` after SIGTERM until everything is closed, at least
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=600_000))]
    pub drain_notice_ms: u32,
    /// How long SIGTERM waits for calls to end; whoever sends it must wait longer before SIGKILL. A second SIGTERM ends at once
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400_000))]
    pub shutdown_grace_ms: u32,
    /// From a drain's start until the calls that are left are ended
    #[arg(long, value_name = "MS", default_value_t = 600_000, value_parser = clap::value_parser!(u32).range(0..=86_400_000))]
    pub drain_deadline_ms: u32,
    /// Base URL of a balancer, told to clients for the time when theirs is lost; repeatable
    #[arg(long, value_name = "URL")]
    pub alternate: Vec<String>,
    /// How it reaches SIP.
    #[command(flatten)]
    pub sip: SipArgs,
}

/// Values of `--auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthFlag {
    /// A JWT, verified with --jwt-key-file
    Jwt,
    /// Not at all: whoever comes names himself
    Anonymous,
}

impl From<AuthFlag> for gateway_core::Auth {
    fn from(flag: AuthFlag) -> Self {
        match flag {
            AuthFlag::Jwt => Self::Jwt,
            AuthFlag::Anonymous => Self::Anonymous,
        }
    }
}

impl Args {
    /// The bounds that these flags set.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { sessions: self.capacity, calls: self.call_capacity, setup_rate: self.setup_rate, ..Limits::default() }
    }

    /// `--drain-notice-ms`.
    #[must_use]
    pub fn drain_notice(&self) -> Duration {
        Duration::from_millis(self.drain_notice_ms.into())
    }

    /// `--shutdown-grace-ms`.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms.into())
    }

    /// `--drain-deadline-ms`.
    #[must_use]
    pub fn drain_deadline(&self) -> Duration {
        Duration::from_millis(self.drain_deadline_ms.into())
    }
}

impl Check for Args {
    fn check(&self) -> Result<(), String> {
        if self.check_health {
            return Ok(());
        }
        if self.auth == AuthFlag::Jwt && self.jwt_key_file.is_none() {
            return Err("error: --auth jwt: --jwt-key-file FILE must be given, or --auth anonymous".to_owned());
        }
        if !self.admin_listen.ip().is_loopback() && self.admin_token_file.is_none() {
            let address = self.admin_listen;
            return Err(format!(
                "error: --admin-listen {address}: without --admin-token-file only loopback is allowed"
            ));
        }
        if self.media_listen.ip().is_unspecified() && self.media_advertise.is_empty() {
            let address = self.media_listen;
            return Err(format!(
                "error: --media-listen {address}: browsers need an address, give --media-advertise IP:PORT"
            ));
        }
        check_urls("allowed-origin", &self.allowed_origin, false)?;
        check_urls("alternate", &self.alternate, true)?;
        self.sip.check()?;
        crate::server::check_files(self).map_err(|error| format!("{error:#}"))
    }
}

/// `scheme://host[:port]`, the way browsers write an origin; a base URL may have a path.
fn check_urls(flag: &str, urls: &[String], path: bool) -> Result<(), String> {
    let wrong = |url: &&String| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>;,*".contains(&byte));
        rest.is_empty() || !plain || (!path && rest.contains('/'))
    };
    match urls.iter().find(wrong) {
        Some(url) => Err(format!("error: --{flag} {url}: http://host[:port] or https://host[:port] is allowed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_config::flags::{Stop, load};

    fn parse(args: &[&str]) -> Result<Args, Stop> {
        load(std::iter::once("gateway").chain(args.iter().copied()).map(Into::into))
    }

    #[test]
    fn anonymous_must_be_said() {
        assert!(matches!(parse(&[]), Err(Stop::Refuse(line)) if line.contains("--jwt-key-file")));
        assert_eq!(parse(&["--auth", "anonymous"]).expect("valid").limits(), Limits::default());
    }

    #[test]
    fn a_private_listener_for_others_needs_a_token() {
        let refused = parse(&["--auth", "anonymous", "--admin-listen", "0.0.0.0:9180"]);
        assert!(matches!(refused, Err(Stop::Refuse(line)) if line.contains("--admin-token-file")));
    }

    #[test]
    fn every_address_needs_one_that_browsers_can_reach() {
        let wildcard = ["--auth", "anonymous", "--media-listen", "0.0.0.0:40001"];
        assert!(matches!(parse(&wildcard), Err(Stop::Refuse(line)) if line.contains("--media-advertise")));
        assert!(parse(&[&wildcard[..], &["--media-advertise", "192.0.2.1:40001"]].concat()).is_ok());
    }

    #[test]
    fn a_question_after_health_needs_only_the_address() {
        assert!(parse(&["--check-health"]).expect("valid").check_health);
    }

    #[test]
    fn an_origin_is_no_url_with_a_path_or_wildcard() {
        for origin in ["https://a.example/x", "*", "https://*.example", "a.example"] {
            assert!(parse(&["--auth", "anonymous", "--allowed-origin", origin]).is_err(), "{origin}");
        }
        assert!(parse(&["--auth", "anonymous", "--allowed-origin", "http://127.0.0.1:8080"]).is_ok());
    }
}
