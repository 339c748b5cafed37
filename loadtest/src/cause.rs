//! Why a request had no usable answer, in words that can be counted.

use gateway_protocol::{Problem, header};
use std::io::ErrorKind;

/// No answer within the time that a request has.
pub const TIMED_OUT: &str = "timed out";

/// The cause of an answer that is none of those hoped for: status, problem type and detail, and what became of the pin.
#[must_use]
pub fn of_answer(answer: &http::Response<bytes::Bytes>) -> String {
    let mut words = answer.status().as_u16().to_string();
    if let Ok(problem) = serde_json::from_slice::<Problem>(answer.body()) {
        words.extend([" ", &name(&problem)]);
        words.extend(problem.detail.filter(|detail| !detail.is_empty()).iter().flat_map(|detail| [": ", detail]));
    }
    if let Some(pin) = pin(answer).filter(|pin| pin.starts_with("moved")) {
        words.extend([", ", pin]);
    }
    words
}

fn name(problem: &Problem) -> String {
    let name = serde_json::to_value(problem.kind).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

/// `holdfast-pin` of an answer.
#[must_use]
pub fn pin(answer: &http::Response<bytes::Bytes>) -> Option<&str> {
    answer.headers().get(header::PIN)?.to_str().ok()
}

/// The cause of no answer at all.
#[must_use]
pub fn of_error(error: &anyhow::Error) -> String {
    let words = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(of_io);
        io.or_else(|| cause.downcast_ref::<hyper::Error>().and_then(of_http))
    });
    words.map_or_else(|| format!("{error:#}"), str::to_owned)
}

fn of_io(error: &std::io::Error) -> Option<&'static str> {
    // EMFILE, EADDRNOTAVAIL: the load test's own limits.
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::ConnectionRefused, _) => Some("refused"),
        (ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted, _) => Some("reset"),
        (ErrorKind::UnexpectedEof, _) => Some("closed without an answer"),
        (ErrorKind::AddrNotAvailable, _) => Some("no port left here"),
        (_, Some(24)) => Some("no file left here"),
        _ => None,
    }
}

fn of_http(error: &hyper::Error) -> Option<&'static str> {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Some("closed without an answer")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn an_answer_is_named_by_status_problem_and_pin() {
        let body = r#"{"type":"no-instance","title":"x","status":503,"detail":"paced"}"#;
        let answer = |status, body: &'static str, pin: &str| {
            let builder = http::Response::builder().status(status).header(header::PIN, pin);
            builder.body(Bytes::from(body)).expect("an answer")
        };
        assert_eq!(of_answer(&answer(503, body, "new")), "503 no-instance: paced");
        assert_eq!(of_answer(&answer(404, "", "moved; reason=gone")), "404, moved; reason=gone");
    }

    #[test]
    fn a_broken_connection_is_named_by_what_broke_it() {
        let of = |kind| of_error(&anyhow::Error::from(std::io::Error::from(kind)).context("127.0.0.1:1"));
        assert_eq!(of(ErrorKind::ConnectionRefused), "refused");
        assert_eq!(of(ErrorKind::ConnectionReset), "reset");
        assert_eq!(of_error(&anyhow::Error::from(std::io::Error::from_raw_os_error(24))), "no file left here");
        assert_eq!(of_error(&anyhow::anyhow!("something else")), "something else");
    }
}
