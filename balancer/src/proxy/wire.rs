//! HTTP/1.1 towards an instance, as bytes: a request is written once, however often it is sent; an answer is read strictly
//! (RFC 9112 §6.3), because an instance whose framing is unclear must not be believed.
//!
//! Pure: [`super::upstream`] moves the bytes.

use bytes::{Buf, Bytes, BytesMut};
use gateway_protocol::header as own;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header, response::Parts};
use std::mem::MaybeUninit;

/// Who answered, by its own word.
pub(crate) const INSTANCE: HeaderName = HeaderName::from_static(own::INSTANCE);
/// Which run of it.
pub(crate) const BOOT: HeaderName = HeaderName::from_static(own::BOOT);
/// Fields of an answer.
const MAX_FIELDS: usize = 100;
/// Longest line with a chunk's size, its extension included, and longest trailer section.
const MAX_LINES: usize = 8 * 1024;

/// A request as it goes to an instance.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    /// Its answer has no body, whatever its head says.
    pub(crate) is_head: bool,
}

impl Outgoing {
    /// `headers` must hold no Transfer-Encoding; a Content-Length must agree with `body`.
    pub(crate) fn new(method: &Method, target: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
        let mut bytes = Vec::with_capacity(fields + body.len() + target.path().len() + 300);
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        for part in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            field(&mut bytes, name.as_str(), value.as_bytes());
        }
        if !body.is_empty() && !headers.contains_key(header::CONTENT_LENGTH) {
            field(&mut bytes, "content-length", body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self { bytes, is_head: *method == Method::HEAD }
    }
}

fn field(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) parts: Parts,
    pub(crate) framing: Framing,
    /// The connection may be used again after the body.
    pub(crate) keeps_alive: bool,
}

/// What came is no HTTP answer, or one that could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instance's answer is malformed")]
pub(crate) struct Malformed;

/// Takes the head of the final answer off `bytes`; `None` if it is not complete. Interim answers (RFC 9110 §15.2) are skipped.
pub(crate) fn take_head(bytes: &mut Bytes, is_head: bool) -> Result<Option<Head>, Malformed> {
    while let Some((length, head)) = parse(bytes, is_head)? {
        bytes.advance(length);
        let status = head.parts.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn parse(bytes: &Bytes, is_head: bool) -> Result<Option<(usize, Head)>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, bytes, &mut fields);
    let length = match parsed.map_err(|_| Malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let mut parts = Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(answer.code.ok_or(Malformed)?).map_err(|_| Malformed)?;
    parts.headers.reserve(answer.headers.len() + 2);
    for field in answer.headers.iter() {
        let name = name(field.name)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(|_| Malformed)?;
        parts.headers.append(name, value);
    }
    let framing = Framing::of(parts.status, &parts.headers, is_head)?;
    let keeps_alive = answer.version == Some(1) && framing != Framing::UntilClose && !says_close(&parts.headers);
    Ok(Some((length, Head { parts, framing, keeps_alive })))
}

/// The names in every answer are known: they need no copy.
fn name(text: &str) -> Result<HeaderName, Malformed> {
    let known = [INSTANCE, BOOT].into_iter().find(|known| known.as_str() == text);
    known.map_or_else(|| HeaderName::from_bytes(text.as_bytes()).map_err(|_| Malformed), Ok)
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|text| text.split(',')).any(|token| token.trim().eq_ignore_ascii_case("close"))
}

/// Where a body ends, and how much of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Chunked.
    Chunked(Chunk),
    /// With the connection.
    UntilClose,
}

/// Where a chunked body stands (RFC 9112 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Before a line with a size.
    Size,
    /// So many bytes of data, then their line end.
    Data(u64),
    /// In the trailers, which are dropped.
    Trailers,
    /// Behind the end.
    End,
}

impl Framing {
    /// RFC 9112 §6.3.
    fn of(status: StatusCode, headers: &HeaderMap, is_head: bool) -> Result<Self, Malformed> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = lengths.next().map(|value| length(value).ok_or(Malformed)).transpose()?;
        let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let encoding = encodings.next();
        if lengths.next().is_some() || encodings.next().is_some() || (encoding.is_some() && length.is_some()) {
            return Err(Malformed);
        }
        let has_none = is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
        if has_none {
            return Ok(Self::Length(0));
        }
        match encoding {
            Some(encoding) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked(Chunk::Size)),
            Some(_) => Err(Malformed),
            None => Ok(length.map_or(Self::UntilClose, Self::Length)),
        }
    }

    /// True behind the end.
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::End))
    }

    /// The next data of the body, taken off `bytes`; `None` if more must be read or the body is done.
    pub(crate) fn take(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        match self {
            Self::UntilClose => Ok(Some(std::mem::take(bytes)).filter(|data| !data.is_empty())),
            Self::Length(left) => Ok(take_up_to(left, bytes)),
            Self::Chunked(chunk) => chunk.take(bytes),
        }
    }
}

/// Digits alone: no sign, no list, nothing that overflows.
fn length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn take_up_to(left: &mut u64, bytes: &mut Bytes) -> Option<Bytes> {
    let size = (*left).min(bytes.len() as u64);
    *left -= size;
    Some(bytes.split_to(size as usize)).filter(|data| !data.is_empty())
}

impl Chunk {
    fn take(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        loop {
            match self {
                Self::End => return Ok(None),
                Self::Data(0) => match take_line(bytes)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => *self = Self::Size,
                    Some(_) => return Err(Malformed),
                },
                Self::Data(left) => return Ok(take_up_to(left, bytes)),
                Self::Size => match take_line(bytes)? {
                    None => return Ok(None),
                    Some(line) => *self = Self::after_size(&line)?,
                },
                Self::Trailers => match take_line(bytes)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => *self = Self::End,
                    Some(_) => {}
                },
            }
        }
    }

    fn after_size(line: &[u8]) -> Result<Self, Malformed> {
        let digits = line.split(|byte| *byte == b';').next().unwrap_or(line).trim_ascii_end();
        let is_hex = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
        match u64::from_str_radix(text, 16) {
            Ok(0) if is_hex => Ok(Self::Trailers),
            Ok(size) if is_hex => Ok(Self::Data(size)),
            Ok(_) | Err(_) => Err(Malformed),
        }
    }
}

/// A line without its CR LF; `None` if it has not arrived whole.
fn take_line(bytes: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() > MAX_LINES { Err(Malformed) } else { Ok(None) };
    };
    let line = bytes.split_to(end + 1);
    let whole = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    Ok(Some(line.slice_ref(whole)))
}

/// `rest` with `fresh` behind it; copies only if both hold something.
pub(crate) fn joined(rest: Bytes, fresh: Bytes) -> Bytes {
    if rest.is_empty() {
        return fresh;
    }
    let mut both = BytesMut::with_capacity(rest.len() + fresh.len());
    both.extend_from_slice(&rest);
    both.extend_from_slice(&fresh);
    both.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Head and body as they are read when the bytes come in pieces of this size; `None` if the end is missing.
    fn read(text: &[u8], size: usize, is_head: bool) -> Result<Option<(u16, Vec<u8>)>, Malformed> {
        let (mut rest, mut head, mut body) = (Bytes::new(), None, Vec::new());
        for piece in text.chunks(size) {
            rest = joined(rest, Bytes::copy_from_slice(piece));
            if head.is_none() {
                head = take_head(&mut rest, is_head)?;
            }
            if let Some(Head { framing, .. }) = &mut head {
                while let Some(data) = framing.take(&mut rest)? {
                    body.extend_from_slice(&data);
                }
            }
        }
        let done = head.filter(|head| head.framing.is_done() || head.framing == Framing::UntilClose);
        Ok(done.map(|head| (head.parts.status.as_u16(), body)))
    }

    const GOOD: &[(&[u8], u16, &[u8])] = &[
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nhel\r\n2 \r\nlo\r\n0\r\nT: 1\r\n\r\n", 200, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", 200, b"!"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    ];

    #[test]
    fn answers_are_read_in_any_pieces() {
        for (text, status, body) in GOOD {
            for size in 1..=text.len() {
                assert_eq!(read(text, size, false), Ok(Some((*status, body.to_vec()))), "{size} {text:?}");
            }
        }
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 7, true), Ok(Some((200, Vec::new()))));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "A: b\r\n c",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n!");
            assert_eq!(read(text.as_bytes(), 1000, false), Err(Malformed), "{fields}");
        }
        for chunks in ["x\r\n", "-1\r\n", "\r\n", "1\n!\r\n", "1\r\n!!\r\n", "11111111111111111\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            assert_eq!(read(text.as_bytes(), 1000, false), Err(Malformed), "{chunks:?}");
        }
    }

    #[test]
    fn a_request_is_written_as_it_was_checked() {
        let headers: HeaderMap = [(header::HOST, HeaderValue::from_static("h"))].into_iter().collect();
        let target: Uri = "/a?b".parse().expect("a path");
        let request = Outgoing::new(&Method::POST, &target, &headers, b"hello");
        assert_eq!(request.bytes, b"POST /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_mean_the_same(
            start in prop::sample::select(GOOD), cut in 0..80_usize, noise in prop::collection::vec(any::<u8>(), 0..30), size in 1..40_usize,
        ) {
            let text = [&start.0[..cut.min(start.0.len())], &noise].concat();
            let (whole, pieces) = (read(&text, text.len().max(1), false), read(&text, size, false));
            // A fault may show before the head's end has come, or not.
            prop_assert!(whole == pieces || whole.is_err() || pieces.is_err(), "{whole:?} {pieces:?}");
        }
    }
}
