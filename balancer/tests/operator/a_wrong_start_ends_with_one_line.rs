//! Key, value and what is allowed, in one line, with status 2; and the end when it is asked for.

use crate::{
    process::{Process, flag, refused},
    support::fake::Fake,
};
use nix::sys::signal::Signal;

#[test]
fn a_port_in_use_is_named() {
    let fakes = [Fake::start("a")];
    let process = Process::start(&fakes, &[]);
    let (instance, taken) = (flag(&fakes[0]), process.http.to_string());
    let (line, status) = refused(&[&instance, "--listen", &taken, "--admin-listen", "127.0.0.1:0"]);
    assert!(line.contains("--listen") && line.contains(&taken), "{line}");
    assert_eq!(status, 2);
}

#[test]
fn a_wrong_file_is_named() {
    let fakes = [Fake::start("a")];
    let instance = flag(&fakes[0]);
    for name in ["--cluster-key-file", "--admin-token-file"] {
        let (line, status) = refused(&[&instance, name, "/nowhere/file", "--listen", "127.0.0.1:0"]);
        assert!(line.contains(name) && line.contains("/nowhere/file"), "{line}");
        assert_eq!(status, 2);
        assert_eq!(refused(&[&instance, name, "/nowhere/file", "--check-config"]), (line, 2));
    }
}

#[test]
fn sigterm_ends_it_with_success() {
    let fakes = [Fake::start("a")];
    let mut process = Process::start(&fakes, &[]);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.exit_code(), Some(0));
}
