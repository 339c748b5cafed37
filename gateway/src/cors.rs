//! Which pages may use the service: its own, and those of the allow-list. An origin is never reflected.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, holdfast-avoid");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("holdfast-instance, holdfast-boot, holdfast-pin, retry-after, location");
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// What a request's origin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No page, or a page of this very address.
    Own,
    /// A page of the allow-list; the value is the list's.
    Listed(&'a HeaderValue),
    /// Any other page.
    Foreign,
}

/// The allow-list.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    list: Vec<HeaderValue>,
}

impl Origins {
    /// Of exact origins; one that can't stand in a header is left out.
    #[must_use]
    pub fn new(origins: &[String]) -> Self {
        Self { list: origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect() }
    }

    /// Judges a request by its headers.
    #[must_use]
    pub fn judge(&self, headers: &HeaderMap) -> Verdict<'_> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Verdict::Own };
        if let Some(listed) = self.list.iter().find(|listed| *listed == origin) {
            return Verdict::Listed(listed);
        }
        if is_own(origin, headers) { Verdict::Own } else { Verdict::Foreign }
    }
}

/// The scheme can't be compared: a balancer may have ended the TLS.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.is_some() && authority == host
}

/// Adds what lets the page of `origin` read the answer.
pub fn allow(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// What a preflight is answered with (Fetch standard, CORS-preflight fetch).
#[must_use]
pub fn preflight() -> [(HeaderName, HeaderValue); 3] {
    [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn own_listed_and_foreign_pages_are_told_apart() {
        let origins = Origins::new(&["https://phone.example".to_owned()]);
        let judge = |origin| {
            let headers = headers(&[(header::ORIGIN, origin), (header::HOST, "127.0.0.1:8080")]);
            match origins.judge(&headers) {
                Verdict::Own => "own",
                Verdict::Listed(_) => "listed",
                Verdict::Foreign => "foreign",
            }
        };
        assert_eq!(judge("http://127.0.0.1:8080"), "own");
        assert_eq!(judge("https://phone.example"), "listed");
        for foreign in ["https://phone.example.evil", "http://phone.example", "null", "http://127.0.0.1:8081"] {
            assert_eq!(judge(foreign), "foreign", "{foreign}");
        }
        assert_eq!(origins.judge(&headers(&[])), Verdict::Own);
    }
}
