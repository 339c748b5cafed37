//! The softphone page and the client bundle, read once at the start: a request chooses among them and never names a file.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Most files and bytes that are read; the rest is left out, with a warning.
const MAX_FILES: usize = 512;
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Files by the path of their URL.
#[derive(Debug, Default)]
pub struct Assets {
    files: BTreeMap<String, Asset>,
    policy: Option<HeaderValue>,
}

#[derive(Debug)]
struct Asset {
    body: Bytes,
    content_type: HeaderValue,
    etag: HeaderValue,
}

impl Assets {
    /// Everything in `folder`; `connect` are the origins that its pages may talk to besides their own.
    #[must_use]
    pub fn load(folder: &Path, connect: &[String]) -> Self {
        let mut assets = Self { files: BTreeMap::new(), policy: policy(connect) };
        let mut room = MAX_BYTES;
        if let Err(error) = assets.read(folder, "", &mut room) {
            tracing::warn!(folder = %folder.display(), %error, "--web-dir can't be read whole, pages are missing");
        }
        if let Some(page) = assets.files.get("/index.html") {
            assets.files.insert("/".to_owned(), page.copy());
        }
        assets
    }

    fn read(&mut self, folder: &Path, prefix: &str, room: &mut usize) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let path = format!("{prefix}/{name}");
            if entry.file_type()?.is_dir() {
                self.read(&entry.path(), &path, room)?;
            } else if entry.file_type()?.is_file() {
                let body = std::fs::read(entry.path())?;
                *room = room.checked_sub(body.len()).filter(|_| self.files.len() < MAX_FILES).ok_or_else(|| {
                    std::io::Error::other(format!("more than {MAX_FILES} files or {MAX_BYTES} bytes"))
                })?;
                self.files.insert(path.clone(), Asset::new(&path, body));
            }
        }
        Ok(())
    }

    /// The file at `path`, if there is one.
    #[must_use]
    pub fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        let asset = self.files.get(path)?;
        let known = request.get(header::IF_NONE_MATCH).is_some_and(|tags| names(tags, &asset.etag));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Response::new(Body::from(asset.body.clone()))
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, asset.content_type.clone());
        headers.insert(header::ETAG, asset.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Some(policy) = &self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        Some(response)
    }
}

impl Asset {
    fn new(path: &str, body: Vec<u8>) -> Self {
        let digest: String = Sha256::digest(&body)[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{digest}\"")).expect("hexadecimal digits fit a header");
        Self { body: body.into(), content_type: content_type(path), etag }
    }

    fn copy(&self) -> Self {
        Self { body: self.body.clone(), content_type: self.content_type.clone(), etag: self.etag.clone() }
    }
}

/// RFC 9110 §13.1.2: a list of tags, compared weakly.
fn names(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(tags), Ok(etag)) = (tags.to_str(), etag.to_str()) else { return false };
    tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*")
}

fn content_type(path: &str) -> HeaderValue {
    HeaderValue::from_static(match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt" | "ts") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    })
}

/// The page loads nothing from elsewhere and talks to its own address, other balancers and nobody else.
fn policy(connect: &[String]) -> Option<HeaderValue> {
    // Not every browser counts a WebSocket to the page's own host as 'self'.
    let talk = [&["'self'", "ws:", "wss:"], connect.iter().map(String::as_str).collect::<Vec<_>>().as_slice()]
        .concat()
        .join(" ");
    let text = format!(
        "default-src 'self'; connect-src {talk}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         media-src 'self' blob: mediastream:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets() -> Assets {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("index.html"), "<p>hello").expect("written");
        std::fs::create_dir(folder.path().join("assets")).expect("a folder");
        std::fs::write(folder.path().join("assets/a.js"), "1").expect("written");
        std::fs::write(folder.path().join(".secret"), "1").expect("written");
        Assets::load(folder.path(), &["https://b.example".to_owned()])
    }

    #[test]
    fn a_page_has_its_type_and_policy() {
        let answer = assets().answer("/", &HeaderMap::new()).expect("a page");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.contains("connect-src 'self' ws: wss: https://b.example;"), "{policy}");
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let assets = assets();
        let etag = assets.answer("/assets/a.js", &HeaderMap::new()).expect("a file").headers()[header::ETAG].clone();
        let request: HeaderMap = [(header::IF_NONE_MATCH, etag)].into_iter().collect();
        assert_eq!(assets.answer("/assets/a.js", &request).expect("a file").status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let assets = assets();
        for path in ["/../Cargo.toml", "/assets/../index.html", "/.secret", "//index.html", "/assets", "index.html"] {
            assert!(assets.answer(path, &HeaderMap::new()).is_none(), "{path}");
        }
    }
}
