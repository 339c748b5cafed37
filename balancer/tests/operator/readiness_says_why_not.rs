//! `/readyz` and `/livez`: for whoever decides whether this balancer gets traffic.

use crate::{
    process::Process,
    support::{eventually, fake::Fake},
};
use std::io::Write;

#[test]
fn a_random_key_is_enough_for_one_instance_and_not_for_two() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let alone = Process::start(&fakes[..1], &[]);
    assert_eq!(alone.get("/readyz").status, 200);
    let several = Process::start(&fakes, &[]);
    let answer = several.get("/readyz");
    assert_eq!((answer.status, answer.body.contains("--cluster-key-file")), (503, true));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("written");
    let keyed = Process::start(&fakes, &["--cluster-key-file", file.path().to_str().expect("utf-8")]);
    assert_eq!((keyed.get("/readyz").status, keyed.get("/livez").status), (200, 200));
}

#[test]
fn a_balancer_that_starts_before_its_instances_serves_once_they_are_there() {
    let mut fake = Fake::start("a");
    let flag = crate::process::flag(&fake);
    fake.kill();
    let process = Process::spawn(&[&flag]);
    assert_eq!((process.get("/readyz").status, process.get("/livez").status), (503, 200));
    assert_eq!(process.states(), ["down"]);
    fake.restart("a-boot-2");
    eventually("it is ready", || process.get("/readyz").status == 200);
}
