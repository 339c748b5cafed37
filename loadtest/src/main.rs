//! `loadtest`: see `loadtest --help`.

use holdfast_config::Stop;
use loadtest::{bench_media, bench_proxy, bench_sip, exit, fault, loss, reach, run};
use std::ffi::OsString;
use std::process::ExitCode;

const USAGE: &str = "\
Load, losses and measurements for Holdfast

Usage: loadtest <COMMAND> [FLAGS]

Commands:
  run          virtual users with real media against running balancers
  loss         starts a cluster, kills instances under load, checks that everyone is signed in again
  fault        starts a cluster, freezes instances and kills balancers under load
  reach        starts a cluster and a SIP server, calls users while their instances are killed: how long nobody reaches them
  bench media  what an echoed packet, a peer and a connect cost the gateway
  bench proxy  what a request and an idle WebSocket cost the balancer, HAProxy beside it
  bench sip    what bridged and transcoded calls, registrations and call set-ups cost the gateway, rtpengine beside it

Each command has --help and --json FILE. Exit status: 0 completed, 1 a rule broke (loss, fault, reach), 2 bad input or no run at all.
";

fn main() -> ExitCode {
    holdfast_config::logging::start_at("warn,rtc=off,rtc_ice=off,webrtc=off");
    raise_open_files();
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let (command, words) = command(&args);
    let rest = std::iter::once(program).chain(args.into_iter().skip(words));
    exit::code(match command.as_str() {
        "run" => run::main(rest),
        "loss" => loss::main(rest),
        "fault" => fault::main(rest),
        "reach" => reach::main(rest),
        "bench media" => bench_media::main(rest),
        "bench proxy" => bench_proxy::main(rest),
        "bench sip" => bench_sip::main(rest),
        "--help" | "-h" | "help" => Err(Stop::Print(USAGE.to_owned()).into()),
        "--version" | "-V" => Err(Stop::Print(format!("loadtest {}\n", env!("CARGO_PKG_VERSION"))).into()),
        other => Err(Stop::Refuse(format!("error: command `{other}`: see loadtest --help for those allowed")).into()),
    })
}

/// The command's words, and how many they are.
fn command(args: &[OsString]) -> (String, usize) {
    let word = |index: usize| args.get(index).and_then(|arg| arg.to_str()).unwrap_or_default();
    match word(0) {
        "bench" => (format!("bench {}", word(1)), 2),
        other => (other.to_owned(), 1),
    }
}

/// Thousands of sockets need more than the usual soft limit of 1024 open files.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
