//! Requests after a session, in parallel and over all balancers, each checked for the instance that answers.

use crate::cause;
use crate::drive::{Script, Shared};
use crate::http::{Ask, Base, Browser};
use crate::tally::Fact;
use crate::user::Now;
use gateway_protocol::{BootId, header};
use std::sync::Arc;
use std::time::Duration;

/// A request without an answer for so long has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks after a session again and again.
pub(crate) struct Watch {
    pub(crate) number: usize,
    pub(crate) browser: Browser,
    pub(crate) bases: Vec<Base>,
    pub(crate) path: String,
    pub(crate) bearer: String,
    pub(crate) boot: BootId,
    pub(crate) shared: Arc<Shared>,
}

impl Watch {
    pub(crate) async fn run(self, script: Script) {
        let mut left = script.requests;
        let mut turn = self.number;
        let mut alive = !self.bases.is_empty();
        while left > 0 && alive {
            let burst = left.min(script.parallel.max(1));
            left -= burst;
            let asks = (0..burst).map(|_| {
                turn += 1;
                self.ask_once(&self.bases[turn % self.bases.len()])
            });
            let facts = futures_util::future::join_all(asks).await;
            alive = !facts.iter().any(|(fact, _)| matches!(fact, Fact::ToldGone { .. }));
            for (fact, at) in facts {
                // The first to hear it loses the session's cookie; those asked after that are led by the browser's.
                let fact = if !alive && fact == Fact::Misrouted { self.told_gone() } else { fact };
                self.shared.note(self.number, fact, at);
            }
            tokio::time::sleep(script.request_interval).await;
        }
    }

    async fn ask_once(&self, base: &Base) -> (Fact, Now) {
        let headers = vec![("authorization", self.bearer.clone())];
        let ask = Ask { method: "GET", path: self.path.clone(), headers, body: Vec::new() };
        let asked = self.shared.now();
        let failed = |cause| Fact::RequestFailed { asked, cause };
        let fact = match tokio::time::timeout(ANSWER_TIMEOUT, self.browser.ask(base, &ask)).await {
            Ok(Ok(answer)) if answer.headers().get(header::BOOT).is_some_and(|boot| boot == self.boot.as_str()) => {
                Fact::Answered
            }
            Ok(Ok(answer)) if is_gone(&answer) => self.told_gone(),
            Ok(Ok(answer)) if answer.status().is_server_error() || is_silent(&answer) => {
                failed(cause::of_answer(&answer))
            }
            Ok(Ok(_)) => Fact::Misrouted,
            Ok(Err(error)) => failed(cause::of_error(&error)),
            Err(_) => failed(cause::TIMED_OUT.to_owned()),
        };
        (fact, self.shared.now())
    }

    /// Nobody can route to a session without an instance: nothing more is asked.
    fn told_gone(&self) -> Fact {
        Fact::ToldGone { boot: self.boot.clone() }
    }
}

/// The balancer says that the session's instance is gone, by whomever it let answer.
fn is_gone(answer: &http::Response<bytes::Bytes>) -> bool {
    cause::pin(answer).is_some_and(|pin| ["reason=gone", "reason=restarted"].iter().any(|reason| pin.contains(reason)))
}

/// The balancer can't reach the session's instance, which proves nothing.
fn is_silent(answer: &http::Response<bytes::Bytes>) -> bool {
    cause::pin(answer).is_some_and(|pin| pin.contains("reason=silent"))
}
