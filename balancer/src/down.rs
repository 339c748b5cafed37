//! The signal that one run of an instance is lost: fired once by the probe thread, heard by every tunnel and connection.

use balancer_core::Loss;
use tokio::sync::watch;

/// Held by the probe thread, one for each run.
#[derive(Debug)]
pub struct DownSignal(watch::Sender<Option<Loss>>);

impl Default for DownSignal {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl DownSignal {
    /// Ends everything that listens, with the first reason given.
    pub fn fire(&self, loss: Loss) {
        self.0.send_if_modified(|fired| fired.is_none() && fired.replace(loss).is_none());
    }

    /// An ear for it.
    #[must_use]
    pub fn listen(&self) -> Down {
        Down(self.0.subscribe())
    }
}

/// An ear for a [`DownSignal`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Down(watch::Receiver<Option<Loss>>);

impl Down {
    /// Why the run is lost, if it is.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        *self.0.borrow()
    }

    /// Resolves when the run is lost. A run that was forgotten without a verdict is gone.
    pub async fn lost(mut self) -> Loss {
        match self.0.wait_for(Option::is_some).await {
            Ok(fired) => fired.unwrap_or(Loss::Gone),
            Err(_) => Loss::Gone,
        }
    }
}
