//! One health check over HTTP: how it is asked, and what its outcome means.

use balancer_core::{
    Endpoint, Report, Run,
    instance::Stage,
    pool::{Answer, CHECK_TIMEOUT},
};
use bytes::Bytes;
use gateway_protocol::{Health, InstanceState, header};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

/// Longest report.
const MAX_REPORT_BYTES: usize = 64 * 1024;

type Sender = SendRequest<Full<Bytes>>;

/// Why an instance did not take a change of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It said no.
    #[error("{at} refused the change with {status}")]
    Refused {
        /// Its admin listener.
        at: SocketAddr,
        /// Its answer.
        status: StatusCode,
    },
    /// It may have taken it nevertheless.
    #[error("{at} did not answer whether it took the change")]
    NoAnswer {
        /// Its admin listener.
        at: SocketAddr,
    },
}

/// The way to one instance's admin listener. It keeps one connection, so that the end of the process is noticed as the end of
/// that connection, not at the next check.
#[derive(Clone)]
pub(crate) struct Checker {
    endpoint: Endpoint,
    idle: Rc<RefCell<Option<Sender>>>,
    /// Told when the idle connection ends.
    doubts: mpsc::UnboundedSender<Endpoint>,
    token: Option<HeaderValue>,
}

impl Checker {
    pub(crate) fn new(endpoint: Endpoint, doubts: mpsc::UnboundedSender<Endpoint>, token: Option<HeaderValue>) -> Self {
        Self { endpoint, idle: Rc::default(), doubts, token }
    }

    /// `GET /health`, over a new connection if `fresh`. Ends within [`CHECK_TIMEOUT`].
    pub(crate) async fn check(&self, fresh: bool) -> Answer {
        let exchange = self.exchange(Method::GET, "/health", Bytes::new(), fresh);
        match timeout(CHECK_TIMEOUT, exchange).await {
            Ok(Ok((StatusCode::OK, body))) => read_report(&body).map_or(Answer::Nonsense, Answer::Report),
            Ok(Ok(_)) => Answer::Nonsense,
            Ok(Err(failure)) => failure.meaning(),
            Err(_) => Answer::None,
        }
    }

    /// `POST /drain`. Ends within [`CHECK_TIMEOUT`].
    pub(crate) async fn drain(&self, drain: bool) -> Result<(), NotTaken> {
        let body = Bytes::from_static(if drain { b"{}" } else { br#"{"cancel":true}"# });
        let exchange = self.exchange(Method::POST, "/drain", body, true);
        let at = self.endpoint.admin;
        match timeout(CHECK_TIMEOUT, exchange).await {
            Ok(Ok((status, _))) if status.is_success() => Ok(()),
            Ok(Ok((status, _))) => Err(NotTaken::Refused { at, status }),
            Ok(Err(_)) | Err(_) => Err(NotTaken::NoAnswer { at }),
        }
    }

    /// `POST /rebalance`; how many clients it asked to go. Ends within [`CHECK_TIMEOUT`].
    pub(crate) async fn rebalance(&self, clients: u32) -> Result<u32, NotTaken> {
        #[derive(serde::Deserialize)]
        struct Answer {
            asked: u32,
        }
        let body = Bytes::from(format!("{{\"clients\":{clients}}}"));
        let exchange = self.exchange(Method::POST, "/rebalance", body, true);
        let at = self.endpoint.admin;
        match timeout(CHECK_TIMEOUT, exchange).await {
            Ok(Ok((status, body))) if status.is_success() => {
                serde_json::from_slice(&body).map(|Answer { asked }| asked).map_err(|_| NotTaken::NoAnswer { at })
            }
            Ok(Ok((status, _))) => Err(NotTaken::Refused { at, status }),
            Ok(Err(_)) | Err(_) => Err(NotTaken::NoAnswer { at }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        fresh: bool,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let kept = if fresh { None } else { self.idle.take().filter(|sender| !sender.is_closed()) };
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender.send_request(self.request(method, path, body)?).await.map_err(Failure::Http)?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), MAX_REPORT_BYTES).collect().await.map_err(|_| Failure::BadBody)?;
        self.idle.borrow_mut().get_or_insert(sender);
        Ok((status, body.to_bytes()))
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.endpoint.admin.to_string())
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(header::ADMIN, "1");
        if let Some(token) = &self.token {
            request = request.header(http::header::AUTHORIZATION, token);
        }
        request.body(Full::new(body)).map_err(|_| Failure::BadBody)
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = TcpStream::connect(self.endpoint.admin).await.map_err(Failure::Io)?;
        stream.set_nodelay(true).map_err(Failure::Io)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
        let (endpoint, doubts, idle) = (self.endpoint, self.doubts.clone(), Rc::downgrade(&self.idle));
        tokio::task::spawn_local(async move {
            // Its errors reach whoever waits for an answer.
            let _ = connection.await;
            let Some(idle) = idle.upgrade() else { return };
            if idle.borrow_mut().take_if(|sender| sender.is_closed()).is_some() {
                let _ = doubts.send(endpoint);
            }
        });
        Ok(sender)
    }
}

/// Why there is no answer.
enum Failure {
    Io(io::Error),
    Http(hyper::Error),
    BadBody,
}

impl Failure {
    fn meaning(&self) -> Answer {
        match self {
            Self::Io(error) => of_io(error.kind()),
            Self::BadBody => Answer::Nonsense,
            Self::Http(error) if error.is_parse() => Answer::Nonsense,
            Self::Http(error) => {
                match std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>()) {
                    Some(error) => of_io(error.kind()),
                    None => Answer::Broken,
                }
            }
        }
    }
}

/// Only what the instance's own kernel says is proof; that a network can't be used is not.
fn of_io(kind: io::ErrorKind) -> Answer {
    match kind {
        io::ErrorKind::ConnectionRefused => Answer::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Answer::Broken,
        _ => Answer::None,
    }
}

fn read_report(body: &[u8]) -> Option<Report> {
    let health: Health = serde_json::from_slice(body).ok()?;
    Some(Report {
        run: Run::parse(health.instance_id.as_str(), health.boot_id.as_str()).ok()?,
        stage: match health.state {
            InstanceState::Standby => Stage::Standby,
            InstanceState::Starting | InstanceState::Unknown => Stage::Starting,
            InstanceState::Ready => Stage::Ready,
            InstanceState::Draining => Stage::Draining,
        },
        capacity: health.capacity,
        used: health.used,
        call_capacity: health.call_capacity,
        calls: health.calls,
        sessions: health.sessions,
        registered: health.registered,
        setup_rate: health.setup_rate,
        config_hash: health.config_hash,
        key_ids: health.key_ids,
        version: health.version,
    })
}
