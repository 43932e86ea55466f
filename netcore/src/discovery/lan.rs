//! Discovery on the local network, by multicast DNS service discovery (RFC 6762, RFC 6763).
//!
//! Each node announces one instance of `_polypeer._udp.local.` per port, named after its id. Its TXT keys are `id`
//! (node id), `net` (network name) and `run`, a random number of this run, by which a second node of one identity is
//! noticed. Announcements are not authenticated, so an address is only a candidate for a dial.
//!
//! A node announces and browses on the interfaces it listens on and no others: one on loopback finds those of its own
//! machine and sends nothing elsewhere. The exception is the kernel's membership reports (IGMP and MLD), because
//! mdns-sd joins the multicast groups on every interface before it can be restricted. The daemon's thread is mdns-sd's;
//! its sockets share port 5353 with other responders.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, MDNS_PORT, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use polypeer_ipc_protocol::ids::NodeId;

use super::mdns_port::{self, Family};

/// DNS-SD service type.
const SERVICE: &str = "_polypeer._udp.local.";
/// Most addresses used of one announcement.
const MAX_ADDRESSES: usize = 16;
/// Wait before the daemon is restarted after a failure.
const RETRY: Duration = Duration::from_secs(60);
/// How often it is tried again whether a port that was taken is free.
const PORT_RETRY: Duration = Duration::from_secs(5);

/// The announcement, and its interfaces.
#[derive(Debug, Clone)]
pub struct LanConfig {
    pub node: NodeId,
    /// Only nodes with the same name are reported.
    pub network: String,
    /// Addresses to which the node's sockets are bound.
    pub bound: Vec<SocketAddr>,
    /// A random number of this run of the node.
    pub run: u64,
}

/// Events of the local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LanEvent {
    /// A node is announced at these addresses.
    Found(NodeId, Vec<SocketAddr>),
    /// It said goodbye, or its announcement expired.
    Lost(NodeId),
    /// Another process announces this node's own id, at these addresses; this node's own may be among them.
    Twin(Vec<SocketAddr>),
    /// Something failed once.
    Problem(String),
    /// Discovery does not work, wholly or in part, until [`Self::Working`].
    Failing(String),
    /// Discovery works, or works again.
    Working,
}

/// Announces this node and browses for others until dropped; events go to `report`.
pub async fn run(config: LanConfig, report: impl Fn(LanEvent)) {
    loop {
        let taken = mdns_port::taken(&config.bound, MDNS_PORT);
        let is_blocked = |address: &SocketAddr| taken.iter().any(|family| (*family == Family::V4) == address.is_ipv4());
        if config.bound.iter().all(is_blocked) {
            report(LanEvent::Failing(port_taken(&taken)));
            tokio::time::sleep(PORT_RETRY).await;
            continue;
        }
        match run_daemon(&config, &taken, &report).await {
            Ok(()) if !taken.is_empty() => continue, // the other family has become free
            Ok(()) => {}
            Err(error) => report(LanEvent::Failing(format!("multicast DNS does not work: {error}"))),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn port_taken(taken: &[Family]) -> String {
    let families: Vec<&str> = taken.iter().map(|family| family.name()).collect();
    format!(
        "UDP port {MDNS_PORT} ({}) is taken by another program that does not share it; find it with: ss -ulnp sport = \
         {MDNS_PORT}",
        families.join(", ")
    )
}

/// The daemon; its thread ends when this is dropped.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Sends goodbyes for what is registered. Fails only if the thread has ended already.
        self.0.shutdown().ok();
    }
}

/// Runs the daemon until it ends, or until one of the families `taken` is free again.
async fn run_daemon(config: &LanConfig, taken: &[Family], report: &impl Fn(LanEvent)) -> Result<(), mdns_sd::Error> {
    let daemon = Daemon(ServiceDaemon::new()?);
    let kinds: Vec<IfKind> = config.bound.iter().map(|address| interface(address.ip())).collect();
    // In this order, and before anything is sent.
    daemon.0.disable_interface(IfKind::All)?;
    daemon.0.enable_interface(kinds)?;
    let problems = daemon.0.monitor()?;
    let events = daemon.0.browse(SERVICE)?;
    for announcement in announcements(config)? {
        daemon.0.register(announcement)?;
    }
    report(LanEvent::Working);
    if !taken.is_empty() {
        report(LanEvent::Failing(port_taken(taken)));
    }
    tokio::select! {
        () = listen(config, &events, &problems, report) => {}
        () = freed(config, taken) => {}
    }
    Ok(())
}

/// Waits until one of the families `taken` is free; for ever if none is taken.
async fn freed(config: &LanConfig, taken: &[Family]) {
    if taken.is_empty() {
        return std::future::pending().await;
    }
    while mdns_port::taken(&config.bound, MDNS_PORT) == taken {
        tokio::time::sleep(PORT_RETRY).await;
    }
}

async fn listen(
    config: &LanConfig,
    events: &Receiver<ServiceEvent>,
    problems: &Receiver<DaemonEvent>,
    report: &impl Fn(LanEvent),
) {
    loop {
        tokio::select! {
            event = events.recv_async() => match event {
                Ok(ServiceEvent::ServiceResolved(service)) => {
                    if let Some(event) = read(config, &service) {
                        report(event);
                    }
                }
                Ok(ServiceEvent::ServiceRemoved(_, name)) => {
                    if let Some(node) = node_of(&name) {
                        report(LanEvent::Lost(node));
                    }
                }
                Ok(_) => {}
                // The daemon ended, or dropped events because they were read too slowly: it is restarted.
                Err(_) => return,
            },
            problem = problems.recv_async() => match problem {
                Ok(DaemonEvent::Error(error)) => report(LanEvent::Problem(error.to_string())),
                Ok(_) => {}
                Err(_) => return,
            },
        }
    }
}

/// The node id in the name of an instance: the id, a hyphen, the port, a dot and the service.
fn node_of(name: &str) -> Option<NodeId> {
    name.split(['-', '.']).next()?.parse().ok()
}

fn interface(bound: IpAddr) -> IfKind {
    match bound {
        IpAddr::V4(v4) if v4.is_unspecified() => IfKind::IPv4,
        IpAddr::V4(v4) if v4.is_loopback() => IfKind::LoopbackV4,
        IpAddr::V6(v6) if v6.is_unspecified() => IfKind::IPv6,
        IpAddr::V6(v6) if v6.is_loopback() => IfKind::LoopbackV6,
        ip => IfKind::Addr(ip),
    }
}

/// The announcements: one per port, each on the interfaces of the sockets with that port.
fn announcements(config: &LanConfig) -> Result<Vec<ServiceInfo>, mdns_sd::Error> {
    let mut ports: Vec<u16> = config.bound.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let id = config.node.to_string();
    let run = config.run.to_string();
    let properties = [("id", id.as_str()), ("net", config.network.as_str()), ("run", run.as_str())];
    let announcement = |port: u16| {
        let name = format!("{id}-{port}");
        let host = format!("{name}.local.");
        let mut info = ServiceInfo::new(SERVICE, &name, &host, "", port, &properties[..])?.enable_addr_auto();
        let bound = config.bound.iter().filter(|address| address.port() == port);
        info.set_interfaces(bound.map(|address| interface(address.ip())).collect());
        // The name contains a public key, so a conflict would be a lie, and probing for one would cost a second.
        info.set_requires_probe(false);
        Ok(info)
    };
    ports.into_iter().map(announcement).collect()
}

/// What an announcement means: another node of this network with the addresses that can be dialed, or another process
/// with this node's id.
fn read(config: &LanConfig, service: &ResolvedService) -> Option<LanEvent> {
    let node: NodeId = service.get_property_val_str("id")?.parse().ok()?;
    if service.get_property_val_str("net") != Some(&config.network) {
        return None;
    }
    let mut addresses: Vec<SocketAddr> =
        service.get_addresses().iter().map(|ip| SocketAddr::new(ip.to_ip_addr(), service.get_port())).collect();
    // A link-local address cannot be dialed without its interface; a host with one has other addresses, too.
    addresses.retain(|address| !matches!(address.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()));
    addresses.sort_unstable();
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() {
        return None;
    }
    if node != config.node {
        return Some(LanEvent::Found(node, addresses));
    }
    let run = service.get_property_val_str("run").and_then(|run| run.parse::<u64>().ok());
    run.filter(|run| *run != config.run).map(|_| LanEvent::Twin(addresses))
}
