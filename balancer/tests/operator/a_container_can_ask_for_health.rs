//! `--check-health`, which containers run beside the balancer: status 0 while it is alive.

use crate::{
    process::{Process, refused},
    support::fake::Fake,
};
use nix::sys::signal::Signal;
use std::process::Command;

#[test]
fn the_binary_itself_asks() {
    let fakes = [Fake::start("a")];
    let mut process = Process::start(&fakes, &[]);
    let admin = process.admin.to_string();
    // No other flag is needed, not even those without which no balancer starts.
    let asked =
        Command::new(env!("CARGO_BIN_EXE_balancer")).args(["--check-health", "--admin-listen", &admin]).output();
    assert_eq!(asked.expect("the binary runs").status.code(), Some(0));

    process.signal(Signal::SIGTERM);
    process.exit_code();
    let (line, status) = refused(&["--check-health", "--admin-listen", &admin]);
    assert!(line.contains(&admin), "{line}");
    assert_eq!(status, 1);
}
