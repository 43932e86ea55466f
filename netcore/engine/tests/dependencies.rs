//! Neither the state machines nor the simulator, which runs thousands of them in virtual time, can do input or output:
//! no crate they are built from does.

use std::process::Command;

/// Crates that read clocks, sockets, files or the system's randomness.
const REJECTED: [&str; 15] = [
    "getrandom",
    "hickory-resolver",
    "if-addrs",
    "interprocess",
    "mainline",
    "mdns-sd",
    "mio",
    "nix",
    "polypeer-netcore",
    "quinn",
    "quinn-udp",
    "ring",
    "rusqlite",
    "socket2",
    "tokio",
];

/// The names of the crates that `package` is built from, itself included.
fn dependencies(package: &str) -> Vec<String> {
    let arguments = ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", package];
    let tree = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo, which runs this test, can be started");
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).expect("names of crates are text");
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_engine_and_the_simulator_are_built_from_nothing_that_does_input_or_output() {
    for package in ["polypeer-engine", "polypeer-sim"] {
        let names = dependencies(package);
        assert!(names.iter().any(|name| name == "polypeer-ipc-protocol"), "{package} is built from {names:?}");
        let found: Vec<_> = names.iter().filter(|name| REJECTED.contains(&name.as_str())).collect();
        assert!(found.is_empty(), "{package} is built from {found:?}; see: cargo tree -p {package} -e normal");
    }
}
