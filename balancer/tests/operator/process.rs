//! A `balancer` process with an admin listener to ask.

use crate::support::{
    client::{Answer, ask},
    eventually,
    fake::Fake,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

pub(crate) struct Process {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer"));
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--threads", "1"]).args(arguments);
    command.env("HOLDFAST_LOG", "info").env("NO_COLOR", "1").stderr(Stdio::piped());
    command
}

/// What a start that is refused says, and its exit status.
pub(crate) fn refused(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_balancer")).args(arguments).output().expect("the binary runs");
    let text = String::from_utf8(output.stderr).expect("utf-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    (text, output.status.code().expect("it exits"))
}

pub(crate) fn flag(fake: &Fake) -> String {
    format!("--instance=http={},admin={}", fake.http, fake.admin)
}

impl Process {
    /// In front of these, all of which are up.
    pub(crate) fn start(fakes: &[Fake], arguments: &[&str]) -> Self {
        let instances: Vec<String> = fakes.iter().map(flag).collect();
        let arguments: Vec<&str> = instances.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let process = Self::spawn(&arguments);
        eventually("all are up", || process.states().iter().all(|state| state == "up"));
        process
    }

    pub(crate) fn spawn(arguments: &[&str]) -> Self {
        let mut child = command(arguments).spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let serving = lines.by_ref().map_while(Result::ok).find(|line| line.contains("serving")).expect("it serves");
        // Read on, so that the process never waits for somebody to read its log.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| {
            let found = serving.split(' ').find_map(|word| word.strip_prefix(name)).expect("logged");
            found.trim().parse().expect("an address")
        };
        Self { http: address("listen="), admin: address("admin="), child }
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("our own child");
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("our own child").code()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(self.admin, format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).body).expect("JSON")
    }

    pub(crate) fn states(&self) -> Vec<String> {
        self.instances("state")
    }

    /// One field of every line of `/instances`, as text.
    pub(crate) fn instances(&self, field: &str) -> Vec<String> {
        let list = self.json("/instances");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        list.as_array().expect("a list").iter().map(|each| text(&each[field])).collect()
    }

    /// `PUT /instances/{id}/state`
    pub(crate) fn put(&self, id: &str, state: &str, headers: &str) -> Answer {
        let body = format!("{{\"state\":\"{state}\"}}");
        let head = format!("PUT /instances/{id}/state HTTP/1.1\r\nContent-Type: application/json\r\n{headers}");
        ask(self.admin, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// `POST /failback`
    pub(crate) fn ask_for_failback(&self) -> Answer {
        let head = format!("POST /failback HTTP/1.1\r\n{}", self.change_headers());
        ask(self.admin, format!("{head}Content-Length: 0\r\n\r\n"))
    }

    /// The headers that a change needs.
    pub(crate) fn change_headers(&self) -> String {
        format!("Host: {}\r\nholdfast-admin: 1\r\n", self.admin)
    }

    /// The value of one line of `/metrics`.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").body;
        let value = text.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {line} in {text}")).parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
