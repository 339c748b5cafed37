//! Requests after a session, in parallel and over all balancers, each checked for the instance that answers.

use crate::cause;
use crate::drive::{Script, Shared};
use crate::http::{Ask, Base, Browser};
use crate::tally::Fact;
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
            alive = futures_util::future::join_all(asks).await.into_iter().all(|alive| alive);
            tokio::time::sleep(script.request_interval).await;
        }
    }

    /// False if the session's instance is said to be gone: then its cookie is gone too, and nobody can route to it.
    async fn ask_once(&self, base: &Base) -> bool {
        let headers = vec![("authorization", self.bearer.clone())];
        let ask = Ask { method: "GET", path: self.path.clone(), headers, body: Vec::new() };
        let asked = self.shared.now();
        let failed = |cause| Fact::RequestFailed { asked, cause };
        let mut alive = true;
        let fact = match tokio::time::timeout(ANSWER_TIMEOUT, self.browser.ask(base, &ask)).await {
            Ok(Ok(answer)) if answer.headers().get(header::BOOT).is_some_and(|boot| boot == self.boot.as_str()) => {
                Fact::Answered
            }
            Ok(Ok(answer)) if answer.status().is_server_error() || is_silent(&answer) => {
                failed(cause::of_answer(&answer))
            }
            Ok(Ok(answer)) => {
                alive = !is_gone(&answer);
                Fact::AnsweredElsewhere { boot: self.boot.clone() }
            }
            Ok(Err(error)) => failed(cause::of_error(&error)),
            Err(_) => failed(cause::TIMED_OUT.to_owned()),
        };
        self.shared.note(self.number, fact, self.shared.now());
        alive
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
