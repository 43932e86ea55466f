//! DNS seeds by the system's resolver: no resolver is named, so that of `/etc/resolv.conf` is asked.
//!
//! The process gets a file of its own there, in a mount namespace, and the name server of this test listens on port 53
//! of a loopback address. Both need privileges; without them the test says so and ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use tempfile::TempDir;

use super::{address, start};
use crate::names::{Known, Names};

/// A program in a mount namespace where `/etc/resolv.conf` is the file that comes first.
const WITH_FILE: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" \"$(readlink -f /etc/resolv.conf)\" && exec \"$@\""];

#[tokio::test(flavor = "multi_thread")]
async fn names_are_asked_of_the_servers_in_the_systems_configuration() {
    // Of this process alone: another test may have a name server too.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let server = SocketAddr::from((Ipv4Addr::new(127, 53, high, low.clamp(1, 254)), 53));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("resolv.conf");
    std::fs::write(&file, format!("# of a test\nnameserver {}\noptions timeout:2\n", server.ip())).unwrap();
    let by = [&WITH_FILE[..], &[file.to_str().unwrap()]].concat();

    let names = match Names::start_at(server).await {
        Ok(names) => names,
        Err(error) => return println!("skipped: no name server can be had at {server}: {error}"),
    };
    let tried = Command::new(by[0]).args(&by[1..]).args(["cat", "/etc/resolv.conf"]).output();
    match tried {
        Ok(output) if output.stdout.starts_with(b"# of a test") => {}
        Ok(output) => {
            return println!("skipped: no mount namespace: {}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => return println!("skipped: no mount namespace: unshare: {error}"),
    }

    let seed = start(&[], DiscoverySettings::none()).await;
    names.set("seed.test", Known::Records(vec![Ipv4Addr::LOCALHOST.into()], Vec::new()));
    let name = format!("seed.test:{}", address(&seed).await.port());
    let dns_seeds = vec![name.parse().unwrap(), "missing.test".parse().unwrap()];
    let node = start(&by, DiscoverySettings { dns_seeds, ..DiscoverySettings::none() }).await;
    node.event(&AdminEvent::PeerUp { node: seed.ticket().await.node }).await;
    let status = node.status().await;
    let dns = status.sources.iter().find(|source| source.name == "dns").unwrap();
    assert_eq!(dns.found, 1, "{dns:?}");
}
