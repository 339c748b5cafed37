//! The registrar's figures, as Prometheus text.

use crate::sip;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gateway_core::registrar::Counts;
use http::header;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::sync::watch;

/// Where the figures come from.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) counted: watch::Receiver<Counts>,
    pub(super) dropped: Arc<sip::Counts>,
}

pub(super) fn router(source: Source) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(source)
}

async fn metrics(State(Source { counted, dropped }): State<Source>) -> Response {
    let counts = *counted.borrow();
    let text = text(counts) + &dropped_text(&dropped);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn dropped_text(dropped: &sip::Counts) -> String {
    const NAME: &str = "holdfast_registrar_dropped_total";
    dropped.by_reason().iter().fold(format!("# TYPE {NAME} counter\n"), |mut text, (reason, value)| {
        let _ = writeln!(text, "{NAME}{{reason=\"{reason}\"}} {value}");
        text
    })
}

fn text(counts: Counts) -> String {
    let now = |value: usize| value as u64;
    [
        ("holdfast_registrar_bindings", "gauge", now(counts.bindings)),
        ("holdfast_registrar_relays", "gauge", now(counts.relays)),
        ("holdfast_registrar_held_calls", "gauge", now(counts.held)),
        ("holdfast_registrar_registrations_total", "counter", counts.registrations),
        ("holdfast_registrar_holds_total", "counter", counts.holds),
        ("holdfast_registrar_fenced_total", "counter", counts.fenced),
        ("holdfast_registrar_refusals_total", "counter", counts.refusals),
    ]
    .iter()
    .fold(String::new(), |mut text, (name, kind, value)| {
        let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_line() {
        let text = text(Counts { bindings: 3, fenced: 7, ..Counts::default() });
        assert!(
            text.contains("\nholdfast_registrar_bindings 3\n")
                && text.contains("\nholdfast_registrar_fenced_total 7\n"),
            "{text}"
        );
    }
}
