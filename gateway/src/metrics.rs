//! Every metric family of the process, in one registry of its own (`holdfast_*`, Prometheus text).

use crate::media::MediaStats;
use crate::sip;
use gateway_core::Load;
use gateway_protocol::CloseCode;
use http::StatusCode;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

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

/// Takes a value that is kept elsewhere.
type Reading = fn(&Load, &MediaStats) -> u64;

/// See the module.
pub struct Metrics {
    registry: Registry,
    answers: IntCounterVec,
    socket_closes: IntCounterVec,
    unreadable: IntCounter,
    open_sockets: Arc<AtomicUsize>,
    gauges: Vec<(IntGauge, Reading)>,
    totals: Vec<(IntCounter, Reading)>,
    media_dropped: IntCounterVec,
    sip_dropped: IntCounterVec,
    sip_refusals: IntCounterVec,
    call_refusals: IntCounterVec,
    sip: OnceLock<Arc<sip::Counts>>,
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
        let r = &Registry::new();
        Ok(Self {
            answers: labelled(r, "holdfast_http_answers_total", "Public answers", &["route", "status"])?,
            socket_closes: labelled(r, "holdfast_socket_closes_total", "Sockets closed by the instance", &["code"])?,
            unreadable: counter(r, "holdfast_unreadable_messages_total", "Messages that were no protocol JSON")?,
            open_sockets: Arc::new(AtomicUsize::new(0)),
            gauges: vec![
                (gauge(r, "holdfast_places_used", "Places taken, from the 201 on")?, |load, _| load.used.into()),
                (gauge(r, "holdfast_sessions", "Attached sessions")?, |load, _| load.sessions.into()),
                (gauge(r, "holdfast_calls", "Calls")?, |load, _| load.calls.into()),
                (gauge(r, "holdfast_draining", "1 while draining")?, |load, _| load.draining.into()),
                (gauge(r, "holdfast_registered", "Users registered at a SIP server")?, |load, _| {
                    load.registered.into()
                }),
                (gauge(r, "holdfast_media_peers", "Peer connections")?, |_, media| media.peers),
                (gauge(r, "holdfast_media_connected", "Connected peers with consent")?, |_, media| media.connected),
            ],
            totals: vec![
                (counter(r, "holdfast_sign_ins_total", "201s")?, |load, _| load.counts.sign_ins),
                (counter(r, "holdfast_attaches_total", "Attached sockets")?, |load, _| load.counts.attaches),
                (counter(r, "holdfast_superseded_total", "Sessions taken over by a newer one")?, |load, _| {
                    load.counts.superseded
                }),
                (counter(r, "holdfast_freezes_total", "Times that the process stood still")?, |load, _| {
                    load.counts.freezes
                }),
                (counter(r, "holdfast_calls_started_total", "Calls begun")?, |load, _| load.counts.calls_started),
                (counter(r, "holdfast_calls_ended_total", "Calls over")?, |load, _| load.counts.calls_ended),
                (
                    counter(r, "holdfast_calls_resumed_total", "Lost calls whose far sides were heard again")?,
                    |load, _| load.counts.resumed,
                ),
                (
                    counter(r, "holdfast_calls_resumed_gap_ms_total", "From sign-in to that, all of them together")?,
                    |load, _| load.counts.resumed_gap.as_millis() as u64,
                ),
                (counter(r, "holdfast_sip_strangers_total", "SIP requests that came from no server")?, |load, _| {
                    load.sip.strangers
                }),
                (
                    counter(r, "holdfast_sip_unknown_dialogs_total", "SIP requests for calls that are not here")?,
                    |load, _| load.sip.unknown_dialogs,
                ),
                (counter(r, "holdfast_sip_refused_total", "SIP calls refused for a limit")?, |load, _| {
                    load.sip.refused
                }),
                (
                    counter(r, "holdfast_sip_withheld_total", "SIP messages dropped for want of a browser's proof")?,
                    |load, _| load.sip.withheld,
                ),
                (counter(r, "holdfast_media_handshakes_total", "DTLS handshakes done")?, |_, media| media.handshakes),
                (counter(r, "holdfast_media_packets_in_total", "Datagrams received")?, |_, media| media.packets_in),
                (counter(r, "holdfast_media_packets_out_total", "Datagrams sent")?, |_, media| media.packets_out),
                (counter(r, "holdfast_media_panics_total", "Peers lost to a panic of ours")?, |_, media| media.panics),
            ],
            media_dropped: labelled(r, "holdfast_media_dropped_total", "Datagrams dropped", &["reason"])?,
            sip_dropped: labelled(
                r,
                "holdfast_sip_dropped_total",
                "SIP messages dropped or refused by the sockets",
                &["reason"],
            )?,
            sip_refusals: labelled(r, "holdfast_sip_refusals_total", "SIP requests refused", &["status"])?,
            call_refusals: labelled(r, "holdfast_call_refusals_total", "Targets refused", &["reason"])?,
            sip: OnceLock::new(),
            registry: with_process(r)?,
        })
    }

    /// What the SIP sockets drop is told with the rest from now on.
    pub fn watch_sip(&self, counts: Arc<sip::Counts>) {
        // The process has one SIP side.
        let _ = self.sip.set(counts);
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
        for (gauge, value) in &self.gauges {
            gauge.set(i64::try_from(value(load, media)).unwrap_or(i64::MAX));
        }
        for (counter, value) in &self.totals {
            catch_up(counter, value(load, media));
        }
        for (reason, value) in &media.dropped {
            catch_up(&self.media_dropped.with_label_values(&[reason]), *value);
        }
        for (reason, value) in self.sip.get().iter().flat_map(|counts| counts.by_reason()) {
            catch_up(&self.sip_dropped.with_label_values(&[reason]), value);
        }
        for (status, value) in &load.sip.refusals {
            catch_up(&self.sip_refusals.with_label_values(&[status.to_string().as_str()]), *value);
        }
        let refusals = [("not-allowed", load.counts.not_allowed), ("rate-limited", load.counts.rate_limited)];
        for (reason, value) in refusals {
            catch_up(&self.call_refusals.with_label_values(&[reason]), value);
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

/// Counted elsewhere, and only ever growing.
fn catch_up(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn labelled(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn with_process(registry: &Registry) -> Result<Registry, prometheus::Error> {
    registry.register(Box::new(ProcessCollector::new(std::process::id().cast_signed(), "holdfast")))?;
    Ok(registry.clone())
}
