//! Stand-ins for a pair of servers that share the calls that they hold, by sipp.

use crate::kamailio::free_address;
use loadtest::sip_phone::message::Message;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends with this.
pub(crate) struct Sipp {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

/// True if there is one to start. Where every test must run, there has to be.
pub(crate) fn is_installed() -> bool {
    let found = ["/usr/bin", "/usr/local/bin"].iter().any(|at| Path::new(at).join("sipp").is_file());
    assert!(found || std::env::var("CI").as_deref() != Ok("true"), "sipp is not installed");
    if !found {
        println!("skipped: sipp is not installed");
    }
    found
}

impl Sipp {
    /// Answers heartbeats and registrations, and holds every call.
    pub(crate) fn serves() -> Self {
        Self::start(free_address(), &["-sf", "serves.xml"])
    }

    /// In its place: has the call that was held, which `invite` began at `caller`, and brings it to the user at `callee`. `gateway`
    /// is the one of the two that hangs up.
    pub(crate) fn delivers(
        self,
        invite: &Message,
        caller: SocketAddr,
        (uri, callee): (&str, SocketAddr),
        gateway: SocketAddr,
    ) -> Self {
        let [caller_host, gateway_host] = [caller, gateway].map(|addr| addr.ip().to_string());
        let [caller_port, gateway_port] = [caller, gateway].map(|addr| addr.port().to_string());
        let number = invite.header("CSeq").split(' ').next().unwrap_or_default();
        let keys = [
            ("callee_uri", uri),
            ("caller_host", &caller_host),
            ("caller_port", &caller_port),
            ("gateway_host", &gateway_host),
            ("gateway_port", &gateway_port),
            ("via", invite.header("Via")),
            ("from", invite.header("From")),
            ("to", invite.header("To")),
            ("number", number),
            ("contact", invite.header("Contact")),
            ("sdp", &invite.body),
        ];
        let callee = callee.to_string();
        let mut words = vec!["-sf", "delivers.xml", "-oocsf", "heartbeats.xml", "-m", "1", &callee];
        words.extend(["-cid_str", invite.header("Call-ID")]);
        words.extend(keys.iter().flat_map(|(name, value)| ["-key", name, value]));
        let address = self.address;
        drop(self);
        Self::start(address, &words)
    }

    fn start(address: SocketAddr, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/sipp");
        let mut command = Command::new("sipp");
        command.current_dir(scenarios).args(words).args(["-nostdin", "-trace_msg", "-trace_err"]);
        for (flag, file) in [("-message_file", "messages"), ("-error_file", "errors")] {
            command.arg(flag).arg(folder.path().join(file));
        }
        command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]);
        // Its media has addresses of its own as well.
        command.args(["-mi", &address.ip().to_string(), "-mp", &(address.port() + 1_000).to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { address, child: command.spawn().expect("sipp"), folder }
    }

    /// What it has heard so far.
    pub(crate) fn heard(&self, method: &str) -> Option<Message> {
        let text = std::fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default();
        let start = text.find(&format!("\n{method} "))? + 1;
        Message::take(&mut text.as_bytes()[start..].to_vec()).ok().flatten()
    }

    /// True once its part has been played; panics if it was played badly.
    pub(crate) fn is_done(&mut self) -> bool {
        let status = self.child.try_wait().expect("a child");
        let errors = || std::fs::read_to_string(self.folder.path().join("errors"));
        assert!(status.is_none_or(|status| status.success()), "{status:?}: {:?}", errors());
        status.is_some()
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
