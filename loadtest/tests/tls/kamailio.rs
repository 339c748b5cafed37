//! Kamailio as it is deployed, over TLS.

use crate::certificates::{Certificates, has_openssl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub(crate) const DOMAIN: &str = "example.org";
const START: Duration = Duration::from_secs(20);

/// Ends with this.
pub(crate) struct Kamailio {
    pub(crate) tls: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

/// True if there is one to start. Where every test must run, there has to be.
pub(crate) fn is_installed() -> bool {
    let module = |arch: &str| Path::new("/usr/lib").join(arch).join("kamailio/modules/tls.so").is_file();
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"].into_iter().any(module) && has_openssl();
    let must = std::env::var("CI").as_deref() == Ok("true");
    assert!(found || !must, "kamailio-tls-modules or openssl is not installed");
    if !found {
        println!("skipped: kamailio-tls-modules or openssl is not installed");
    }
    found
}

/// Nobody else is there: an address of this process, a port for each.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(5_070);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 64 + high % 128, middle, low.max(1)), NEXT.fetch_add(1, Ordering::Relaxed)))
}

impl Kamailio {
    pub(crate) async fn start(certificates: &Certificates) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, tls) = (free_address(), free_address());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kamailio/start.sh");
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(script);
        command.arg("--run-dir").arg(folder.path()).args(["--domain", DOMAIN, "--listen", &plain.to_string()]);
        command.args(["--tls-listen", &tls.to_string()]);
        command.arg("--tls-cert").arg(certificates.path("server.pem"));
        command.arg("--tls-key").arg(certificates.path("server.key"));
        // All of its processes are one group.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("start.sh");
        let kamailio = Self { tls, folder, child };
        kamailio.until_it_listens().await;
        kamailio
    }

    async fn until_it_listens(&self) {
        let until = Instant::now() + START;
        while !self.rpc(&["core.uptime"]).contains("uptime") {
            let log = || std::fs::read_to_string(self.folder.path().join("log"));
            assert!(Instant::now() < until, "Kamailio does not start: {:?}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn rpc(&self, words: &[&str]) -> String {
        let socket = format!("unix:{}", self.folder.path().join("kamailio_ctl").display());
        let answer =
            Command::new("kamcmd").env("PATH", "/usr/sbin:/usr/bin").arg("-s").arg(socket).args(words).output();
        answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default()
    }

    /// Where calls to a user go, as it says.
    pub(crate) fn binding(&self, user: &str) -> String {
        self.rpc(&["ul.lookup", "location", user])
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        killpg(group, Signal::SIGKILL).expect("it lives");
        let _ = self.child.wait();
    }
}
