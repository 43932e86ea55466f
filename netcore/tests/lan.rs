//! Two machines on two local networks, as network namespaces with two cables between them: one IPv4, one IPv6. Where
//! this process may not make namespaces, nothing is tested, and the output says so.

#![allow(unreachable_pub, dead_code, reason = "the harness serves several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test may have a large stack")]

mod common;

use std::process::Command;
use std::sync::Arc;

use common::{Netcore, until, within};
use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse, PeerRecord, PeerState};
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use tempfile::TempDir;

/// Two namespaces; they and their cables go with this.
struct Machines {
    names: [String; 2],
}

fn ip(words: &str) -> bool {
    let ended = Command::new("ip").args(words.split_whitespace()).output();
    ended.is_ok_and(|ended| ended.status.success())
}

impl Machines {
    fn make(test: &str) -> Option<Self> {
        let id = std::process::id();
        let names = [format!("pp{id}{test}a"), format!("pp{id}{test}b")];
        let [a, b] = &names;
        if !ip(&format!("netns add {a}")) {
            println!("not tested: this process may not make network namespaces");
            return None;
        }
        let machines = Self { names: names.clone() };
        assert!(ip(&format!("netns add {b}")));
        for (cable, addresses) in [("c4", ["10.77.1.1/24", "10.77.1.2/24"]), ("c6", ["fd77::1/64", "fd77::2/64"])] {
            assert!(ip(&format!("link add {cable} netns {a} type veth peer name {cable} netns {b}")), "{cable}");
            for (name, address) in names.iter().zip(addresses) {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                assert!(ip(&format!("-n {name} address add {address} dev {cable} {nodad}")), "{address}");
                assert!(ip(&format!("-n {name} link set {cable} up")) && ip(&format!("-n {name} link set lo up")));
            }
        }
        Some(machines)
    }

    async fn start(&self, machine: usize, listen: &[&str], network: &str) -> Netcore {
        self.start_in(Arc::new(TempDir::new().unwrap()), machine, listen, network).await
    }

    async fn start_in(&self, home: Arc<TempDir>, machine: usize, listen: &[&str], network: &str) -> Netcore {
        let settings = NetSettings {
            listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
            network: network.parse().unwrap(),
            discovery: DiscoverySettings { builtin: false, ..DiscoverySettings::default() },
            ..NetSettings::default()
        };
        let by = ["ip", "netns", "exec", &self.names[machine]];
        let netcore = Netcore::spawn_by(&by, home, settings).await;
        assert_eq!(netcore.ask(AdminRequest::Start).await, AdminResponse::Done);
        netcore
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns delete {name}"));
        }
    }
}

async fn met(netcore: &Netcore) -> PeerRecord {
    let mut events = netcore.events();
    let is_up = |events: &Vec<AdminEvent>| events.iter().any(|event| matches!(event, AdminEvent::PeerUp { .. }));
    within("the nodes to meet", events.wait_for(is_up)).await.expect("it is kept");
    let AdminResponse::Peers(peers) = netcore.ask(AdminRequest::Peers).await else { panic!("no peers") };
    peers.into_iter().find(|peer| peer.state == PeerState::Connected).expect("it is connected")
}

async fn nodes_meet(test: &str, listen: &[&str], expected: &[&str]) {
    let Some(machines) = Machines::make(test) else { return };
    let (one, two) = (machines.start(0, listen, "lan").await, machines.start(1, listen, "lan").await);
    let stranger = machines.start(1, listen, "other").await;
    for netcore in [&one, &two] {
        let record = met(netcore).await;
        let address = record.address.unwrap();
        assert!(expected.iter().any(|start| address.starts_with(start)), "{address}");
        assert!(record.sources.iter().any(|source| source == "lan" || source == "incoming"), "{:?}", record.sources);
    }
    let found = async || {
        let mut found = 0;
        for netcore in [&one, &two] {
            let sources = netcore.status().await.sources;
            found += sources.iter().find(|source| source.name == "lan").map_or(0, |source| source.found);
        }
        (found > 0).then_some(())
    };
    until("the status tells of it", found).await;
    assert_eq!(stranger.status().await.connected, 0, "it is of another network");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_all_interfaces_meet_over_either_family() {
    nodes_meet("x", &["0.0.0.0:0", "[::]:0"], &["10.77.1.", "[fd77::"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_meet_over_ipv4_alone() {
    nodes_meet("v", &["0.0.0.0:0"], &["10.77.1."]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_meet_over_ipv6_alone() {
    nodes_meet("w", &["[::]:0"], &["[fd77::"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_network_is_failing_while_another_program_has_its_port() {
    let Some(machines) = Machines::make("p") else { return };
    let holds = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5353)); \
                 print('held', flush=True); sys.stdin.read()";
    let mut holder = tokio::process::Command::new("ip")
        .args(["netns", "exec", &machines.names[0], "python3", "-c", holds])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut held = [0; 4];
    let stdout = holder.stdout.as_mut().expect("a pipe");
    within("the port to be taken", tokio::io::AsyncReadExt::read_exact(stdout, &mut held)).await.unwrap();
    let (one, two) = (machines.start(0, &["0.0.0.0:0"], "lan").await, machines.start(1, &["0.0.0.0:0"], "lan").await);
    let lan =
        async || one.status().await.sources.into_iter().find(|source| source.name == "lan").expect("it is listed");
    let failing = async || Some(lan().await).filter(|source| source.state == "failing");
    let problem = until("the source to fail", failing).await.problem.expect("it says why");
    assert!(problem.contains("5353") && problem.contains("taken by another program"), "{problem}");
    drop(holder.stdin.take()); // it ends
    within("the end of the other program", holder.wait()).await.unwrap();
    met(&one).await;
    met(&two).await;
    assert_eq!(lan().await.problem, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_node_of_one_identity_on_the_local_network_is_noticed_by_both() {
    let Some(machines) = Machines::make("t") else { return };
    let one = machines.start(0, &["0.0.0.0:7470"], "lan").await;
    let copy = Arc::new(TempDir::new().unwrap());
    std::fs::copy(one.home.path().join("identity.key"), copy.path().join("identity.key")).unwrap();
    let two = machines.start_in(copy, 1, &["0.0.0.0:7470"], "lan").await;
    for (netcore, other) in [(&one, "10.77.1.2:7470"), (&two, "10.77.1.1:7470")] {
        let is_told = |text: &String| text.contains("identity") && text.contains(other);
        let warning = async || netcore.status().await.warnings.into_iter().find(is_told);
        until("a warning with the other's address", warning).await;
    }
}
