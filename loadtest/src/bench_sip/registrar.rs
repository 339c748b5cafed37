//! The SIP server of a bench: the product's own registrar or Kamailio, as a child process.

use anyhow::{Context, bail};
use serde::Serialize;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The domain of all users.
pub const DOMAIN: &str = "load.test";
/// Longest start.
const START: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// Which SIP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// `gateway registrar`
    #[default]
    Own,
    /// Kamailio, by deploy/kamailio/start.sh
    Kamailio,
}

/// A running SIP server; it ends with this.
pub struct Registrar {
    kind: ServerKind,
    gateway: PathBuf,
    /// Where it serves TCP.
    pub address: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

impl Registrar {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// When it can't be started or does not listen.
    pub async fn start(kind: ServerKind, gateway: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let folder = std::env::temp_dir().join(format!("holdfast-sip-{}-{}", std::process::id(), address.port()));
        let mut registrar = Self { kind, gateway: gateway.to_owned(), address, folder, child: None };
        registrar.restart().await?;
        Ok(registrar)
    }

    /// Kills it, and starts it again on the same port: all its bindings are gone.
    ///
    /// # Errors
    ///
    /// As [`Registrar::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop();
        let mut command = match self.kind {
            ServerKind::Own => self.own(),
            ServerKind::Kamailio => self.kamailio()?,
        };
        crate::cluster::without_own_settings(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.with_context(|| format!("{:?} can't be started", self.kind))?);
        tokio::time::timeout(START, self.listening()).await.context("the SIP server does not listen")?
    }

    fn own(&self) -> Command {
        let mut command = Command::new(&self.gateway);
        command.args(["registrar", "--sip-domain", DOMAIN]);
        for transport in ["udp", "tcp"] {
            command.args(["--sip-listen", &format!("sip:{};transport={transport}", self.address)]);
        }
        command
    }

    fn kamailio(&self) -> anyhow::Result<Command> {
        let script = start_script()?;
        let mut command = Command::new(script);
        command.args(["--run-dir", &self.folder.display().to_string(), "--domain", DOMAIN]);
        command.args(["--listen", &self.address.to_string()]);
        Ok(command)
    }

    async fn listening(&mut self) -> anyhow::Result<()> {
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()).transpose()? {
                bail!("the SIP server ended at once: {status}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Kamailio's main process ends its children only when it is asked.
        if self.kind == ServerKind::Kamailio {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        } else {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// In the source tree that this binary is built in or started from.
fn start_script() -> anyhow::Result<PathBuf> {
    let relative = Path::new("deploy/kamailio/start.sh");
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative);
    [relative.to_owned(), built]
        .into_iter()
        .find(|path| path.is_file())
        .context("deploy/kamailio/start.sh is not there")
}
