//! `/metrics`: what the data path and the probes counted, and the instances as they are.

use crate::{
    process::Process,
    support::{
        client::{ask, get, sign_in},
        eventually,
        fake::Fake,
    },
};

#[test]
fn pins_losses_and_instances_are_counted() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let process = Process::start(&fakes, &[]);
    let signed_in = ask(process.http, sign_in("", ""));
    let cookie = signed_in.cookie("holdfast");
    ask(process.http, get("/", &cookie));
    ask(process.http, get("/", "holdfast=1.forged"));
    let home = fakes.iter_mut().find(|fake| fake.id() == signed_in.header("holdfast-instance")).expect("one of them");
    home.kill();
    eventually("it is down", || process.states().contains(&"down".to_owned()));
    ask(process.http, get("/", &cookie));

    assert_eq!(process.metric("holdfast_pins_total{pin=\"kept\"}"), 1.0);
    assert_eq!(process.metric("holdfast_pins_total{pin=\"new\"}"), 2.0);
    assert_eq!(process.metric("holdfast_pins_total{pin=\"gone\"}"), 1.0);
    assert_eq!(process.metric("holdfast_pins_ignored_total{reason=\"malformed\"}"), 1.0);
    assert_eq!(process.metric("holdfast_losses_total{loss=\"gone\"}"), 1.0);
    let id = signed_in.header("holdfast-instance");
    assert_eq!(process.metric(&format!("holdfast_instance_state{{instance=\"{id}\",state=\"down\"}}")), 1.0);
    assert_eq!(process.metric("holdfast_plan_sessions_survivable"), 0.0);
    assert!(process.metric("holdfast_process_resident_memory_bytes") > 0.0);
}
