//! A lean HTTP/1.1 and WebSocket client for one virtual user: cookies like a browser's, a few kept connections per balancer.
//!
//! Plain HTTP only: the load test measures Holdfast, and TLS would measure itself.

use anyhow::{Context, bail};
use bytes::Bytes;
use cookie::Cookie;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Longest answer body that is read.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Most cookies of one user; the oldest goes first.
const MAX_COOKIES: usize = 64;

/// Base URL of a balancer or instance: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Base {
    authority: String,
}

impl Base {
    /// Only `http://host:port` without a path is taken.
    pub fn parse(text: &str) -> Result<Self, String> {
        let authority = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        match authority.filter(|authority| !authority.is_empty() && !authority.contains(['/', '?', '@'])) {
            Some(authority) if authority.contains(':') => Ok(Self { authority: authority.to_owned() }),
            Some(authority) => Ok(Self { authority: format!("{authority}:80") }),
            None => Err(format!("`{text}`: http://host:port is allowed")),
        }
    }
}

#[derive(Debug, Clone)]
struct Kept {
    name: String,
    value: String,
    path: String,
}

/// The cookies of one browser. Cookies ignore ports, so one jar serves all balancers of a host.
#[derive(Debug, Default)]
pub struct Jar {
    kept: Vec<Kept>,
}

impl Jar {
    /// Takes one `Set-Cookie`; one that can't be read is ignored, as browsers do.
    pub fn store(&mut self, header: &str) {
        let Ok(cookie) = Cookie::parse(header.to_owned()) else { return };
        let path = cookie.path().unwrap_or("/").to_owned();
        self.kept.retain(|kept| kept.name != cookie.name() || kept.path != path);
        if cookie.max_age().is_some_and(|age| !age.is_positive()) {
            return;
        }
        self.kept.push(Kept { name: cookie.name().to_owned(), value: cookie.value().to_owned(), path });
        if self.kept.len() > MAX_COOKIES {
            self.kept.remove(0);
        }
    }

    /// `Cookie` header for a path (RFC 6265 §5.4: longer paths first), if there is any.
    #[must_use]
    pub fn header(&self, path: &str) -> Option<String> {
        let mut found: Vec<&Kept> = self.kept.iter().filter(|kept| covers(&kept.path, path)).collect();
        found.sort_by_key(|kept| std::cmp::Reverse(kept.path.len()));
        let pairs: Vec<String> = found.iter().map(|kept| format!("{}={}", kept.name, kept.value)).collect();
        if pairs.is_empty() { None } else { Some(pairs.join("; ")) }
    }
}

/// RFC 6265 §5.1.4.
fn covers(cookie_path: &str, path: &str) -> bool {
    match path.strip_prefix(cookie_path) {
        Some(rest) => rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with(['/', '?']),
        None => false,
    }
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Upper case.
    pub method: &'static str,
    /// With query.
    pub path: String,
    /// In addition to cookies.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or nothing.
    pub body: Vec<u8>,
}

type Connection = http1::SendRequest<Full<Bytes>>;

/// One browser's HTTP: clone it for parallel requests.
#[derive(Clone)]
pub struct Browser {
    jar: Arc<Mutex<Jar>>,
    idle: Arc<Mutex<HashMap<String, Vec<Connection>>>>,
    kept: usize,
}

impl Default for Browser {
    fn default() -> Self {
        Self::keeping(1)
    }
}

impl Browser {
    /// A browser without cookies and connections, that keeps one per balancer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A browser that keeps `kept` idle connections per balancer. Real ones keep six.
    #[must_use]
    pub fn keeping(kept: usize) -> Self {
        Self { jar: Arc::default(), idle: Arc::default(), kept }
    }

    /// Asks and reads the whole answer. A kept connection that was closed meanwhile is replaced.
    pub async fn ask(&self, base: &Base, ask: &Ask) -> anyhow::Result<http::Response<Bytes>> {
        let mut request = self.request(base, ask)?;
        loop {
            let kept = lock(&self.idle).get_mut(&base.authority).and_then(Vec::pop);
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(base).await?,
            };
            match connection.try_send_request(request).await {
                Ok(answer) => return self.read(base, connection, answer).await,
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    /// `Cookie` header for a path, if there is any.
    #[must_use]
    pub fn cookies(&self, path: &str) -> Option<String> {
        lock(&self.jar).header(path)
    }

    fn request(&self, base: &Base, ask: &Ask) -> anyhow::Result<http::Request<Full<Bytes>>> {
        let mut request = http::Request::builder().method(ask.method).uri(&ask.path).header("host", &base.authority);
        if let Some(cookies) = self.cookies(&ask.path) {
            request = request.header("cookie", cookies);
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if !ask.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        Ok(request.body(Full::new(Bytes::from(ask.body.clone())))?)
    }

    async fn read(
        &self,
        base: &Base,
        connection: Connection,
        answer: http::Response<hyper::body::Incoming>,
    ) -> anyhow::Result<http::Response<Bytes>> {
        let (head, body) = answer.into_parts();
        self.store_cookies(&head.headers);
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => bail!("the answer's body: {error}"),
        };
        self.keep(base, connection);
        Ok(http::Response::from_parts(head, body))
    }

    fn keep(&self, base: &Base, connection: Connection) {
        let mut idle = lock(&self.idle);
        let idle = idle.entry(base.authority.clone()).or_default();
        idle.retain(|connection| !connection.is_closed());
        if !connection.is_closed() && idle.len() < self.kept {
            idle.push(connection);
        }
    }

    fn store_cookies(&self, headers: &http::HeaderMap) {
        let mut jar = lock(&self.jar);
        headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()).for_each(|value| jar.store(value));
    }

    /// Opens a WebSocket.
    pub async fn open(&self, base: &Base, path: &str) -> anyhow::Result<WebSocketStream<TcpStream>> {
        let mut request = format!("ws://{}{path}", base.authority).into_client_request()?;
        if let Some(cookies) = self.cookies(path) {
            request.headers_mut().insert("cookie", cookies.parse()?);
        }
        let (socket, answer) = tokio_tungstenite::client_async(request, tcp(base).await?).await?;
        self.store_cookies(answer.headers());
        Ok(socket)
    }
}

async fn tcp(base: &Base) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(&base.authority).await.with_context(|| base.authority.clone())?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect(base: &Base) -> anyhow::Result<Connection> {
    let (sender, connection) = http1::handshake(TokioIo::new(tcp(base).await?)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A panic elsewhere leaves cookies and connections usable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_where_their_path_says() {
        let mut jar = Jar::default();
        jar.store("holdfast=place; Path=/; HttpOnly");
        jar.store("holdfast-session=one; Path=/v1/sessions/s1; Max-Age=86400");
        jar.store("holdfast-session=two; Path=/v1/sessions/s2");
        assert_eq!(jar.header("/v1/sessions").as_deref(), Some("holdfast=place"));
        assert_eq!(jar.header("/v1/sessions/s1/socket").as_deref(), Some("holdfast-session=one; holdfast=place"));
        assert_eq!(jar.header("/v1/sessions/s11").as_deref(), Some("holdfast=place"));
        jar.store("holdfast-session=; Path=/v1/sessions/s1; Max-Age=0");
        assert_eq!(jar.header("/v1/sessions/s1").as_deref(), Some("holdfast=place"));
        jar.store("holdfast=elsewhere; Path=/");
        assert_eq!(jar.header("/").as_deref(), Some("holdfast=elsewhere"));
    }

    #[test]
    fn a_jar_is_bounded() {
        let mut jar = Jar::default();
        (0..1000).for_each(|index| jar.store(&format!("c{index}=1; Path=/")));
        assert_eq!(jar.kept.len(), MAX_COOKIES);
    }

    #[test]
    fn only_plain_base_urls_are_taken() {
        assert!(Base::parse("http://127.0.0.1:8080/").is_ok());
        assert_eq!(Base::parse("http://a").map(|base| base.authority), Ok("a:80".to_owned()));
        for bad in ["https://a", "a:80", "http://", "http://a/b", "http://u@a"] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }
}
