//! The proof that this crate decides and does nothing: no runtime, socket, HTTP or global randomness among its dependencies.

use std::process::Command;

const FOREIGN: [&str; 10] =
    ["tokio", "mio", "socket2", "hyper", "axum", "rtc", "webrtc", "rand", "getrandom", "gateway-protocol"];

#[test]
fn no_dependency_can_reach_the_world() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "balancer-core", "--edges", "normal", "--prefix", "none"])
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(tree.stdout).expect("utf-8");
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"balancer-core"), "{tree}");
    let foreign: Vec<_> = FOREIGN.into_iter().filter(|name| names.contains(name)).collect();
    assert_eq!(foreign, [""; 0], "{tree}");
}
