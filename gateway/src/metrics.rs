//! Every metric family of the process, in one registry of its own (`holdfast_*`, Prometheus text).

use crate::media::MediaStats;
use gateway_core::Load;
use gateway_protocol::CloseCode;
use http::StatusCode;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a public request went; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/v1/sessions`
    Sessions,
    /// `/v1/sessions/{id}`
    Session,
    /// `/v1/sessions/{id}/socket`
    Socket,
    /// Everything else.
    Page,
}

impl Route {
    /// Of a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path.strip_prefix("/v1/sessions") {
            Some("") => Self::Sessions,
            Some(rest) if rest.starts_with('/') && rest.ends_with("/socket") => Self::Socket,
            Some(rest) if rest.starts_with('/') => Self::Session,
            Some(_) | None => Self::Page,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Session => "session",
            Self::Socket => "socket",
            Self::Page => "page",
        }
    }
}

/// See the module.
pub struct Metrics {
    registry: Registry,
    answers: IntCounterVec,
    socket_closes: IntCounterVec,
    unreadable: IntCounter,
    sockets: IntGauge,
    open_sockets: Arc<AtomicUsize>,
    instance: IntGaugeVec,
    totals: IntGaugeVec,
    media: IntGaugeVec,
    media_dropped: IntGaugeVec,
}

/// Counts an open socket for as long as it lives.
pub struct OpenSocket {
    open: Arc<AtomicUsize>,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// All families, at zero.
    ///
    /// # Errors
    ///
    /// When two families had one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            answers: counters("holdfast_http_answers_total", "Public answers", &["route", "status"])?,
            socket_closes: counters("holdfast_socket_closes_total", "Sockets closed by the instance", &["code"])?,
            unreadable: IntCounter::new("holdfast_unreadable_messages_total", "Messages that were no protocol JSON")?,
            sockets: IntGauge::new("holdfast_sockets", "Open session sockets, attached or not")?,
            open_sockets: Arc::new(AtomicUsize::new(0)),
            instance: gauges("holdfast_instance", "Places, sessions and calls now", &["what"])?,
            totals: gauges("holdfast_events_total", "What happened since the start", &["what"])?,
            media: gauges("holdfast_media", "Peers now; handshakes and datagrams since the start", &["what"])?,
            media_dropped: gauges("holdfast_media_dropped_total", "Datagrams dropped since the start", &["reason"])?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let registry = &self.registry;
        registry.register(Box::new(self.answers.clone()))?;
        registry.register(Box::new(self.socket_closes.clone()))?;
        registry.register(Box::new(self.unreadable.clone()))?;
        registry.register(Box::new(self.sockets.clone()))?;
        for gauges in [&self.instance, &self.totals, &self.media, &self.media_dropped] {
            registry.register(Box::new(gauges.clone()))?;
        }
        registry.register(Box::new(ProcessCollector::for_self()))
    }

    /// A public answer went out.
    pub fn answered(&self, route: Route, status: StatusCode) {
        self.answers.with_label_values(&[route.label(), status.as_str()]).inc();
    }

    /// The instance closed a socket.
    pub fn closed(&self, code: CloseCode) {
        self.socket_closes.with_label_values(&[u16::from(code).to_string().as_str()]).inc();
    }

    /// A message was no protocol JSON.
    pub fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// A socket was opened; dropping the guard closes it.
    #[must_use]
    pub fn socket_opened(&self) -> OpenSocket {
        self.open_sockets.fetch_add(1, Ordering::Relaxed);
        OpenSocket { open: self.open_sockets.clone() }
    }

    /// Open sockets.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.open_sockets.load(Ordering::Relaxed)
    }

    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self, load: &Load, media: &MediaStats) -> String {
        self.sockets.set(signed(self.open_sockets() as u64));
        set(
            &self.instance,
            &[("used", load.used.into()), ("sessions", load.sessions.into()), ("calls", load.calls.into())],
        );
        let counts = &load.counts;
        set(
            &self.totals,
            &[
                ("sign_in", counts.sign_ins),
                ("attach", counts.attaches),
                ("superseded", counts.superseded),
                ("freeze", counts.freezes),
                ("call_started", counts.calls_started),
                ("call_ended", counts.calls_ended),
            ],
        );
        set(
            &self.media,
            &[
                ("peers", media.peers),
                ("connected", media.connected),
                ("handshakes", media.handshakes),
                ("packets_in", media.packets_in),
                ("packets_out", media.packets_out),
            ],
        );
        set(&self.media_dropped, &media.dropped);
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn set(family: &IntGaugeVec, values: &[(&str, u64)]) {
    for (label, value) in values {
        family.with_label_values(&[label]).set(signed(*value));
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
