//! One network core: makes its parts, gives each the parts that it uses, and passes on what links report. Only this
//! module and [`crate::admin`] see all parts.

mod peer_log;

use std::sync::Arc;

use bytes::Bytes;
use polypeer_engine::address::AddressRecord;
use polypeer_engine::keys::SharedKeys;
use polypeer_engine::peers::watermarks::Marks;
use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::gateway::Payload;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::settings::NetSettings;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::dht::DhtHandle;
use crate::discovery::Discovery;
use crate::gateway::{self, Hub, StreamOpener};
use crate::gossip::driver::GossipHandle;
use crate::identity::Identity;
use crate::link::{Answering, FrameReceiver, InUse, LinkHandler, Links, PeerLink, PeerStream, Serving};
use crate::node::{Node, Phase};
use crate::peers::{Peers, PeersConfig};
use crate::query::{self, Handlers, Question};
use crate::reach::ReachHandle;
use crate::services::Services;
use crate::streams::Streams;
use crate::{Options, RunError};
use peer_log::PeerLog;

/// A network core without a supervisor. Its services end when it is dropped.
pub struct Core {
    /// State that all parts share.
    pub node: Arc<Node>,
    /// Connections to peers: sockets, dialing, watermarks.
    pub peers: Peers,
    /// Links to peers.
    pub links: Arc<Links>,
    /// DHT, gossip, discovery and other services.
    pub services: Services,
    /// The gateway for plugins.
    pub hub: Arc<Hub>,
    pub(crate) opener: Arc<dyn StreamOpener>,
    _drivers: JoinSet<()>,
}

impl Core {
    /// Binds the sockets and loads the state stored on disk. Accepts and dials nothing before [`Self::open`]. The
    /// receiver yields the events for the supervisor.
    pub async fn bind(options: Options, settings: NetSettings) -> Result<(Self, mpsc::Receiver<AdminEvent>), RunError> {
        settings.check()?;
        let identity = Arc::new(Identity::load_or_create(&options.home.join("identity.key"))?);
        let network = String::from(settings.network);
        let (node, events) = Node::new(Arc::clone(&identity) as SharedKeys, network.clone(), options.timings);
        let links = Arc::new(Links::new(Arc::clone(&node)));
        let marks = Marks::configured(settings.seed_only, &settings.peers);
        let low = marks.low;
        let config = PeersConfig {
            explicit_listen: !settings.listen.is_empty(),
            listen: settings.listen,
            remembered: settings.discovery.remembered,
            network,
            idle: options.idle,
            marks,
            ..PeersConfig::new(options.home, Arc::clone(&identity))
        };
        let services = Services::new(&node, &links, settings.discovery, low);
        let Services { dht, gossip, reach, discovery, .. } = &services;
        let (dht, gossip, reach) = (|| Arc::clone(dht), || Arc::clone(gossip), || Arc::clone(reach));
        let hub = Arc::new(Hub::new(Arc::clone(&node), Arc::clone(&links), dht(), gossip(), reach()));
        let streams = Arc::new(Streams::new(Arc::clone(&hub)));
        let questions = Arc::new(services.handlers(&node));
        let handler: Arc<dyn LinkHandler> = Arc::new(Wiring {
            hub: Arc::clone(&hub),
            streams: Arc::clone(&streams),
            questions: Arc::clone(&questions),
            dht: dht(),
            gossip: gossip(),
            reach: reach(),
            discovery: Arc::clone(discovery),
            log: PeerLog::default(),
        });
        let of = Arc::clone(&links);
        let peers = Peers::bind(config, Arc::new(move |connection| of.establish(&handler, connection))).await?;
        peers.answer_queries(Arc::new(move |connection| {
            tokio::spawn(query::inbound::run(Arc::clone(&questions), connection));
        }));
        node.join(peers.clone());
        let mut drivers = services.start(&node, &links);
        drivers.spawn(gateway::network::run(Arc::clone(&hub)));
        Ok((Self { node, peers, links, services, hub, opener: streams, _drivers: drivers }, events))
    }

    /// Begins to accept and dial connections, like the supervisor's `Start`.
    pub fn open(&self) {
        self.node.enter(Phase::Open);
        self.peers.open();
    }
}

/// Passes the requests and events of links on to the other parts.
struct Wiring {
    hub: Arc<Hub>,
    streams: Arc<Streams>,
    questions: Arc<Handlers>,
    dht: Arc<DhtHandle>,
    gossip: Arc<GossipHandle>,
    reach: Arc<ReachHandle>,
    discovery: Arc<Discovery>,
    log: PeerLog,
}

impl LinkHandler for Wiring {
    fn serving(&self, peer: &NodeId) -> Vec<Protocol> {
        self.hub.serving(peer)
    }

    fn serving_changed(&self) -> watch::Receiver<u64> {
        self.hub.serving_changed()
    }

    fn own_records(&self) -> watch::Receiver<Vec<Arc<AddressRecord>>> {
        self.reach.own()
    }

    fn peer_up(&self, link: &PeerLink) {
        self.log.up(link.peer, self.hub.node.peers().ok().and_then(|peers| peers.provenance(&link.peer)));
        self.reach.peer_up(link.peer, link.ip());
        self.gossip.peer_up(link.peer);
        self.hub.node.tell(AdminEvent::PeerUp { node: link.peer });
        self.hub.peer_up(&link.info());
    }

    fn peer_down(&self, link: &PeerLink) {
        self.log.down(link.peer, &link.why_closed());
        self.reach.peer_down(link.peer);
        self.gossip.peer_down(link.peer);
        self.hub.node.tell(AdminEvent::PeerDown { node: link.peer });
        self.hub.peer_down(link.peer, &link.why_closed());
    }

    fn record(&self, link: &PeerLink, record: Arc<AddressRecord>) {
        self.discovery.heard(Arc::clone(&record));
        self.dht.meet(record, link.judged_ip());
    }

    fn datagram(&self, peer: NodeId, protocol: Protocol, payload: Bytes) {
        gateway::datagrams::deliver(&self.hub, peer, protocol, payload);
    }

    fn stream(&self, stream: PeerStream, protocol: Protocol, in_use: InUse) -> Serving {
        let streams = Arc::clone(&self.streams);
        Box::pin(async move { streams.serve(stream, protocol, in_use).await })
    }

    fn call(&self, stream: PeerStream, protocol: Protocol, payload: Payload, in_use: InUse) -> Serving {
        let streams = Arc::clone(&self.streams);
        Box::pin(async move { streams.answer(stream, protocol, payload, in_use).await })
    }

    fn carries_frames(&self, protocol: &Protocol) -> bool {
        self.questions.carries_frames(protocol)
    }

    fn frames(&self, protocol: Protocol, frames: FrameReceiver) -> Serving {
        let questions = Arc::clone(&self.questions);
        Box::pin(async move { questions.serve(&protocol, frames).await })
    }

    fn answer(&self, link: &PeerLink, protocol: Protocol, payload: Bytes) -> Answering {
        let questions = Arc::clone(&self.questions);
        let question = Question { node: link.peer, ip: link.judged_ip(), from: link.proved_address(), payload };
        Box::pin(async move { questions.answer(&protocol, question).await })
    }
}

#[cfg(test)]
mod tests;
