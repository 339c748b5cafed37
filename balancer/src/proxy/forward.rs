//! Brings one request to an instance: the one that its pin names, or, in the same request, another one. Every decision on the
//! way is [`balancer_core`]'s.

use super::{
    answer,
    body::{AnswerBody, Held},
    client_io::ClientState,
    cookies::{self, Pins, Received},
    request::Wish,
    serve::Worker,
    tunnel::Pending,
    upstream::{Answered, Cause, Failed, Upstream},
    watch,
    wire::{BOOT, INSTANCE, Outgoing},
};
use crate::{metrics::Count, state::Clock};
use balancer_core::{
    Run,
    admission::{self, Entry},
    pick::{self, Avoid},
    pin::PinId,
    retry::{self, Failure, Next, Repeat},
    route::{self, Ask, Change, Kind, NoRoute, Reason, Told, Tried},
};
use bytes::Bytes;
use gateway_protocol::{Problem, ProblemType, header as own, problem::PROBLEM_JSON};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body;
use std::{rc::Rc, sync::PoisonError};

const SESSIONS: &str = "/v1/sessions";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(own::IDEMPOTENCY_KEY);
/// Longest problem that is read to learn its type.
const MAX_PROBLEM: u64 = 4 * 1024;

/// What is known of a request that may be sent to an instance, beside its head.
pub(crate) struct Checked {
    pub(crate) body: Held,
    pub(crate) wish: Wish,
    pub(crate) cookies: Received,
    /// What the client does not want.
    pub(crate) avoid: Option<Run>,
    /// The browser speaks TLS.
    pub(crate) is_secure: bool,
}

/// A checked request on its way.
pub(crate) struct Forward<'a> {
    worker: &'a Rc<Worker>,
    client: &'a ClientState,
    head: &'a Parts,
    request: &'a Checked,
    kind: Kind,
    repeat: Repeat,
}

impl<'a> Forward<'a> {
    /// `head` must be of origin-form, without anything that only the balancer may say.
    pub(crate) fn new(worker: &'a Rc<Worker>, client: &'a ClientState, head: &'a Parts, request: &'a Checked) -> Self {
        let body = &request.body.bytes;
        let has_key = head.headers.contains_key(IDEMPOTENCY_KEY) && body.len() <= retry::MAX_KEPT_BODY_BYTES;
        let repeat = Repeat::of(head.method.as_str(), !body.is_empty(), has_key);
        let kind = kind(head);
        Self { worker, client, head, request, kind, repeat }
    }

    /// The answer.
    pub(crate) async fn run(&self) -> Response<AnswerBody> {
        self.worker.budget.borrow_mut().earn();
        let Pins { browser, session, errors } = {
            let (keys, proven) = (&self.worker.rules.keys, &mut self.client.proven.borrow_mut());
            self.request.cookies.pins(self.kind, keys, proven, self.request.is_secure)
        };
        errors.into_iter().for_each(|error| self.worker.count(Count::PinError(error)));
        let avoid = Avoid { tried: Vec::new(), unwanted: self.request.avoid.clone() };
        let mut ask = Ask { kind: self.kind, session_pin: session, browser_pin: browser, avoid };
        if self.kind == Kind::SignIn
            && let Err(refused) = Box::pin(self.admit(&mut ask)).await
        {
            return refused;
        }
        self.try_all(&mut ask).await
    }

    /// Holds a sign-in back until its turn.
    async fn admit(&self, ask: &mut Ask<'_>) -> Result<(), Response<AnswerBody>> {
        let entry = {
            let mut admission = self.worker.rules.admission.lock().unwrap_or_else(PoisonError::into_inner);
            let (view, now) = (self.worker.shared.view(), self.worker.shared.clock.now());
            admission.handle_sign_in(now, ask.browser_pin.as_ref(), &view.snapshot, &mut self.worker.random())
        };
        match entry {
            Entry::Enter { wait, pin_counts } => {
                ask.browser_pin = ask.browser_pin.filter(|_| pin_counts);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                Ok(())
            }
            Entry::Later { retry_after, why } => {
                self.worker.count(Count::SignInRefused(why));
                Err(answer::unavailable(why.label(), retry_after, false))
            }
        }
    }

    async fn try_all(&self, ask: &mut Ask<'_>) -> Response<AnswerBody> {
        let request = Outgoing::new(&self.head.method, &self.head.uri, &self.head.headers, &self.request.body.bytes);
        let mut lost = 0;
        loop {
            let (upstream, told) = match self.route(ask) {
                Ok(found) => found,
                Err(nowhere) => return self.nowhere(nowhere),
            };
            let _place = (self.kind == Kind::SignIn).then(|| upstream.instance.traffic.reserve());
            let (upstream, outcome) = self.ask(upstream, &request, ask).await;
            let failure = match outcome {
                Ok(answered) => match self.pass_on(answered, &upstream, told, ask).await {
                    Ok(response) => return response,
                    Err(reason) => {
                        ask.avoid.tried.push(Tried { run: upstream.instance.run.clone(), reason });
                        Failure::NothingHappened
                    }
                },
                Err(failed) => {
                    self.note(&failed, &upstream, lost, ask);
                    failed.failure
                }
            };
            match retry::after(failure, self.repeat, lost, &mut self.worker.budget.borrow_mut()) {
                Next::Again => {
                    self.worker.count(Count::Retried);
                    lost += u8::from(failure != Failure::NothingHappened);
                }
                Next::OutcomeUnknown => {
                    self.worker.count(Count::OutcomeUnknown);
                    return answer::problem(ProblemType::OutcomeUnknown, "");
                }
                Next::Unavailable => return self.nowhere(NoRoute::NoneAlive),
            }
        }
    }

    fn route(&self, ask: &Ask<'_>) -> Result<(Rc<Upstream>, Told), NoRoute> {
        let view = self.worker.shared.view();
        let route = route::route(&view.snapshot, ask, &mut self.worker.random())?;
        Ok((self.worker.upstream(&view, route.instance), route.told))
    }

    async fn ask(
        &self,
        upstream: Rc<Upstream>,
        request: &Outgoing,
        ask: &Ask<'_>,
    ) -> (Rc<Upstream>, Result<Answered, Failed>) {
        let is_watched = self.kind == Kind::SignIn && self.repeat == Repeat::Harmless;
        if !is_watched {
            let outcome = upstream.exchange(request).await;
            return (upstream, outcome);
        }
        let reserve = || {
            let view = self.worker.shared.view();
            let reserved = pick::reserved(&view.snapshot, &upstream.instance.run, &ask.avoid)?;
            Some(self.worker.upstream(&view, reserved))
        };
        let host = self.head.headers.get(header::HOST);
        Box::pin(watch::first_answer(&upstream, request, host, self.worker.rules.create_timeout, reserve)).await
    }

    /// Remembers and reports a failed try. When a connection was closed while the instance lives, the same instance is asked
    /// once more: a verdict on its sessions needs proof.
    fn note(&self, failed: &Failed, upstream: &Upstream, lost: u8, ask: &mut Ask<'_>) {
        let loss = upstream.down.now();
        if loss.is_none() {
            self.worker.shared.doubt(upstream.instance.endpoint);
        }
        let reason = match (loss, failed.cause) {
            (Some(loss), _) => Reason::from(loss),
            (None, Cause::Refused) => Reason::Gone,
            (None, Cause::Closed) if lost == 0 => return,
            (None, Cause::Closed | Cause::Unreachable) => Reason::Silent,
        };
        ask.avoid.tried.push(Tried { run: upstream.instance.run.clone(), reason });
    }

    /// Makes the client's answer of an instance's, unless that promises that nothing happened.
    async fn pass_on(
        &self,
        answered: Answered,
        upstream: &Rc<Upstream>,
        told: Told,
        ask: &Ask<'_>,
    ) -> Result<Response<AnswerBody>, Reason> {
        let other = self.other_run(&answered.head.parts.headers, upstream);
        let asked = &upstream.instance.run;
        let told = other.as_ref().map_or(told, |run| route::told_by(told, ask.pin().as_ref(), asked, run));
        let (mut head, body) = if answered.head.parts.status == StatusCode::SWITCHING_PROTOCOLS {
            if self.request.wish != Wish::WebSocket {
                return Ok(answer::problem(ProblemType::Internal, "the instance switched protocols unasked"));
            }
            self.switch(answered, upstream)
        } else {
            let (mut head, body) = AnswerBody::passed(answered, Rc::clone(upstream));
            super::request::strip_hop_by_hop(&mut head.headers);
            if may_be_promise(&head, &body) {
                let bytes = Box::pin(body.collect()).await.map_or_else(|_| Bytes::new(), |whole| whole.to_bytes());
                promise(&bytes).map_or(Ok(()), Err)?;
                (head, AnswerBody::own(bytes))
            } else {
                (head, body)
            }
        };
        self.tell(&mut head.headers, head.status, told, other.as_ref().unwrap_or(&upstream.instance.run), ask);
        Ok(Response::from_parts(head, body))
    }

    /// Another run than expected, if one answered by its own word.
    fn other_run(&self, headers: &HeaderMap, upstream: &Upstream) -> Option<Run> {
        let (instance, boot) = (headers.get(INSTANCE)?, headers.get(BOOT)?);
        let run = &upstream.instance.run;
        if instance == run.instance.as_str() && boot == run.boot.as_str() {
            return None;
        }
        self.worker.shared.doubt(upstream.instance.endpoint);
        Run::parse(instance.to_str().ok()?, boot.to_str().ok()?).ok()
    }

    /// Leaves word for the client's connection to become a tunnel once the 101 is sent.
    fn switch(&self, answered: Answered, upstream: &Rc<Upstream>) -> (http::response::Parts, AnswerBody) {
        let Answered { head, rest, connection } = answered;
        let mut parts = head.parts;
        super::request::strip_hop_by_hop(&mut parts.headers);
        super::request::ask_for_websocket(&mut parts.headers);
        if let Some(socket) = connection.into_socket() {
            let pending = Pending::new(socket, rest, Rc::clone(upstream), Rc::clone(self.worker));
            *self.client.tunnel.borrow_mut() = Some(pending);
        }
        (parts, AnswerBody::own(Bytes::new()))
    }

    /// Adds what the balancer has to say: what became of the pin, and the cookies.
    fn tell(&self, headers: &mut HeaderMap, status: StatusCode, told: Told, run: &Run, ask: &Ask<'_>) {
        self.worker.count(Count::Pin(told));
        headers.insert(answer::PIN, told_value(told));
        let answer = route::Answer {
            kind: self.kind,
            told,
            status: status.as_u16(),
            sign_off: self.head.method == Method::DELETE,
            browser_pin: ask.browser_pin,
        };
        let (browser, session) = (route::browser_cookie(&answer), route::session_cookie(&answer));
        if (browser, session) == (Change::Keep, Change::Keep) {
            return;
        }
        let id =
            ask.browser_pin.or(ask.session_pin).map_or_else(|| PinId::random(&mut self.worker.random()), |pin| pin.id);
        let pin = |old, member| self.worker.rules.keys.renew(old, run, id, Clock::unix_seconds(), member);
        if let Change::Set { member } = browser
            && let Some(pin) = pin(ask.browser_pin, member)
        {
            cookies::set_browser(headers, &pin, self.request.is_secure);
        }
        match (session, self.session_id(headers)) {
            (Change::Set { member }, Some(id)) => {
                if let Some(pin) = pin(ask.session_pin, member) {
                    cookies::set_session(headers, &id, &pin, self.request.is_secure);
                }
            }
            (Change::Expire, Some(id)) => cookies::expire_session(headers, &id, self.request.is_secure),
            (Change::Set { .. } | Change::Expire | Change::Keep, _) => {}
        }
    }

    /// The session that the answer is about: made by a sign-in, or named by the path.
    fn session_id(&self, headers: &HeaderMap) -> Option<String> {
        let path = match self.kind {
            Kind::SignIn => headers.get(header::LOCATION)?.to_str().ok()?,
            Kind::Session => self.head.uri.path(),
            Kind::Page => return None,
        };
        cookies::session_id(path).map(str::to_owned)
    }

    fn nowhere(&self, why: NoRoute) -> Response<AnswerBody> {
        self.worker.count(Count::NoInstance);
        let accepts_html = self.head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let wants_page = self.kind == Kind::Page
            && self.head.method == Method::GET
            && accepts_html.is_some_and(|accept| accept.contains("text/html"));
        let view = self.worker.shared.view();
        let retry_after = admission::retry_after(&view.snapshot, &mut self.worker.random());
        answer::unavailable(&why.to_string(), retry_after, wants_page)
    }
}

fn kind(head: &Parts) -> Kind {
    let path = head.uri.path();
    if head.method == Method::OPTIONS {
        Kind::Page
    } else if path == SESSIONS && head.method == Method::POST {
        Kind::SignIn
    } else if cookies::session_id(path).is_some() {
        Kind::Session
    } else {
        Kind::Page
    }
}

fn told_value(told: Told) -> HeaderValue {
    match told {
        Told::Kept => HeaderValue::from_static("kept"),
        Told::New => HeaderValue::from_static("new"),
        Told::Moved(reason) => HeaderValue::try_from(format!("moved; reason={}", reason.label()))
            .expect("a label is a word of visible ASCII"),
    }
}

/// One that breaks off is passed on as far as it came.
fn may_be_promise(head: &http::response::Parts, body: &AnswerBody) -> bool {
    head.status == StatusCode::SERVICE_UNAVAILABLE
        && head.headers.get(header::CONTENT_TYPE).is_some_and(|value| value == PROBLEM_JSON)
        && body.size_hint().exact().is_some_and(|length| length <= MAX_PROBLEM)
}

fn promise(problem: &[u8]) -> Option<Reason> {
    let kind = serde_json::from_slice::<Problem>(problem).ok()?.kind;
    kind.nothing_happened().then_some(if kind == ProblemType::InstanceFull { Reason::Full } else { Reason::Draining })
}
