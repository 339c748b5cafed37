//! Starts the SIP side of an instance from its flags and files.

use crate::args::SipArgs;
use crate::sip::{SipConfig, SipLine, SipTls};
use anyhow::Context;
use gateway_core::sip::{Peer, SipEvent, Transport};
use gateway_core::{Limits, SipSettings};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::mpsc;

/// The SIP side, running, and the settings of its machine.
pub(crate) struct Started {
    pub(crate) line: (SipLine, mpsc::Receiver<SipEvent>),
    pub(crate) settings: SipSettings,
}

/// The sockets: UDP to listen at, and connections to the servers that want them. `None` without a server.
pub(crate) fn start(args: &SipArgs, limits: &Limits) -> anyhow::Result<Option<Started>> {
    // Looked up once for both, since the order of a name's addresses may change from one time to the next.
    let (names, servers): (_, Vec<Peer>) = args.servers().map_err(anyhow::Error::msg)?.into_iter().unzip();
    let passwords = args.sip_credentials_file.as_deref().map(passwords).transpose()?.unwrap_or_default();
    let Some(settings) = args.settings(servers, limits.calls, passwords) else { return Ok(None) };
    let listen = args.listen();
    let config = SipConfig {
        listen: vec![(Transport::Udp, listen)],
        tls: tls(args)?,
        servers: names,
        only_from: Some(args.sip_trusted.clone()),
        t1: None,
    };
    let line = SipLine::start(config).with_context(|| format!("error: --sip-listen {listen}"))?;
    Ok(Some(Started { line, settings }))
}

/// Whether the files can be used.
pub(crate) fn check_files(args: &SipArgs) -> anyhow::Result<()> {
    args.sip_credentials_file.as_deref().map(passwords).transpose()?;
    tls(args)?;
    Ok(())
}

fn tls(args: &SipArgs) -> anyhow::Result<Option<SipTls>> {
    let Some(path) = &args.sip_tls_ca else { return Ok(None) };
    let wrap = || format!("error: --sip-tls-ca {}", path.display());
    let authorities = std::fs::read(path).with_context(wrap)?;
    let name = args.domain().unwrap_or_default();
    SipTls::default().with_authorities(&authorities, &name).map(Some).with_context(wrap)
}

/// A line `USER:PASSWORD` each; empty lines and those with `#` in front are left out.
pub(crate) fn passwords(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let wrap = || format!("error: --sip-credentials-file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(wrap)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (user, password) =
                line.split_once(':').with_context(|| format!("{}: USER:PASSWORD is expected", wrap()))?;
            Ok((user.to_owned(), password.to_owned()))
        })
        .collect()
}
