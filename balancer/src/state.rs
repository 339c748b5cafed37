//! What the threads of the balancer share: the published view of all instances, each run's down signal, and the way back for
//! the data path's doubts.
//!
//! The probe thread owns the pool and publishes; every other thread only reads. Nothing here is ever waited for.

use arc_swap::ArcSwap;
use balancer_core::{Endpoint, Instance, Loss, Snapshot, Time};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, watch};

/// Room for doubts; at the limit further ones are dropped, the checks find out by themselves.
pub(crate) const DOUBTS: usize = 1024;

/// The clocks of the process, in one place.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time as the pure core counts it.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.elapsed()
    }

    /// That time as the runtime counts it.
    #[must_use]
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.0 + time).into()
    }

    /// Wall-clock time in Unix seconds, for pins.
    #[must_use]
    pub fn unix_seconds() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// Tells everything that depends on one run that it is lost. One per run; cheap to clone; may be awaited on any runtime.
#[derive(Debug, Clone)]
pub struct Down(watch::Receiver<Option<Loss>>);

impl Down {
    /// The loss, if it happened already.
    #[must_use]
    pub fn now(&self) -> Option<Loss> {
        *self.0.borrow()
    }

    /// Ready when the run is lost. Cancel-safe.
    pub async fn wait(&mut self) -> Loss {
        // The sender is only dropped when the run was forgotten, and that is a loss too.
        self.0.wait_for(Option::is_some).await.ok().and_then(|loss| *loss).unwrap_or(Loss::Gone)
    }
}

/// What the shell keeps for one run.
#[derive(Debug)]
pub struct Link {
    down: watch::Sender<Option<Loss>>,
}

impl Link {
    /// The signal to be listened to by every tunnel and every in-flight request of the run.
    #[must_use]
    pub fn down(&self) -> Down {
        Down(self.down.subscribe())
    }

    /// Raised by the probe thread alone. A silent run may still turn out to be gone; the first word stands.
    pub(crate) fn raise(&self, loss: Loss) {
        self.down.send_if_modified(|now| now.is_none().then(|| *now = Some(loss)).is_some());
    }
}

impl Default for Link {
    fn default() -> Self {
        Self { down: watch::Sender::new(None) }
    }
}

/// One consistent view of everything.
#[derive(Debug, Default)]
pub struct View {
    /// What the pool decided.
    pub snapshot: Snapshot,
    /// When it was published: ten times a second, so an old one means that the probe thread is stuck.
    pub published: Time,
    links: HashMap<u64, Arc<Link>>,
}

impl View {
    pub(crate) fn new(snapshot: Snapshot, links: HashMap<u64, Arc<Link>>, published: Time) -> Self {
        Self { snapshot, published, links }
    }

    /// The link of an instance of this view's snapshot.
    #[must_use]
    pub fn link(&self, instance: &Instance) -> Arc<Link> {
        self.links.get(&instance.serial).cloned().unwrap_or_default()
    }
}

/// The handle that every thread holds.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The process's clock.
    pub clock: Clock,
    view: Arc<ArcSwap<View>>,
    doubts: mpsc::Sender<Endpoint>,
}

impl Shared {
    /// With the receiving end for the probe thread.
    #[must_use]
    pub fn new(clock: Clock) -> (Self, mpsc::Receiver<Endpoint>) {
        let (doubts, receiver) = mpsc::channel(DOUBTS);
        (Self { clock, view: Arc::default(), doubts }, receiver)
    }

    /// The present view. Costs a few nanoseconds; load it once per decision.
    #[must_use]
    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// To be called when a connection was refused, reset or closed without an answer, or when an answer bore other ids
    /// (`holdfast-instance`, `holdfast-boot`) than expected. A fresh check at once finds out what it means. Never waits.
    pub fn doubt(&self, endpoint: Endpoint) {
        // Dropped when full: the next check finds out.
        let _ = self.doubts.try_send(endpoint);
    }

    pub(crate) fn publish(&self, view: View) {
        self.view.store(Arc::new(view));
    }
}
