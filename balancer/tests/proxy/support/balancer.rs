//! A whole balancer in this process: probe thread and data path on ports of their own.

use super::{eventually, fake::Fake};
use balancer::{
    metrics::Metrics,
    probe::{self, Probes, Wish},
    proxy::{self, Proxy, Rules, Tls},
    state::{Clock, Shared},
};
use balancer_core::{
    Endpoint,
    pin::{KeyRing, PinKey},
    pool::Config,
    sizing::Wanted,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;

/// What signs pins, unless a test wants another.
pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) fn key_ring(secret: [u8; 32]) -> KeyRing {
    KeyRing::new(&[PinKey { id: [1; 4], secret }]).expect("a key")
}

/// What a test may want otherwise.
pub(crate) struct Options {
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) create_timeout_ms: u64,
    pub(crate) max_connections: u32,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) allowed_origins: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { key: None, create_timeout_ms: 1000, max_connections: 0, tls: None, allowed_origins: Vec::new() }
    }
}

/// A running balancer.
pub(crate) struct Balancer {
    pub(crate) http: SocketAddr,
    shared: Shared,
    _proxy: Proxy,
    /// The probe thread ends when it is dropped.
    _wishes: mpsc::Sender<Wish>,
}

impl Balancer {
    /// In front of these instances, all of which are up.
    pub(crate) fn start(fakes: &[Fake]) -> Self {
        Self::with(fakes, Options::default())
    }

    pub(crate) fn with(fakes: &[Fake], options: Options) -> Self {
        let (shared, doubts) = Shared::new(Clock::start());
        let (wishes, wished) = mpsc::channel(1);
        let (metrics, admission) = (Arc::<Metrics>::default(), Arc::<Mutex<_>>::default());
        let probes = Probes {
            config: Config {
                wanted: Wanted { spare: 1, target: 1.0 },
                protect_spare: false,
                silence: Duration::from_millis(400),
            },
            failback: balancer_core::failback::Failback::default(),
            instances: fakes.iter().map(|fake| Endpoint { http: fake.http, admin: fake.admin }).collect(),
            discover: None,
            token: None,
            admission: Arc::clone(&admission),
            metrics: Arc::clone(&metrics),
        };
        probe::start(probes, shared.clone(), doubts, wished).expect("a thread");
        let placeable = || shared.view().snapshot.instances.iter().filter(|each| each.placeable).count();
        eventually("all instances are up", || placeable() == fakes.len());
        let rules = Rules {
            keys: key_ring(options.key.unwrap_or(KEY)),
            admission,
            metrics,
            create_timeout: Duration::from_millis(options.create_timeout_ms),
            trusted_proxies: Vec::new(),
            allowed_origins: options.allowed_origins,
            tls: options.tls,
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = holdfast_config::listen::tcp("listen", any, 2).expect("a free port");
        let proxy = proxy::start(listeners, &shared, rules, options.max_connections).expect("threads");
        Self { http: proxy.address, shared, _proxy: proxy, _wishes: wishes }
    }

    /// Instances that take new sessions.
    pub(crate) fn placeable(&self) -> usize {
        self.shared.view().snapshot.instances.iter().filter(|each| each.placeable).count()
    }

    /// Instances that are not known to be dead.
    pub(crate) fn alive(&self) -> usize {
        self.shared.view().snapshot.instances.iter().filter(|each| each.alive()).count()
    }
}
