//! `gateway registrar`: the registrar machine over a SIP line, for the demo and for tests. Clusters use a real SIP server.

mod args;
mod metrics;
#[cfg(test)]
mod tests;

pub use args::RegistrarArgs;

use crate::control::OsRandom;
use crate::listener;
use crate::pulse::Pulse;
use crate::sip::{SipConfig, SipLine, SipPort, SipTls};
use anyhow::Context;
use gateway_core::registrar::{Counts, Registrar, Settings};
use gateway_core::sip::{SipEvent, Transport};
use holdfast_config::listen;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Connections of the private listener.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// The figures are as old as this at most.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);

/// A running registrar. Dropping it ends it.
pub struct RegistrarServer {
    local: Vec<(Transport, SocketAddr)>,
    admin: Option<SocketAddr>,
    exit: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl RegistrarServer {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// One line that names the flag, its value and what is allowed.
    pub fn start(args: &RegistrarArgs) -> anyhow::Result<Self> {
        let listen = args.listen().map_err(anyhow::Error::msg)?;
        let config = SipConfig { listen: listen.clone(), tls: args.tls()?, ..SipConfig::default() };
        let (line, events) = SipLine::start(config).context("error: --sip-listen")?;
        let local: Vec<_> = listen.iter().filter_map(|(served, _)| Some((*served, line.local(*served)?))).collect();
        let settings = Settings {
            domain: args.domain(),
            addresses: local.clone(),
            credentials: args.credentials()?,
            digest: args.sip_digest.into(),
        };
        let machine = Registrar::new(settings, Instant::now(), &mut OsRandom);
        let (exit, exiting) = watch::channel(false);
        let dropped = line.counts().clone();
        let (counts, counted) = watch::channel(Counts::default());
        let mut running = Self { local, admin: None, exit, threads: Vec::new() };
        running.spawn("registrar", drive(machine, line, events, counts, exiting.clone()))?;
        if let Some(addr) = args.admin_listen {
            running.serve_admin(addr, metrics::Source { counted, dropped }, exiting)?;
        }
        for (transport, addr) in &running.local {
            tracing::info!(%transport, %addr, domain = args.domain(), "the registrar listens");
        }
        Ok(running)
    }

    /// The first address that it listens at.
    #[must_use]
    pub fn local(&self, transport: Transport) -> Option<SocketAddr> {
        self.local.iter().find(|(served, _)| *served == transport).map(|(_, addr)| *addr)
    }

    /// Where the figures are.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    fn serve_admin(
        &mut self,
        addr: SocketAddr,
        source: metrics::Source,
        exiting: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let listener = listen::tcp("admin-listen", addr, 1)?.pop().context("one listener was asked for")?;
        self.admin = Some(listener.local_addr()?);
        let served =
            listener::serve(listener, MAX_ADMIN_CONNECTIONS, metrics::router(source), Arc::new(Pulse::new()), exiting);
        self.spawn("admin", served)
    }

    fn spawn(&mut self, name: &str, what: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(what))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for RegistrarServer {
    fn drop(&mut self) {
        let _ = self.exit.send(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

async fn drive(
    mut machine: Registrar,
    line: SipLine,
    mut events: mpsc::Receiver<SipEvent>,
    counts: watch::Sender<Counts>,
    mut exiting: watch::Receiver<bool>,
) {
    let mut count = tokio::time::interval(COUNT_INTERVAL);
    loop {
        let deadline = machine.poll_timeout().map(|(at, _)| at);
        tokio::select! {
            _ = exiting.wait_for(|exit| *exit) => return,
            event = events.recv() => match event {
                Some(event) => machine.handle(event, Instant::now()),
                None => return,
            },
            () = until(deadline) => machine.handle_timeout(Instant::now()),
            _ = count.tick() => drop(counts.send(machine.counts())),
        }
        while let Some(command) = machine.next_command() {
            line.act(command);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn tls(certificate: &Path, key: &Path) -> anyhow::Result<SipTls> {
    let read =
        |flag: &str, path: &Path| std::fs::read(path).with_context(|| format!("error: --{flag} {}", path.display()));
    let (chain, key) = (read("sip-tls-cert", certificate)?, read("sip-tls-key", key)?);
    SipTls::default()
        .with_certificate(&chain, &key)
        .with_context(|| format!("error: --sip-tls-cert {}", certificate.display()))
}
