//! Driver of the gossip engine: one task owns the [`Gossip`], performs its outputs and answers requests through a
//! [`GossipHandle`].
//!
//! ```text
//! gateway ──► GossipHandle ──┐                  ┌──► sessions ──► Sink (each plugin's)
//! link (peers up, down) ─────┤                  ├──► outgoing ──► a stream to each peer
//! query (a peer's stream) ───┴──► driver ◄──► Gossip
//!                                               └──► lookups ──► dht, peers
//! ```

mod handle;
mod lookups;
mod outgoing;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::AddressRecord;
use polypeer_engine::gossip::wire::{self, MAX_BODY};
use polypeer_engine::gossip::{Frame, Gossip, GossipConfig, Misbehaviour, Output, PublishError};
use polypeer_engine::now::Now;
use polypeer_engine::peers::score::ScoreEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{Name, NodeId};
use tokio::sync::watch;
use tokio::time::sleep_until;

pub use handle::{GossipHandle, Sink};

use crate::clock;
use crate::dht::DhtHandle;
use crate::link::{self, FrameReceiver, PeerLink};
use crate::node::Node;
use crate::peers::Keep;
use handle::{Command, Links, Turn};
use lookups::{Done, Lookups};
use outgoing::Outgoing;
use sessions::{JUDGE, Judged, Sessions};

/// Name of the internal protocol; its streams carry frames.
pub const GOSSIP: &str = "gossip/1";

struct Driver {
    node: Arc<Node>,
    gossip: Gossip,
    sessions: Sessions,
    outgoing: Outgoing,
    lookups: Lookups,
    links: Arc<link::Links>,
    /// For each peer that the engine knows as connected: quinn's stable id of the connection.
    known: BTreeMap<NodeId, usize>,
    kept: BTreeMap<NodeId, Keep>,
}

/// Runs the driver until the handle or this future is dropped.
pub(crate) async fn run(
    node: Arc<Node>,
    links: Arc<link::Links>,
    handle: Arc<GossipHandle>,
    dht: Arc<DhtHandle>,
    mut own: watch::Receiver<Vec<Arc<AddressRecord>>>,
    seed: [u8; 32],
) {
    let Some(mut inbox) = handle.inbox() else { return };
    // The engine waits a second longer than sessions have to judge, so that their verdict is applied.
    let config = GossipConfig { judge: JUDGE + Duration::from_secs(1), ..GossipConfig::default() };
    let mut driver = Driver {
        gossip: Gossip::new(Arc::clone(&node.keys), config, seed),
        sessions: Sessions::default(),
        outgoing: Outgoing::new(Arc::clone(&node), Arc::clone(&links), GOSSIP.parse().expect("a protocol's name")),
        lookups: Lookups::new(Arc::clone(&node), dht),
        links,
        known: BTreeMap::new(),
        kept: BTreeMap::new(),
        node,
    };
    loop {
        driver.perform();
        let due = [driver.gossip.next_timeout(), driver.sessions.next_timeout()].into_iter().flatten().min();
        tokio::select! {
            turn = inbox.next() => match turn {
                Turn::Links(links) => driver.links_changed(links),
                Turn::Command(command) => driver.handle(command),
                Turn::Frame(from, frame) => driver.frame(from, frame),
                Turn::Closed => return,
            },
            Ok(()) = own.changed() => {
                let records = own.borrow_and_update().clone();
                driver.gossip.set_own(clock::now(), records);
            }
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => driver.timeout(),
            done = driver.lookups.done() => driver.looked_up(done),
            () = driver.outgoing.ended() => {}
        }
    }
}

/// Reads frames from a stream that a peer opened, until it ends.
pub(crate) async fn serve(node: Arc<Node>, gossip: Arc<GossipHandle>, mut frames: FrameReceiver) {
    let from = frames.peer();
    loop {
        let body = match frames.next(&node, MAX_BODY).await {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(failure) => {
                tracing::debug!(peer = %from, %failure, "gossip stream ended");
                return;
            }
        };
        match wire::read_body(&body) {
            Ok(Some(frame)) => {
                if gossip.frame(from, frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => node.counters.peer_frames_unknown.count(),
            Err(error) => return frames.misbehaved(&node, &format!("{GOSSIP}: {error}")),
        }
    }
}

impl Driver {
    fn handle(&mut self, command: Command) {
        let now = clock::now();
        // Replies are best effort: the requester may have gone.
        match command {
            Command::Subscribe(session, topic, validation, sink, reply) => {
                let subscribed = self.check_room(&topic);
                if subscribed.is_ok() {
                    let (decides, judged) = self.sessions.subscribe(session, &topic, validation, sink);
                    self.gossip.subscribe(now, topic, decides);
                    self.judged(now, judged);
                }
                let _ = reply.send(subscribed);
            }
            Command::Unsubscribe(session, topic, reply) => {
                self.unsubscribe(now, session, topic);
                let _ = reply.send(Ok(()));
            }
            Command::Publish(session, topic, payload, reply) => {
                if !self.sessions.may_publish(session, now.at) {
                    let _ = reply.send(Err(refusal(PublishError::TooFast)));
                    return;
                }
                let published = self.gossip.publish(now, topic.clone(), payload);
                if let Ok((id, _)) = &published
                    && let Some(message) = self.gossip.message(&topic, id)
                {
                    let (lost, _) = self.sessions.deliver(now.at, &topic, &message, Some(session), true);
                    self.node.counters.gossip_undelivered.add(lost);
                }
                let _ = reply.send(published.map_err(refusal));
            }
            Command::Judge(session, topic, message, verdict) => {
                let judged = self.sessions.judge(session, topic, message, verdict);
                self.judged(now, judged);
            }
            Command::Info(topic, reply) => {
                let unknown =
                    || Failure::new(ErrorCode::BadArgument, format!("this node is not subscribed to {topic}"));
                let _ = reply.send(self.gossip.info(&topic).ok_or_else(unknown));
            }
            Command::SessionEnded(session) => {
                for topic in self.sessions.topics_of(session) {
                    self.unsubscribe(now, session, topic);
                }
                self.sessions.ended(session);
            }
            Command::Stats(reply) => {
                let _ = reply.send(self.gossip.stats());
            }
        }
    }

    fn check_room(&self, topic: &Name) -> Result<(), Failure> {
        if self.gossip.has_room(topic) {
            return Ok(());
        }
        let limit = self.gossip.config().topics;
        Err(refusal(PublishError::TooManyTopics { limit }))
    }

    fn unsubscribe(&mut self, now: Now, session: u64, topic: Name) {
        let (decides, judged) = self.sessions.unsubscribe(session, &topic);
        self.judged(now, judged);
        match decides {
            Some(decides) => self.gossip.subscribe(now, topic, decides),
            None => self.gossip.unsubscribe(now, &topic),
        }
    }

    fn links_changed(&mut self, links: Links) {
        let now = clock::now();
        let peers: BTreeSet<_> = match links {
            Links::Peers(peers) => peers,
            Links::Many => self.known.keys().copied().chain(self.links.routes().into_keys()).collect(),
        };
        for peer in peers {
            if self.up(now, peer).is_none() {
                self.down(now, peer);
            }
        }
    }

    /// The link to a peer. The engine is told of a new link before its first frame is handled.
    fn up(&mut self, now: Now, peer: NodeId) -> Option<Arc<PeerLink>> {
        let link = self.links.ready(&peer)?;
        let number = link.connection.stable_id();
        if self.known.get(&peer) != Some(&number) {
            self.down(now, peer);
            self.known.insert(peer, number);
            self.gossip.peer_up(now, peer, link.judged_ip());
        }
        Some(link)
    }

    fn down(&mut self, now: Now, peer: NodeId) {
        self.known.remove(&peer);
        self.gossip.peer_down(now, peer);
        self.outgoing.close(&peer);
    }

    fn judged(&mut self, now: Now, judged: impl IntoIterator<Item = Judged>) {
        for (topic, message, verdict) in judged {
            self.gossip.judge(now, &topic, message, verdict);
        }
    }

    fn timeout(&mut self) {
        let now = clock::now();
        let judged = self.sessions.expire(now.at);
        self.judged(now, judged);
        self.gossip.handle_timeout(now);
    }

    fn looked_up(&mut self, done: Done) {
        match done {
            Done::NotConnected(peer) => self.gossip.connect_failed(clock::now(), peer),
            Done::Found(topic, found) => self.gossip.subscribers(clock::now(), &topic, found),
            Done::Nothing => {}
        }
    }

    fn frame(&mut self, from: NodeId, frame: Frame) {
        let now = clock::now();
        let Some(link) = self.up(now, from) else { return };
        if let Err(why) = self.gossip.handle_frame(now, from, frame) {
            if why == Misbehaviour::TooFast
                && let Ok(peers) = self.node.peers()
            {
                peers.score(from, ScoreEvent::Flood);
            }
            link.misbehaved(&self.node, &format!("{GOSSIP}: {why}"));
        }
    }

    /// Performs all pending outputs of the engine.
    fn perform(&mut self) {
        while let Some(output) = self.gossip.poll(clock::now()) {
            match output {
                Output::Send { to, frame } => self.outgoing.send(to, frame),
                Output::Deliver { topic, message } => {
                    let now = clock::now();
                    let own = message.author() == self.node.id;
                    let (lost, judged) = self.sessions.deliver(now.at, &topic, &message, None, own);
                    self.node.counters.gossip_undelivered.add(lost);
                    self.judged(now, judged);
                }
                Output::Connect { record } => self.lookups.connect(record),
                Output::Keep { peer } => {
                    if let Ok(peers) = self.node.peers() {
                        self.kept.insert(peer, peers.keep(peer));
                    }
                }
                Output::Release { peer } => drop(self.kept.remove(&peer)),
                Output::FindSubscribers { topic } => self.lookups.find(topic),
                Output::Announce { topic } => self.lookups.announce(topic),
                Output::Withdraw { topic } => self.lookups.withdraw(&topic),
                Output::Credit { peer } => {
                    if let Ok(peers) = self.node.peers() {
                        peers.score(peer, ScoreEvent::ValidGossip);
                    }
                }
                Output::Blame { peer, why } => {
                    tracing::debug!(%peer, %why, "peer blamed");
                    self.node.counters.gossip_blames.count();
                    if let Ok(peers) = self.node.peers() {
                        peers.score(peer, ScoreEvent::InvalidGossip);
                    }
                }
            }
        }
    }
}

fn refusal(error: PublishError) -> Failure {
    let code = match error {
        PublishError::TooLarge { .. } => ErrorCode::TooLarge,
        PublishError::TooManyTopics { .. } | PublishError::TooFast => ErrorCode::Busy,
    };
    Failure::new(code, error.to_string())
}
