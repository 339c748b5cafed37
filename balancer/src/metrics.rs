//! Every `holdfast_*` family of the balancer.
//!
//! The data path counts on a [`Tally`] of its own thread, which costs one uncontended add; a scrape adds the threads up. What
//! describes instances is taken from the published view when it is scraped.

use crate::state::{Shared, View};
use balancer_core::{
    Loss, State,
    admission::Refusal,
    pin::PinError,
    pool::Answer,
    route::{Reason, Told},
    sizing::Sizing,
};
use prometheus::{
    Encoder, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
    process_collector::ProcessCollector,
};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What the data path counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// An answer was sent; its status.
    Answered(u16),
    /// What an answer said of the pin.
    Pin(Told),
    /// A pin cookie that counts as absent.
    PinError(PinError),
    /// A request was sent to a further instance.
    Retried,
    /// 502 `outcome-unknown`.
    OutcomeUnknown,
    /// 503: nothing is free or alive.
    NoInstance,
    /// 503: a sign-in has to wait.
    SignInRefused(Refusal),
    /// A request was refused before an instance saw a byte of it.
    RequestRefused,
    /// A tunnel began.
    TunnelOpened,
    /// A tunnel ended, whatever the reason.
    TunnelClosed,
    /// A tunnel was ended by the loss of its instance.
    TunnelCut(Loss),
    /// A client connected.
    ConnectionOpened,
    /// A client's connection ended.
    ConnectionClosed,
}

/// A counter of the data path in Prometheus' terms: family, label, and the label's value.
struct Line {
    family: &'static str,
    help: &'static str,
    label: &'static str,
    value: &'static str,
}

const ANSWERS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const PINS: usize = ANSWERS.len();
const PIN_ERRORS: usize = PINS + 2 + Reason::ALL.len();
const SINGLE: usize = PIN_ERRORS + PinError::ALL.len();
const REFUSALS: usize = SINGLE + 8;
const CUTS: usize = REFUSALS + Refusal::ALL.len();
const LINES: usize = CUTS + 2;

impl Count {
    /// Its place in a [`Tally`].
    fn index(self) -> usize {
        let position = |found: Option<usize>| found.unwrap_or(0);
        match self {
            Self::Answered(status) => usize::from(status / 100).clamp(1, 5) - 1,
            Self::Pin(Told::Kept) => PINS,
            Self::Pin(Told::New) => PINS + 1,
            Self::Pin(Told::Moved(reason)) => PINS + 2 + position(Reason::ALL.iter().position(|each| *each == reason)),
            Self::PinError(error) => PIN_ERRORS + position(PinError::ALL.iter().position(|each| *each == error)),
            Self::Retried => SINGLE,
            Self::OutcomeUnknown => SINGLE + 1,
            Self::NoInstance => SINGLE + 2,
            Self::RequestRefused => SINGLE + 3,
            Self::TunnelOpened => SINGLE + 4,
            Self::TunnelClosed => SINGLE + 5,
            Self::ConnectionOpened => SINGLE + 6,
            Self::ConnectionClosed => SINGLE + 7,
            Self::SignInRefused(why) => REFUSALS + position(Refusal::ALL.iter().position(|each| *each == why)),
            Self::TunnelCut(Loss::Gone) => CUTS,
            Self::TunnelCut(Loss::Silent) => CUTS + 1,
        }
    }
}

/// In the order of [`Count::index`].
fn lines() -> Vec<Line> {
    let line = |family, help, label, value| Line { family, help, label, value };
    let mut lines = Vec::with_capacity(LINES);
    lines.extend(ANSWERS.map(|class| line("holdfast_answers_total", "Answers sent to clients.", "status", class)));
    let pins = ["kept", "new"].into_iter().chain(Reason::ALL.map(Reason::label));
    let pin_help = "Answers by what became of the pin; a word other than kept and new is the reason of a move.";
    lines.extend(pins.map(|told| line("holdfast_pins_total", pin_help, "pin", told)));
    let ignored = "Pin cookies that counted as absent.";
    lines.extend(PinError::ALL.map(|why| line("holdfast_pins_ignored_total", ignored, "reason", why.label())));
    for (family, help) in [
        ("holdfast_retries_total", "Requests sent to a further instance."),
        ("holdfast_outcome_unknown_total", "Requests that may or may not have acted when their instance was lost."),
        ("holdfast_no_instance_total", "Requests that no instance could serve."),
        ("holdfast_requests_refused_total", "Requests refused before an instance saw them."),
        ("holdfast_tunnels_opened_total", "WebSockets opened."),
        ("holdfast_tunnels_closed_total", "WebSockets closed."),
        ("holdfast_connections_opened_total", "Client connections accepted."),
        ("holdfast_connections_closed_total", "Client connections ended."),
    ] {
        lines.push(line(family, help, "", ""));
    }
    let wait = "Sign-ins that had to wait.";
    lines.extend(Refusal::ALL.map(|why| line("holdfast_sign_ins_refused_total", wait, "reason", why.label())));
    let cut = "WebSockets ended by the loss of their instance.";
    lines.extend([Loss::Gone, Loss::Silent].map(|loss| line("holdfast_tunnels_cut_total", cut, "loss", loss.label())));
    lines
}

/// One thread's counters. Only that thread adds.
#[derive(Debug)]
pub struct Tally([AtomicU64; LINES]);

impl Default for Tally {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Tally {
    /// Counts one.
    pub fn add(&self, count: Count) {
        let counter = &self.0[count.index()];
        // One writer: a load and a store instead of a locked add.
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }
}

/// The metrics of one balancer.
#[derive(Debug, Default)]
pub struct Metrics {
    tallies: Mutex<Vec<Arc<Tally>>>,
    checks: [AtomicU64; CHECKS.len()],
    losses: [AtomicU64; 2],
    asked_to_move: AtomicU64,
}

const CHECKS: [&str; 5] = ["report", "nonsense", "refused", "broken", "none"];

impl Metrics {
    /// Counters for one more thread of the data path.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    pub(crate) fn checked(&self, answer: &Answer) {
        let index = match answer {
            Answer::Report(_) => 0,
            Answer::Nonsense => 1,
            Answer::Refused => 2,
            Answer::Broken => 3,
            Answer::None => 4,
        };
        self.checks[index].fetch_add(1, Relaxed);
    }

    pub(crate) fn asked_to_move(&self, clients: u32) {
        self.asked_to_move.fetch_add(clients.into(), Relaxed);
    }

    pub(crate) fn lost(&self, loss: Loss) {
        self.losses[usize::from(loss == Loss::Silent)].fetch_add(1, Relaxed);
    }

    /// All families as Prometheus text.
    pub fn render(&self, shared: &Shared) -> Result<String, prometheus::Error> {
        let scrape = Scrape { registry: Registry::new() };
        self.counters(&scrape)?;
        instances(&scrape, &shared.view())?;
        scrape.text()
    }

    fn counters(&self, scrape: &Scrape) -> Result<(), prometheus::Error> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sums = (0..LINES).map(|index| tallies.iter().map(|tally| tally.0[index].load(Relaxed)).sum());
        let all: Vec<(Line, u64)> = lines().into_iter().zip(sums).collect();
        for family in all.chunk_by(|(a, _), (b, _)| a.family == b.family) {
            let head = &family[0].0;
            let labels: &[&str] = if head.label.is_empty() { &[] } else { &[head.label] };
            let counters = scrape.counters(head.family, head.help, labels)?;
            for (line, sum) in family {
                let values: &[&str] = if line.label.is_empty() { &[] } else { &[line.value] };
                counters.with_label_values(values).inc_by(*sum);
            }
        }
        let checks = scrape.counters("holdfast_checks_total", "Health checks by their outcome.", &["outcome"])?;
        for (outcome, sum) in CHECKS.iter().zip(&self.checks) {
            checks.with_label_values(&[outcome]).inc_by(sum.load(Relaxed));
        }
        let losses =
            scrape.counters("holdfast_losses_total", "Instances lost while users counted on them.", &["loss"])?;
        for (loss, sum) in [Loss::Gone, Loss::Silent].iter().zip(&self.losses) {
            losses.with_label_values(&[loss.label()]).inc_by(sum.load(Relaxed));
        }
        let help = "Idle clients that were asked to make place for the sake of balance.";
        let asked = scrape.counters("holdfast_failback_clients_total", help, &[])?;
        asked.with_label_values::<&str>(&[]).inc_by(self.asked_to_move.load(Relaxed));
        Ok(())
    }
}

fn instances(scrape: &Scrape, view: &View) -> Result<(), prometheus::Error> {
    let snapshot = &view.snapshot;
    let label = ["instance"];
    let state =
        scrape.gauges("holdfast_instance_state", "1 for the state that the instance is in.", &["instance", "state"])?;
    let capacity = scrape.gauges("holdfast_instance_capacity", "Sessions that the instance can hold.", &label)?;
    let used = scrape.gauges("holdfast_instance_used", "Places taken.", &label)?;
    let sessions = scrape.gauges("holdfast_instance_sessions", "Attached sessions.", &label)?;
    let calls = scrape.gauges("holdfast_instance_calls", "Calls.", &label)?;
    for instance in &snapshot.instances {
        let id = [instance.run.instance.as_str()];
        for each in State::LABELS {
            state.with_label_values(&[id[0], each]).set(i64::from(each == instance.state.label()));
        }
        capacity.with_label_values(&id).set(instance.report.capacity.into());
        used.with_label_values(&id).set(instance.report.used.into());
        sessions.with_label_values(&id).set(instance.report.sessions.into());
        calls.with_label_values(&id).set(instance.report.calls.into());
    }
    let discarded =
        scrape.counters("holdfast_rounds_discarded_total", "Rounds of checks after which the loop woke late.", &[])?;
    discarded.with_label_values::<&str>(&[]).inc_by(snapshot.discarded_rounds);
    scrape.gauge("holdfast_blind", "1 while too many instances are silent to judge them.")?.set(snapshot.blind.into());
    plan(scrape, "sessions", &snapshot.plan.sessions)?;
    plan(scrape, "calls", &snapshot.plan.calls)
}

fn plan(scrape: &Scrape, load: &str, sizing: &Sizing) -> Result<(), prometheus::Error> {
    let gauge = |name: &str, help, value: u64| {
        let gauge = scrape.gauge(&format!("holdfast_plan_{load}_{name}"), help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        Ok::<_, prometheus::Error>(())
    };
    gauge("survivable", "Instances that may die now without leaving anyone out.", sizing.survivable.into())?;
    gauge("left_out", "Left out when one more dies.", sizing.left_out)?;
    gauge("capacity", "What the instances hold together when full.", sizing.capacity)?;
    gauge("used", "The load.", sizing.used)
}

/// One answer to a scrape: families are made anew, so instances that are gone leave no lines behind.
struct Scrape {
    registry: Registry,
}

impl Scrape {
    fn add<C: Collector + Clone + 'static>(&self, family: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn text(&self) -> Result<String, prometheus::Error> {
        let process = ProcessCollector::new(std::process::id().cast_signed(), "holdfast");
        self.registry.register(Box::new(process))?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8(text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Clock;

    #[test]
    fn every_count_has_a_line_of_its_own() {
        let told = [Told::Kept, Told::New].into_iter().chain(Reason::ALL.map(Told::Moved)).map(Count::Pin);
        let mut all: Vec<Count> = [101, 200, 302, 404, 503].map(Count::Answered).to_vec();
        all.extend(told);
        all.extend(PinError::ALL.map(Count::PinError));
        all.extend([Count::Retried, Count::OutcomeUnknown, Count::NoInstance, Count::RequestRefused]);
        all.extend([Count::TunnelOpened, Count::TunnelClosed, Count::ConnectionOpened, Count::ConnectionClosed]);
        all.extend(Refusal::ALL.map(Count::SignInRefused));
        all.extend([Loss::Gone, Loss::Silent].map(Count::TunnelCut));
        let indexes: Vec<_> = all.into_iter().map(Count::index).collect();
        assert_eq!(indexes, (0..LINES).collect::<Vec<_>>());
        assert_eq!(lines().len(), LINES);
    }

    #[test]
    fn a_scrape_adds_the_threads_up() {
        let (metrics, (shared, _)) = (Metrics::default(), Shared::new(Clock::start()));
        metrics.tally().add(Count::Pin(Told::Moved(Reason::Silent)));
        metrics.tally().add(Count::Pin(Told::Moved(Reason::Silent)));
        let text = metrics.render(&shared).expect("renders");
        assert!(text.contains("holdfast_pins_total{pin=\"silent\"} 2\n"), "{text}");
        assert!(text.contains("holdfast_retries_total 0\n"), "{text}");
        assert!(text.contains("holdfast_process_resident_memory_bytes"), "{text}");
    }
}
