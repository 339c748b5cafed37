//! A balancer in this process, with its defaults.

use balancer::metrics::Metrics;
use balancer::probe::{self, Probes, Wish};
use balancer::proxy::{self, Proxy, Rules};
use balancer::state::{Clock, Shared};
use balancer_core::Endpoint;
use balancer_core::failback::Failback;
use balancer_core::pin::{KeyRing, PinKey};
use balancer_core::pool::Config;
use balancer_core::sizing::Wanted;
use holdfast_config::ClusterKeys;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _proxy: Proxy,
    /// The probe thread ends when it is dropped.
    _wishes: mpsc::Sender<Wish>,
}

impl Balancer {
    /// Of these instances, once all of them are up.
    pub(crate) fn start(instances: Vec<Endpoint>, keys: &ClusterKeys) -> Self {
        let (shared, doubts) = Shared::new(Clock::start());
        let (wishes, wished) = mpsc::channel(1);
        let (metrics, admission) = (Arc::<Metrics>::default(), Arc::<Mutex<_>>::default());
        let count = instances.len();
        let probes = Probes {
            config: Config {
                wanted: Wanted { spare: 1, target: 1.0 },
                protect_spare: false,
                silence: Duration::from_millis(400),
            },
            failback: Failback::default(),
            instances,
            discover: None,
            token: None,
            admission: admission.clone(),
            metrics: metrics.clone(),
        };
        probe::start(probes, shared.clone(), doubts, wished).expect("a thread");
        while shared.view().snapshot.instances.iter().filter(|instance| instance.placeable).count() < count {
            std::thread::yield_now();
        }
        let keys: Vec<_> =
            keys.derive("cookie").into_iter().map(|key| PinKey { id: key.id, secret: key.key }).collect();
        let rules = Rules {
            keys: KeyRing::new(&keys).expect("a key"),
            admission,
            metrics,
            create_timeout: Duration::from_secs(5),
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            tls: None,
        };
        let listeners = holdfast_config::listen::tcp("listen", ([127, 0, 0, 1], 0).into(), 1).expect("a free port");
        let proxy = proxy::start(listeners, &shared, rules, 0).expect("threads");
        Self { address: proxy.address, _proxy: proxy, _wishes: wishes }
    }
}
