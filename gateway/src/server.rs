//! Starts and ends one instance: its threads, its listeners, its boot id.

use crate::args::{Args, AuthFlag};
use crate::assets::Assets;
use crate::auth::Verifier;
use crate::control::{self, Control, Input, OsRandom};
use crate::cors::Origins;
use crate::health::Reporter;
use crate::http::{self, App};
use crate::listener;
use crate::media::{MediaConfig, MediaEvent, MediaPlane};
use crate::metrics::Metrics;
use crate::private::{self, Private};
use crate::pulse::Pulse;
use crate::telephony;
use anyhow::Context;
use gateway_core::config_hash::SharedSettings;
use gateway_core::instance::Settings;
use gateway_core::{Instance, Limits, Random, SealKey, SealRing, SipSettings};
use gateway_protocol::{BootId, InstanceId};
use holdfast_config::{ClusterKeys, listen};
use nix::sys::resource::{Resource, getrlimit};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, watch};

/// SRTP profiles and codecs, the same in every instance of a cluster.
const SRTP_PROFILES: [&str; 2] = ["AEAD_AES_128_GCM", "AES128_CM_HMAC_SHA1_80"];
const CODECS: [&str; 5] = ["opus", "PCMU", "PCMA", "VP8", "H264"];

/// Connections of one listener, however many files may be open.
const MAX_CONNECTIONS: usize = 16_384;

/// A running instance. Dropping it ends it at once; [`Gateway::leave`] ends it in good order.
pub struct Gateway {
    public: SocketAddr,
    private: SocketAddr,
    media: SocketAddr,
    instance_id: InstanceId,
    boot_id: BootId,
    control: Control,
    exit: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts an instance.
    ///
    /// # Errors
    ///
    /// One line that names the flag, its value and what is allowed.
    pub fn start(args: Args) -> anyhow::Result<Self> {
        let limits = args.limits();
        Self::start_limited(args, limits)
    }

    /// [`Gateway::start`] with other bounds than the flags set.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn start_limited(args: Args, limits: Limits) -> anyhow::Result<Self> {
        let ports = Ports::open(&args)?;
        let cluster = Cluster::load(&args)?;
        let random_key = cluster.keys.is_random();
        let (media, media_events) = start_media(&args, &limits)?;
        let metrics = Arc::new(Metrics::new().context("metric families collide")?);
        let (exit, exits) = watch::channel(false);
        let (sip, sip_settings) =
            telephony::start(&args.sip, &limits)?.map(|started| (started.line, started.settings)).unzip();
        let sip_pulse = sip.as_ref().map(|(line, _)| line.pulse());
        if let Some((line, _)) = &sip {
            metrics.watch_sip(line.counts().clone());
        }
        let machine =
            Instance::new(cluster.settings(&args, &limits, sip_settings), OsRandom, Instant::now(), unix_now());
        let (task, control) = control::create(machine, media.clone(), media_events, sip, metrics.clone(), exit.clone());

        let pulses: Vec<Arc<Pulse>> = ports.public.iter().map(|_| Arc::new(Pulse::new())).collect();
        let watched = pulses.iter().cloned().chain(sip_pulse).collect();
        let private = Private {
            reporter: cluster.reporter(&args, &limits, control.clone(), media.clone(), watched)?,
            metrics: metrics.clone(),
            token: args.admin_token_file.as_deref().map(admin_token).transpose()?,
        };
        let app = Arc::new(cluster.app(&args, &limits, control.clone(), metrics)?);
        let private = private::router(Arc::new(private), app.identity.clone());
        let mut gateway = Self {
            public: ports.public[0].local_addr()?,
            private: ports.private.local_addr()?,
            media: media.local_addr(),
            instance_id: cluster.instance_id,
            boot_id: cluster.boot_id,
            control,
            exit,
            threads: Vec::new(),
        };
        let most = connections_per_listener();
        let serve = |listener, router, pulse| listener::serve(listener, most, router, pulse, exits.clone());
        gateway.spawn("private", serve(ports.private, private, Arc::new(Pulse::new())))?;
        let mut public = ports.public.into_iter().zip(pulses);
        let mut next = || public.next().map(|(listener, pulse)| serve(listener, http::router(app.clone()), pulse));
        gateway.spawn("public", beside(task, next().context("no public listener")?))?;
        while let Some(listener) = next() {
            gateway.spawn("public", listener)?;
        }
        if random_key {
            tracing::warn!("no --cluster-key-file: capsules of this instance mean nothing to another one");
        }
        tracing::info!(instance = %gateway.instance_id, boot = %gateway.boot_id, public = %gateway.public,
            private = %gateway.private, media = %gateway.media, "started");
        Ok(gateway)
    }

    /// One thread with one current-thread runtime; sockets never cross.
    fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(task))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Public HTTP.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Private HTTP.
    #[must_use]
    pub fn private(&self) -> SocketAddr {
        self.private
    }

    /// UDP.
    #[must_use]
    pub fn media(&self) -> SocketAddr {
        self.media
    }

    /// Which instance.
    #[must_use]
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance_id
    }

    /// Which run of it.
    #[must_use]
    pub fn boot_id(&self) -> &BootId {
        &self.boot_id
    }

    /// Says `draining`, waits for calls up to `--shutdown-grace-ms` and at least `--drain-notice-ms`, closes everything; see
    /// [`Gateway::left`]. Told again, it closes everything at once.
    pub fn leave(&self) {
        tracing::info!(instance = %self.instance_id, "leaving");
        if !self.control.try_tell(Input::Leave) {
            self.exit.send_replace(true);
        }
    }

    /// Resolves when everything is closed.
    pub async fn left(&self) {
        // An error means that the sender is gone, which this object holds.
        let _ = self.exit.subscribe().wait_for(|exit| *exit).await;
    }

    /// Ends at once, and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.exit.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

/// The sessions' task and the first listener on one thread: most words pass between these two, and waking another thread
/// for each costs more than acting on it.
async fn beside(sessions: control::Task, listener: impl Future<Output = ()>) {
    let sessions = tokio::spawn(sessions.run());
    listener.await;
    if let Err(error) = sessions.await {
        tracing::error!(%error, "the task of the sessions broke");
    }
}

/// TCP ports, opened before anything else, because that fails most often.
struct Ports {
    public: Vec<TcpListener>,
    private: TcpListener,
}

impl Ports {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let public = listen::tcp("listen", args.listen, public_listeners())?;
        let private = listen::tcp("admin-listen", args.admin_listen, 1)?.pop().context("no private listener")?;
        Ok(Self { public, private })
    }
}

/// Who this instance is, and what it shares with the others.
struct Cluster {
    instance_id: InstanceId,
    boot_id: BootId,
    keys: ClusterKeys,
    ring: SealRing,
}

impl Cluster {
    fn load(args: &Args) -> anyhow::Result<Self> {
        let keys = cluster_keys(args.cluster_key_file.as_deref())?;
        let ring = keys.derive("capsule").into_iter().map(|key| SealKey { id: key.id, key: key.key }).collect();
        let ring = SealRing::new(ring).context("error: --cluster-key-file: at least one key is needed")?;
        let instance_id = args.instance_id.clone().unwrap_or_else(random_id);
        Ok(Self { instance_id, boot_id: random_id(), keys, ring })
    }

    fn settings(&self, args: &Args, limits: &Limits, sip: Option<SipSettings>) -> Settings {
        Settings {
            instance_id: self.instance_id.clone(),
            boot_id: self.boot_id.clone(),
            limits: limits.clone(),
            ring: self.ring.clone(),
            alternates: args.alternate.clone(),
            sip,
            drain_deadline: args.drain_deadline(),
            drain_notice: args.drain_notice(),
            shutdown_grace: args.shutdown_grace(),
        }
    }

    fn reporter(
        &self,
        args: &Args,
        limits: &Limits,
        control: Control,
        media: MediaPlane,
        listeners: Vec<Arc<Pulse>>,
    ) -> anyhow::Result<Reporter> {
        Ok(Reporter {
            instance_id: self.instance_id.clone(),
            boot_id: self.boot_id.clone(),
            capacity: limits.sessions,
            call_capacity: limits.calls,
            setup_rate: limits.setup_rate,
            config_hash: config_hash(args)?,
            key_ids: self.keys.ids(),
            control,
            media,
            listeners,
        })
    }

    fn app(&self, args: &Args, limits: &Limits, control: Control, metrics: Arc<Metrics>) -> anyhow::Result<App> {
        Ok(App {
            control,
            auth: args.auth.into(),
            verifier: verifier(args)?,
            ring: self.ring.clone(),
            origins: Origins::new(&args.allowed_origin),
            assets: Assets::load(&args.web_dir, &[args.allowed_origin.as_slice(), &args.alternate].concat()),
            metrics,
            messages_per_second: limits.messages_per_second,
            identity: http::identity(&self.instance_id, &self.boot_id),
        })
    }
}

fn start_media(args: &Args, limits: &Limits) -> anyhow::Result<(MediaPlane, mpsc::Receiver<MediaEvent>)> {
    let listen = args.media_listen;
    let config = MediaConfig {
        advertise: args.media_advertise.clone(),
        threads: args.media_threads.map_or(0, usize::from),
        max_peers: limits.calls as usize,
        rtp_ports: args.sip.rtp_ports(),
        rtp_listen: Some(args.sip.listen().ip()),
        rtp_advertise: Some(args.sip.advertise()),
        ..MediaConfig::new(listen)
    };
    MediaPlane::start(config)
        .map_err(|error| anyhow::anyhow!("error: --media-listen {listen}: {error}; a free local ip:port is allowed"))
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn cluster_keys(file: Option<&Path>) -> anyhow::Result<ClusterKeys> {
    match file {
        Some(path) => ClusterKeys::load(path).with_context(|| format!("error: --cluster-key-file {}", path.display())),
        None => ClusterKeys::random().map_err(|error| anyhow::anyhow!("no random bytes: {error}")),
    }
}

fn verifier(args: &Args) -> anyhow::Result<Verifier> {
    match (args.auth, &args.jwt_key_file) {
        (AuthFlag::Jwt, Some(path)) => Verifier::load(path),
        (AuthFlag::Jwt, None) | (AuthFlag::Anonymous, _) => Ok(Verifier::none()),
    }
}

fn config_hash(args: &Args) -> anyhow::Result<String> {
    let jwt_keys = match &args.jwt_key_file {
        Some(path) => std::fs::read(path).with_context(|| format!("error: --jwt-key-file {}", path.display()))?,
        None => Vec::new(),
    };
    let sip_domain = args.sip.domain();
    let shared = SharedSettings {
        auth: args.auth.into(),
        jwt_keys: &jwt_keys,
        srtp_profiles: &SRTP_PROFILES,
        codecs: &CODECS,
        sip_domain: sip_domain.as_deref(),
    };
    Ok(shared.hash())
}

/// Whether the files that the flags name can be used, so that `--check-config` says it too.
pub(crate) fn check_files(args: &Args) -> anyhow::Result<()> {
    cluster_keys(args.cluster_key_file.as_deref())?;
    verifier(args)?;
    args.admin_token_file.as_deref().map(admin_token).transpose()?;
    telephony::check_files(&args.sip)?;
    Ok(())
}

fn admin_token(path: &Path) -> anyhow::Result<String> {
    let wrap = || format!("error: --admin-token-file {}", path.display());
    let token = std::fs::read_to_string(path).with_context(wrap)?.trim().to_owned();
    anyhow::ensure!(token.len() >= 16, "{}: a token has at least 16 characters", wrap());
    Ok(token)
}

fn random_id<T: TryFrom<String, Error = gateway_protocol::IdError>>() -> T {
    T::try_from(OsRandom.text::<9>()).expect("base64url of 9 bytes is an id")
}

/// The public listeners may not take the file descriptors that the private one and the media need.
fn connections_per_listener() -> usize {
    const SPARE_FILES: u64 = 512;
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1_024, 1_024));
    let each = files.saturating_sub(SPARE_FILES).max(SPARE_FILES) / public_listeners() as u64;
    usize::try_from(each).unwrap_or(MAX_CONNECTIONS).min(MAX_CONNECTIONS)
}

/// A thread each. Half of the cores: the media workers need the others.
fn public_listeners() -> usize {
    cores().div_ceil(2)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
