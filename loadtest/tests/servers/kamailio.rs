//! Kamailio as it is deployed, each with an address of loopback to itself; killed, frozen and thawed as a whole.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub(crate) const DOMAIN: &str = "example.org";
const START: Duration = Duration::from_secs(20);

/// Ends with this.
pub(crate) struct Kamailio {
    pub(crate) address: SocketAddr,
    partner: Option<SocketAddr>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

/// True if there is one to start. Where every test must run, there has to be.
pub(crate) fn is_installed() -> bool {
    let found = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"].iter().any(|at| Path::new(at).join("kamailio").is_file());
    assert!(found || std::env::var("CI").as_deref() != Ok("true"), "kamailio is not installed");
    if !found {
        println!("skipped: kamailio is not installed");
    }
    found
}

/// Nobody else is there: an address of this process, a port for each.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(5_070);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::new(
        IpAddr::V4(Ipv4Addr::new(127, 64 + high % 128, middle, low.max(1))),
        NEXT.fetch_add(1, Ordering::Relaxed),
    )
}

impl Kamailio {
    pub(crate) async fn start() -> Self {
        Self::at(free_address(), None).await
    }

    /// Two that know one another's address as their own.
    pub(crate) async fn pair() -> [Self; 2] {
        let (one, other) = (free_address(), free_address());
        let (one, other) = tokio::join!(Self::at(one, Some(other)), Self::at(other, Some(one)));
        [one, other]
    }

    pub(crate) async fn at(address: SocketAddr, partner: Option<SocketAddr>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut kamailio = Self { address, partner, folder, child: None };
        kamailio.restart().await;
        kamailio
    }

    /// At the same address, and it has forgotten everything.
    pub(crate) async fn restart(&mut self) {
        for _ in 0..3 {
            self.kill();
            self.child = Some(self.command().spawn().expect("start.sh"));
            if self.is_up().await {
                return;
            }
        }
        panic!("Kamailio does not start: {:?}", std::fs::read_to_string(self.folder.path().join("log")));
    }

    fn command(&self) -> Command {
        use std::os::unix::process::CommandExt;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kamailio/start.sh");
        let log = File::create(self.folder.path().join("log")).expect("a log");
        let mut command = Command::new(script);
        command.arg("--run-dir").arg(self.folder.path());
        command.args(["--domain", DOMAIN, "--listen", &self.address.to_string()]);
        if let Some(partner) = self.partner {
            command.args(["--partner", &partner.to_string()]);
        }
        // All of its processes are one group, which is meant by every signal.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    async fn is_up(&self) -> bool {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if self.rpc(&["core.uptime"]).contains("uptime") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// Gone at once, without a word.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Alive, but no process of it moves: the kernel keeps its connections.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
            killpg(group, signal).expect("it lives");
        }
    }

    fn rpc(&self, words: &[&str]) -> String {
        let socket = format!("unix:{}", self.folder.path().join("kamailio_ctl").display());
        let answer =
            Command::new("kamcmd").env("PATH", "/usr/sbin:/usr/bin").arg("-s").arg(socket).args(words).output();
        answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default()
    }

    /// True if calls to the user arrive.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.rpc(&["ul.lookup", "location", user]).contains("hf-gen=")
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        self.kill();
    }
}
