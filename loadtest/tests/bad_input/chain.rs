//! The chain under test in this process: a balancer, a metered wire, and one instance with its media plane.

use crate::client::{Answer, request};
use crate::relay::Relay;
use balancer::metrics::Metrics;
use balancer::probe::{self, Probes, Wish};
use balancer::proxy::{self, Proxy, Rules};
use balancer::state::{Clock, Shared};
use balancer_core::Endpoint;
use balancer_core::failback::Failback;
use balancer_core::pin::{KeyRing, PinKey};
use balancer_core::pool::Config;
use balancer_core::sizing::Wanted;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Parser;
use gateway::{Args, Gateway};
use gateway_core::{SealKey, SealRing};
use holdfast_config::ClusterKeys;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// The instance's name.
pub(crate) const INSTANCE: &str = "gw-1";
/// Sockets that may wait for their attach.
pub(crate) const UNATTACHED_SOCKETS: usize = 4;
/// The cluster's key, and one of another cluster.
const CLUSTER_KEY: [u8; 32] = [7; 32];
const FOREIGN_KEY: [u8; 32] = [8; 32];
const JWT_KEY: &[u8; 32] = b"the key that all the users share";

/// How users prove who they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    Jwt,
    Anonymous,
}

pub(crate) struct Chain {
    pub(crate) balancer: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) relay: Relay,
    users: Users,
    metrics: Arc<Metrics>,
    shared: Shared,
    _proxy: Proxy,
    /// The probe thread ends when it is dropped.
    _wishes: mpsc::Sender<Wish>,
    _files: tempfile::TempDir,
}

impl Chain {
    pub(crate) fn start(users: Users) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let gateway = start_gateway(users, files.path());
        let relay = Relay::start(gateway.public());
        let (shared, doubts) = Shared::new(Clock::start());
        let (wishes, wished) = mpsc::channel(1);
        let metrics = Arc::<Metrics>::default();
        let admission = Arc::<Mutex<_>>::default();
        let probes = Probes {
            config: Config {
                wanted: Wanted { spare: 0, target: 1.0 },
                protect_spare: false,
                silence: Duration::from_secs(5),
            },
            failback: Failback::default(),
            instances: vec![Endpoint { http: relay.address, admin: gateway.private() }],
            discover: None,
            token: None,
            admission: admission.clone(),
            metrics: metrics.clone(),
        };
        probe::start(probes, shared.clone(), doubts, wished).expect("a thread");
        while !shared.view().snapshot.instances.iter().any(|instance| instance.placeable) {
            std::thread::yield_now();
        }
        let rules = Rules {
            keys: pin_keys(&cluster(CLUSTER_KEY)),
            admission,
            metrics: metrics.clone(),
            create_timeout: Duration::from_secs(5),
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            tls: None,
        };
        let listeners = holdfast_config::listen::tcp("listen", ([127, 0, 0, 1], 0).into(), 2).expect("a free port");
        let proxy = proxy::start(listeners, &shared, rules, 0).expect("threads");
        Self {
            balancer: proxy.address,
            gateway,
            relay,
            users,
            metrics,
            shared,
            _proxy: proxy,
            _wishes: wishes,
            _files: files,
        }
    }

    /// Headers and body with which `user` signs in on tab `client_id`.
    pub(crate) fn sign_in(&self, user: &str, client_id: &str) -> (Vec<(&'static str, String)>, Value) {
        match self.users {
            Users::Jwt => (vec![bearer(&jwt(user, 3600))], json!({ "client_id": client_id })),
            Users::Anonymous => (Vec::new(), json!({ "client_id": client_id, "user": user })),
        }
    }

    /// A 201 through the balancer.
    pub(crate) async fn signed_in(&self, user: &str, client_id: &str) -> Answer {
        let (headers, body) = self.sign_in(user, client_id);
        let answer = request(self.balancer, "POST", "/v1/sessions", &headers, &body.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// A counter of the instance, its labels included.
    pub(crate) async fn instance_counts(&self, line: &str) -> u64 {
        value(&request(self.gateway.private(), "GET", "/metrics", &[], "").await.text, line)
    }

    /// Datagrams that the media plane dropped for `reason`.
    pub(crate) async fn dropped(&self, reason: &str) -> u64 {
        self.instance_counts(&format!("holdfast_media_dropped_total{{reason=\"{reason}\"}}")).await
    }

    /// A counter of the balancer, its labels included.
    pub(crate) fn balancer_counts(&self, line: &str) -> u64 {
        value(&self.metrics.render(&self.shared).expect("renders"), line)
    }
}

fn value(text: &str, line: &str) -> u64 {
    let found = text.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    // A counter with a label is there from its first increment on.
    found.unwrap_or(0)
}

fn start_gateway(users: Users, files: &std::path::Path) -> Gateway {
    let (keys, jwk) = (files.join("cluster.keys"), files.join("jwk.json"));
    std::fs::write(&keys, STANDARD.encode(CLUSTER_KEY)).expect("written");
    let jwk_text = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(JWT_KEY) }).to_string();
    std::fs::write(&jwk, jwk_text).expect("written");
    let (keys, jwk) = (keys.display().to_string(), jwk.display().to_string());
    let auth = match users {
        Users::Jwt => vec!["--auth", "jwt", "--jwt-key-file", &jwk],
        Users::Anonymous => vec!["--auth", "anonymous"],
    };
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags = ["--cluster-key-file", &keys, "--instance-id", INSTANCE, "--media-threads", "2"];
    let args = Args::parse_from(["gateway"].into_iter().chain(auth).chain(flags).chain(ports));
    let mut limits = args.limits();
    limits.unattached_sockets = UNATTACHED_SOCKETS;
    Gateway::start_limited(args, limits).expect("the gateway starts")
}

fn cluster(key: [u8; 32]) -> ClusterKeys {
    ClusterKeys::parse(&STANDARD.encode(key)).expect("a key")
}

fn pin_keys(keys: &ClusterKeys) -> KeyRing {
    let keys: Vec<_> = keys.derive("cookie").into_iter().map(|key| PinKey { id: key.id, secret: key.key }).collect();
    KeyRing::new(&keys).expect("a key")
}

fn seal_ring(keys: &ClusterKeys) -> SealRing {
    let keys = keys.derive("capsule").into_iter().map(|key| SealKey { id: key.id, key: key.key }).collect();
    SealRing::new(keys).expect("a key")
}

/// What signs this cluster's pins.
pub(crate) fn own_pins() -> KeyRing {
    pin_keys(&cluster(CLUSTER_KEY))
}

/// What signs another cluster's pins.
pub(crate) fn foreign_pins() -> KeyRing {
    pin_keys(&cluster(FOREIGN_KEY))
}

/// What seals this cluster's capsules and tickets.
pub(crate) fn own_seal() -> SealRing {
    seal_ring(&cluster(CLUSTER_KEY))
}

/// What seals another cluster's.
pub(crate) fn foreign_seal() -> SealRing {
    seal_ring(&cluster(FOREIGN_KEY))
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A JWT of `user` that lasts `seconds`, less than none for one that has expired.
pub(crate) fn jwt(user: &str, seconds: i64) -> String {
    sign(&json!({ "sub": user, "exp": unix_now().saturating_add_signed(seconds) }), JWT_KEY)
}

/// A JWT with these claims.
pub(crate) fn jwt_of(claims: &Value) -> String {
    sign(claims, JWT_KEY)
}

/// A JWT of `user` that somebody else signed.
pub(crate) fn forged_jwt(user: &str) -> String {
    sign(&json!({ "sub": user, "exp": unix_now() + 3600 }), b"a key that nobody knows, to nobody")
}

fn sign(claims: &Value, key: &[u8]) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(key)).expect("signed")
}

pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}
