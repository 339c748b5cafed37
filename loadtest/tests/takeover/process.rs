//! An instance as a process: this test's own binary, started once more.

use clap::Parser;
use gateway::{Args, Gateway};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The instance's flags, one a line; who has it in the environment is the instance.
const FLAGS: &str = "TAKEOVER_INSTANCE";
/// Stands before the addresses, which are told once they are bound.
const SERVES: &str = "serves at ";

/// It is killed with this.
pub(crate) struct Process {
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    child: Child,
    /// What is written to a pipe that nobody holds any more ends the writer.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(flags: &[String]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a binary"))
            .args(["--exact", "process::an_instance_is_a_process_of_its_own", "--nocapture", "--test-threads=1"])
            .env(FLAGS, flags.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        let told = loop {
            line.clear();
            assert!(stdout.read_line(&mut line).is_ok_and(|length| length > 0), "the instance did not start");
            if let Some((_, told)) = line.split_once(SERVES) {
                break told.trim();
            }
        };
        let (public, private) = told.split_once(' ').expect("two addresses");
        let address = |text: &str| text.parse().expect("an address");
        Self { public: address(public), private: address(private), child, _stdout: stdout }
    }

    /// Gone at once, without a word.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same while others look at it; what is left of it goes with this.
    pub(crate) fn end(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Alive, but nothing of it moves: the kernel keeps its connections.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        // A thread that runs on another CPU goes on until it is told.
        while !self.stands_still() {
            std::thread::yield_now();
        }
    }

    fn stands_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it lives");
        threads.filter_map(Result::ok).all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("it lives");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Serves until whoever started it is gone.
fn serve(flags: &str) {
    let args = Args::parse_from(["gateway"].into_iter().chain(flags.lines()));
    let gateway = Gateway::start(args).expect("it starts");
    println!("{SERVES}{} {}", gateway.public(), gateway.private());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn an_instance_is_a_process_of_its_own() {
    if let Ok(flags) = std::env::var(FLAGS) {
        return serve(&flags);
    }
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags: Vec<String> = ["--auth", "anonymous"].into_iter().chain(ports).map(str::to_owned).collect();
    let mut instance = Process::start(&flags);
    TcpStream::connect(instance.public).expect("it lives");
    instance.kill();
    assert!(TcpStream::connect(instance.public).is_err(), "it is dead");
}
