//! The pure crates depend on nothing that has a clock, a socket, a runtime or randomness of its own, and the parts use
//! each other one way only.

use std::collections::BTreeSet;
use std::process::Command;

const PURE: [&str; 3] = ["gateway-protocol", "gateway-core", "balancer-core"];
const IMPURE: [&str; 15] = [
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "hyper-util",
    "axum",
    "tower",
    "rtc",
    "webrtc",
    "nix",
    "rand",
    "holdfast-config",
    "tracing",
    "gateway",
    "balancer",
];

/// Names of what `package` depends on, `depth` levels deep.
fn tree(package: &str, depth: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "--depth", depth, "-p", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let found: BTreeSet<String> = text.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert!(found.contains(package), "the tree of {package} is {found:?}");
    found
}

#[test]
fn no_pure_crate_reaches_a_socket_a_clock_or_a_runtime() {
    for package in PURE {
        let found = tree(package, "99");
        let impure: Vec<&str> = IMPURE.into_iter().filter(|name| found.contains(*name)).collect();
        assert!(impure.is_empty(), "{package} depends on {impure:?}");
    }
}

#[test]
fn no_pure_crate_makes_random_bytes_itself() {
    for package in PURE {
        assert!(!tree(package, "1").contains("getrandom"), "{package} names getrandom: random bytes are a parameter");
    }
}

#[test]
fn the_balancer_takes_nothing_of_the_gateway_but_its_protocol() {
    assert!(!tree("balancer-core", "99").iter().any(|name| name.starts_with("gateway")));
    let balancer = tree("balancer", "99");
    assert!(!balancer.contains("gateway") && !balancer.contains("gateway-core"));
}

#[test]
fn the_gateway_does_not_know_that_it_is_balanced() {
    assert!(!tree("gateway", "99").iter().any(|name| name.starts_with("balancer")));
}
