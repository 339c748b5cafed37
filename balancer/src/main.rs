//! `balancer`: flags, keys and listeners, then the threads.

use anyhow::Context;
use balancer::{
    admin::{self, Admin},
    args::Args,
    files,
    metrics::Metrics,
    probe::{self, Probes},
    proxy,
    state::{Clock, Shared},
};
use balancer_core::{
    Admission,
    failback::Failback,
    pin::{KeyRing, PinKey},
    pool::{self, CHECK_TIMEOUT},
    sizing::Wanted,
};
use holdfast_config::{ClusterKeys, ask, flags, listen, logging};
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// How often the probe thread is looked after.
const LOOK: Duration = Duration::from_secs(1);
/// Wishes of operators that wait for the probe thread.
const WISHES: usize = 16;

fn main() -> ExitCode {
    let args: Args = flags::load_or_exit();
    if args.check_health {
        return check_health(args.admin_listen);
    }
    logging::start();
    if let Err(error) = run(&args) {
        eprintln!("{error:#}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn check_health(address: SocketAddr) -> ExitCode {
    let outcome = match ask::get(address, "/livez") {
        Ok((200, _)) => return ExitCode::SUCCESS,
        Ok((_, why)) => why.trim_end().to_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("{address}: {outcome}");
    ExitCode::FAILURE
}

fn run(args: &Args) -> anyhow::Result<()> {
    let keys = files::cluster_keys(args.cluster_key_file.as_deref())?;
    let token = args.admin_token_file.as_deref().map(files::admin_token).transpose()?;
    let admin_listener =
        listen::tcp("admin-listen", args.admin_listen, 1)?.pop().context("one listener was asked for")?;
    let admin_address = admin_listener.local_addr()?;
    let listeners = listen::tcp("listen", args.listen, threads(args.threads))?;
    let tls = files::tls(args)?;

    let (shared, doubts) = Shared::new(Clock::start());
    let (metrics, admission) = (Arc::<Metrics>::default(), Arc::<Mutex<Admission>>::default());
    let (wishes, wished) = mpsc::channel(WISHES);
    let probes = Probes {
        config: pool_config(args),
        failback: Failback::new(args.failback.into(), Duration::from_secs(args.failback_after_s.into())),
        instances: args.instance.clone(),
        discover: args.discover.clone(),
        token: token.as_deref().map(files::bearer).transpose()?,
        admission: Arc::clone(&admission),
        metrics: Arc::clone(&metrics),
    };
    let probe_thread = probe::start(probes, shared.clone(), doubts, wished)?;
    let random_key = keys.is_random();
    if random_key {
        tracing::warn!("no --cluster-key-file: pins are signed with a random key that no other balancer knows");
    }
    let admin =
        Admin { shared: shared.clone(), metrics: Arc::clone(&metrics), wishes, token, random_key, target: args.target };
    admin::start(admin_listener, admin)?;

    wait_until_settled(&shared);
    let rules = proxy::Rules {
        keys: key_ring(&keys)?,
        admission,
        metrics: Arc::clone(&metrics),
        create_timeout: Duration::from_millis(args.create_timeout_ms.into()),
        trusted_proxies: args.trusted_proxy.clone(),
        allowed_origins: args.allowed_origin.clone(),
        tls: tls.clone(),
    };
    let proxy = proxy::start(listeners, &shared, rules, args.max_connections_per_address)?;
    serve(tls.as_deref(), &probe_thread, || {
        tracing::info!(listen = %proxy.address, admin = %admin_address, "serving");
    })
}

/// Until SIGTERM or SIGINT, from `begun` on. SIGHUP reads the certificate again.
fn serve(tls: Option<&proxy::Tls>, probe_thread: &JoinHandle<()>, begun: impl FnOnce()) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hup = signal(SignalKind::hangup())?;
        let mut looks = tokio::time::interval(LOOK);
        begun();
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = hup.recv() => reload(tls),
                _ = looks.tick() => anyhow::ensure!(!probe_thread.is_finished(), "error: the probe thread ended"),
            }
        }
    })
}

fn reload(tls: Option<&proxy::Tls>) {
    match tls.map(proxy::Tls::reload) {
        Some(Ok(())) => tracing::info!("the certificate was read again"),
        Some(Err(error)) => tracing::error!(%error, "the certificate can't be read again, the old one stays"),
        None => tracing::info!("there is no certificate to read again"),
    }
}

fn key_ring(keys: &ClusterKeys) -> anyhow::Result<KeyRing> {
    let keys: Vec<_> = keys.derive("cookie").into_iter().map(|key| PinKey { id: key.id, secret: key.key }).collect();
    KeyRing::new(&keys).context("a cluster has at least one key")
}

fn pool_config(args: &Args) -> pool::Config {
    pool::Config {
        wanted: Wanted { spare: args.spare, target: args.target },
        protect_spare: args.protect_spare,
        silence: Duration::from_millis(args.silence_ms.into()),
    }
}

fn threads(asked: u16) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads.into(),
    }
}

/// Serving earlier would call pins unknown whose instances were not heard of yet.
fn wait_until_settled(shared: &Shared) {
    let start = shared.clock.now();
    while !shared.view().snapshot.settled && shared.clock.now() - start < 2 * CHECK_TIMEOUT {
        std::thread::sleep(Duration::from_millis(5));
    }
}
