//! Nodes on the local network, by multicast DNS service discovery (RFC 6762, RFC 6763).
//!
//! Each node announces one instance of `_polypeer._udp.local.` per port, named after its id, with TXT `id=` (node id)
//! and `net=` (network name). It announces and browses on the interfaces it listens on and no others: a node on
//! 127.0.0.1 meets those of its own machine and sends nothing elsewhere (but for the kernel's membership reports, IGMP and
//! MLD: mdns-sd joins the multicast groups everywhere before it can be told where to stay). Anybody can announce anything, so what is found
//! counts as a rumour. The daemon's thread is mdns-sd's; its sockets share port 5353 with other responders.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use polypeer_ipc_protocol::ids::NodeId;

/// What is announced and looked for.
const SERVICE: &str = "_polypeer._udp.local.";
/// Addresses taken from one announcement.
const MAX_ADDRESSES: usize = 16;
/// How long until the daemon is started again after it failed.
const RETRY: Duration = Duration::from_secs(60);

/// What to announce, and where.
#[derive(Debug, Clone)]
pub struct LanConfig {
    /// This node.
    pub node: NodeId,
    /// Only nodes with the same name are reported.
    pub network: String,
    /// What the node's sockets are bound to.
    pub bound: Vec<SocketAddr>,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LanEvent {
    /// Somebody says that this node is there.
    Found(NodeId, Vec<SocketAddr>),
    /// It said goodbye, or its announcement has run out.
    Lost(NodeId),
    /// It does not work, or only in part.
    Problem(String),
    /// It works (again).
    Working,
}

/// Announces and looks until dropped, and reports to `report`.
pub async fn run(config: LanConfig, report: impl Fn(LanEvent)) {
    loop {
        if let Err(error) = run_daemon(&config, &report).await {
            report(LanEvent::Problem(format!("multicast DNS does not work: {error}")));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The daemon thread ends with this.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Says goodbye for what is registered. Fails only when it is gone already.
        self.0.shutdown().ok();
    }
}

async fn run_daemon(config: &LanConfig, report: &impl Fn(LanEvent)) -> Result<(), mdns_sd::Error> {
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
    listen(config, &events, &problems, report).await;
    Ok(())
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
                    if let Some((node, addresses)) = read(config, &service) {
                        report(LanEvent::Found(node, addresses));
                    }
                }
                Ok(ServiceEvent::ServiceRemoved(_, name)) => {
                    if let Some(node) = node_of(&name) {
                        report(LanEvent::Lost(node));
                    }
                }
                Ok(_) => {}
                // The daemon ended, or we were too slow for it: start anew.
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

/// The node that announced an instance: its name is the id, a hyphen, the port, a dot and the service.
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

/// One per port, each on the interfaces of the sockets with that port.
fn announcements(config: &LanConfig) -> Result<Vec<ServiceInfo>, mdns_sd::Error> {
    let mut ports: Vec<u16> = config.bound.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let id = config.node.to_string();
    let properties = [("id", id.as_str()), ("net", config.network.as_str())];
    let announcement = |port: u16| {
        let name = format!("{id}-{port}");
        let host = format!("{name}.local.");
        let mut info = ServiceInfo::new(SERVICE, &name, &host, "", port, &properties[..])?.enable_addr_auto();
        let bound = config.bound.iter().filter(|address| address.port() == port);
        info.set_interfaces(bound.map(|address| interface(address.ip())).collect());
        // The name holds a public key: a conflict is somebody else's lie, and asking would cost the first second.
        info.set_requires_probe(false);
        Ok(info)
    };
    ports.into_iter().map(announcement).collect()
}

/// Another node of our network, and addresses that could be dialed.
fn read(config: &LanConfig, service: &ResolvedService) -> Option<(NodeId, Vec<SocketAddr>)> {
    let node: NodeId = service.get_property_val_str("id")?.parse().ok()?;
    if node == config.node || service.get_property_val_str("net") != Some(&config.network) {
        return None;
    }
    let mut addresses: Vec<SocketAddr> =
        service.get_addresses().iter().map(|ip| SocketAddr::new(ip.to_ip_addr(), service.get_port())).collect();
    // Without its interface a link-local address leads nowhere; every host with one has others where we listen.
    addresses.retain(|address| !matches!(address.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()));
    addresses.sort_unstable();
    addresses.truncate(MAX_ADDRESSES);
    (!addresses.is_empty()).then_some((node, addresses))
}
