//! Which thread turns which worker. Two threads that wake for a few datagrams each cost more than one that wakes for
//! all of them, so the first thread turns every worker until it has much to do; then it gives workers to threads of
//! their own, which bring them back when they have little to do.

use super::worker::{MAX_WAIT, Shared, Worker};
use holdfast_udp::{Inbox, Outbox, Pace, UdpPort, wait_any};
use nix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Loads are measured over this span, in thousandths of a core.
const WINDOW: Duration = Duration::from_millis(100);
/// Above it the first thread gives a worker away: handshakes still find room beside the media.
const GIVE_ABOVE: u32 = 700;
/// A worker is brought back when its load and the first thread's are below it together. Far enough from the other bound
/// that none goes to and fro.
const RETURN_BELOW: u32 = 500;

/// A worker and its socket, on one thread at a time.
pub(super) struct Station {
    pub(super) worker: Worker,
    pub(super) port: UdpPort,
}

/// What the threads share.
struct Roster {
    shared: Arc<Shared>,
    /// Load of the first thread.
    first: AtomicU32,
}

impl Roster {
    fn stopping(&self) -> bool {
        self.shared.stopping.load(Relaxed)
    }
}

/// Starts a thread per station; the first begins with all of them.
pub(super) fn spawn(shared: &Arc<Shared>, stations: Vec<Station>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let roster = Arc::new(Roster { shared: shared.clone(), first: AtomicU32::new(0) });
    let (back, returned) = channel();
    let mut homes = Vec::new();
    let mut threads = Vec::new();
    for index in 1..stations.len() {
        let (home, given) = channel();
        homes.push(home);
        let (roster, back) = (roster.clone(), back.clone());
        threads.push(thread(index, move || run_home(&roster, &given, &back))?);
    }
    threads.push(thread(0, move || run_first(&roster, stations, &homes, &returned))?);
    Ok(threads)
}

fn thread(index: usize, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("media-{index}")).spawn(run)
}

fn run_first(roster: &Roster, mut stations: Vec<Station>, homes: &[Sender<Station>], returned: &Receiver<Station>) {
    let mut desk = Desk::new();
    while !roster.stopping() {
        desk.turn(&mut stations);
        stations.extend(returned.try_iter());
        let Some(load) = desk.load.measured() else { continue };
        roster.first.store(load, Relaxed);
        if too_much(load, stations.len())
            && let Some(station) = stations.pop()
            && let Some(home) = station.worker.index().checked_sub(1).and_then(|index| homes.get(index))
        {
            // It waits for nothing else.
            let _ = home.send(station);
        }
    }
    stations.extend(returned.try_iter());
    desk.close(&mut stations);
}

/// Waits for its worker and turns it as long as it is worth a thread. Ends with the first thread.
fn run_home(roster: &Roster, given: &Receiver<Station>, back: &Sender<Station>) {
    while let Ok(station) = given.recv() {
        let (mut desk, mut stations) = (Desk::new(), vec![station]);
        let worth_it = |load| worth_a_thread(load, roster.first.load(Relaxed));
        while !roster.stopping() && desk.load.measured().is_none_or(worth_it) {
            desk.turn(&mut stations);
        }
        if roster.stopping() {
            return desk.close(&mut stations);
        }
        for station in stations {
            // It waits for nothing else.
            let _ = back.send(station);
        }
        if let Some(first) = roster.shared.mailboxes.get().and_then(|all| all.first()) {
            first.waker.wake();
        }
    }
}

fn too_much(load: u32, stations: usize) -> bool {
    load > GIVE_ABOVE && stations > 1
}

fn worth_a_thread(load: u32, first: u32) -> bool {
    load + first >= RETURN_BELOW
}

/// What a thread needs to turn workers.
struct Desk {
    inbox: Inbox,
    outbox: Outbox,
    runs: Outbox,
    pace: Pace,
    load: Load,
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            runs: Outbox::default(),
            pace: Pace::new(now),
            load: Load::new(now),
        }
    }

    /// Turns each station once, sends, and waits or pauses. A station whose socket broke is given up.
    fn turn(&mut self, stations: &mut Vec<Station>) {
        let (mut received, mut due, mut more) = (0, MAX_WAIT, false);
        let Self { inbox, outbox, runs, .. } = self;
        stations.retain_mut(|Station { worker, port }| match worker.turn(port, inbox, outbox, runs) {
            Ok(turn) => {
                received += turn.received;
                due = due.min(turn.due);
                more |= turn.more;
                true
            }
            Err(error) => {
                tracing::error!(worker = worker.index(), %error, "media worker ended");
                false
            }
        });
        self.flush(stations);
        self.pace.arrived(received, Instant::now());
        if more {
            return;
        }
        match self.pace.pause() {
            // Deadlines may be late by a pause: with many peers one is always near, and would undo the batching.
            Some(pause) => std::thread::sleep(pause),
            None => self.wait(stations, due),
        }
    }

    fn wait(&self, stations: &[Station], due: Duration) {
        let ports: Vec<_> = stations.iter().map(|station| &station.port).collect();
        let far: Vec<_> = stations.iter().filter_map(|station| station.worker.waitable()).collect();
        if let Err(error) = wait_any(&ports, &far, due) {
            tracing::error!(%error, "media workers cannot wait");
            std::thread::sleep(due.min(MAX_WAIT / 10));
        }
    }

    fn flush(&mut self, stations: &[Station]) {
        if let Some(Station { worker, port }) = stations.first() {
            worker.flush(port, &mut self.outbox);
        }
    }

    fn close(&mut self, stations: &mut [Station]) {
        for station in &mut *stations {
            station.worker.close_all(&mut self.outbox);
        }
        self.flush(stations);
    }
}

/// How much of a core this thread uses.
struct Load {
    since: Instant,
    used: Duration,
}

impl Load {
    fn new(now: Instant) -> Self {
        Self { since: now, used: cpu_time() }
    }

    /// In thousandths of a core, once per window.
    fn measured(&mut self) -> Option<u32> {
        let now = Instant::now();
        let span = now.saturating_duration_since(self.since);
        if span < WINDOW {
            return None;
        }
        let used = cpu_time();
        let share = used.saturating_sub(self.used).as_micros() * 1000 / span.as_micros();
        (self.since, self.used) = (now, used);
        Some(share as u32)
    }
}

/// Of the calling thread. Unlike the clock it does not take being preempted for work.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtls::Identity;
    use crate::media::registry::Registry;
    use holdfast_udp::bind;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::sync_channel;

    fn roster() -> Roster {
        let (events, _) = tokio::sync::mpsc::channel(1);
        let shared = Shared {
            registry: Registry::default(),
            identity: Arc::new(Identity::generate().expect("a certificate")),
            counters: vec![Default::default(), Default::default()],
            moved: vec![Default::default(), Default::default()],
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            mailboxes: OnceLock::new(),
            events,
            max_peers: 1,
        };
        Roster { shared: Arc::new(shared), first: AtomicU32::new(0) }
    }

    fn station(roster: &Roster, index: usize) -> Station {
        let (_, control) = channel();
        let (_, strays) = sync_channel(1);
        let (port, _) = UdpPort::new(bind(([127, 0, 0, 1], 0).into(), true).expect("bind")).expect("port");
        Station { worker: Worker::new(index, roster.shared.clone(), control, strays), port }
    }

    #[test]
    fn a_worker_with_little_to_do_comes_back_and_its_thread_ends_with_the_first() {
        let roster = roster();
        let (home, given) = channel();
        let (back, returned) = channel();
        std::thread::scope(|scope| {
            let watched = &roster;
            let thread = scope.spawn(move || run_home(watched, &given, &back));
            home.send(station(&roster, 1)).expect("it waits");
            let station = returned.recv_timeout(Duration::from_secs(20)).expect("it came back");
            assert_eq!(station.worker.index(), 1);
            drop(home);
            thread.join().expect("it ended");
        });
    }

    #[test]
    fn a_worker_stays_away_while_the_first_thread_has_much_to_do() {
        assert!(!worth_a_thread(0, RETURN_BELOW - 1));
        assert!(worth_a_thread(0, RETURN_BELOW));
        assert!(worth_a_thread(GIVE_ABOVE / 2, GIVE_ABOVE / 2), "what was just given stays");
        assert!(too_much(GIVE_ABOVE + 1, 2));
        assert!(!too_much(GIVE_ABOVE, 2));
        assert!(!too_much(1000, 1), "the last one is kept");
    }
}
