//! Handle to the gossip driver: asynchronous methods for sessions and links, and the queues behind them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use polypeer_engine::gossip::{Frame, GossipStats, Message};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use tokio::sync::{Notify, mpsc, oneshot};

/// Commands queued for the driver, which takes microseconds for each: a burst of all plugins at once.
const MAX_COMMANDS: usize = 1024;
/// Frames of peers queued for the driver; streams are not read while the queue is full. Each stream holds one more
/// frame.
const MAX_FRAMES: usize = 256;

/// Receiver of a session's messages.
pub trait Sink: Send + Sync {
    /// Takes a message without waiting. Returns `false` when there is no room: the message is lost to this session and
    /// counted.
    fn deliver(&self, topic: &Name, message: &Message) -> bool;
}

type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// A request to the driver.
pub(super) enum Command {
    Subscribe(u64, Name, Validation, Arc<dyn Sink>, Reply<()>),
    Unsubscribe(u64, Name, Reply<()>),
    Publish(u64, Name, Bytes, Reply<(Hash, u32)>),
    Judge(u64, Name, Hash, Verdict),
    Info(Name, Reply<TopicInfo>),
    SessionEnded(u64),
    Stats(oneshot::Sender<GossipStats>),
}

/// Peers with changed links that the driver is told one by one; beyond, it checks all links.
const MAX_CHANGED: usize = 4096;

/// Peers whose links came up or went down.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Links {
    Peers(BTreeSet<NodeId>),
    /// More than [`MAX_CHANGED`] peers.
    Many,
}

impl Default for Links {
    fn default() -> Self {
        Self::Peers(BTreeSet::new())
    }
}

/// The driver's next input.
pub(super) enum Turn {
    Links(Links),
    Command(Command),
    Frame(NodeId, Frame),
    /// The handle was dropped.
    Closed,
}

/// Peers whose links changed since the driver last looked. The driver checks the links themselves: only the fact of a
/// change is kept, once for each peer, so that no change is lost when the driver is late.
#[derive(Debug, Default)]
struct Changed {
    links: Mutex<Links>,
    added: Notify,
}

impl Changed {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, peer: NodeId) {
        let mut links = self.links();
        if let Links::Peers(peers) = &mut *links {
            peers.insert(peer);
            if peers.len() > MAX_CHANGED {
                *links = Links::Many;
            }
        }
        drop(links);
        self.added.notify_one();
    }

    /// Waits for changed links and takes them.
    async fn take(&self) -> Links {
        loop {
            let links = std::mem::take(&mut *self.links());
            if links != Links::default() {
                return links;
            }
            self.added.notified().await;
        }
    }
}

/// The driver's ends of the queues.
pub(super) struct Inbox {
    commands: mpsc::Receiver<Command>,
    frames: mpsc::Receiver<(NodeId, Frame)>,
    changed: Arc<Changed>,
}

impl Inbox {
    /// Waits for the next input. The queues have equal priority: one that is always full gets its share and no more.
    /// Cancel safe: no input is lost.
    pub(super) async fn next(&mut self) -> Turn {
        tokio::select! {
            links = self.changed.take() => Turn::Links(links),
            command = self.commands.recv() => command.map_or(Turn::Closed, Turn::Command),
            Some((from, frame)) = self.frames.recv() => Turn::Frame(from, frame),
        }
    }
}

/// Handle to the gossip driver. The caller numbers its sessions, and must end each with [`Self::session_ended`].
pub struct GossipHandle {
    commands: mpsc::Sender<Command>,
    frames: mpsc::Sender<(NodeId, Frame)>,
    inbox: Mutex<Option<Inbox>>,
    changed: Arc<Changed>,
}

impl Default for GossipHandle {
    fn default() -> Self {
        let (commands, commands_inbox) = mpsc::channel(MAX_COMMANDS);
        let (frames, frames_inbox) = mpsc::channel(MAX_FRAMES);
        let changed = Arc::<Changed>::default();
        let inbox = Inbox { commands: commands_inbox, frames: frames_inbox, changed: Arc::clone(&changed) };
        Self { commands, frames, inbox: Mutex::new(Some(inbox)), changed }
    }
}

impl std::fmt::Debug for GossipHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GossipHandle").finish_non_exhaustive()
    }
}

impl GossipHandle {
    /// Takes the driver's ends of the queues; `None` after the first call.
    pub(super) fn inbox(&self) -> Option<Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Delivers a topic's messages to a session from now on, those that other sessions of this node publish included. A
    /// repeated call replaces `validation` and the sink.
    ///
    /// The node subscribes to a topic once for all its sessions. Where some sessions judge (`Validation::Plugin`), a
    /// message is passed on once all of those have judged it, none rejected it and at least one accepted it. One
    /// rejection drops it. A session that is silent for 10 s or has no room for the message counts as ignoring it.
    ///
    /// The node's first session to subscribe also gets the messages of the last two minutes that peers still hold; they
    /// may include some that an earlier session got.
    ///
    /// Fails with `busy` at the node's limit of topics.
    pub async fn subscribe(
        &self,
        session: u64,
        topic: Name,
        validation: Validation,
        sink: Arc<dyn Sink>,
    ) -> Result<(), Failure> {
        self.ask(|reply| Command::Subscribe(session, topic, validation, sink, reply)).await
    }

    pub async fn unsubscribe(&self, session: u64, topic: Name) -> Result<(), Failure> {
        self.ask(|reply| Command::Unsubscribe(session, topic, reply)).await
    }

    /// Publishes a message of this node. The node's other sessions get it too and do not judge it; `session` does not
    /// get it. Returns its id and the number of peers that it is sent to at once.
    ///
    /// Fails with `too large`. Fails with `busy` at the node's limit of topics, or beyond the rate limits: 125 messages
    /// per second for a session (burst: 1,000), twice that for the node, and 4 MiB per second for the node (burst: 16
    /// MiB).
    pub async fn publish(&self, session: u64, topic: Name, payload: Bytes) -> Result<(Hash, u32), Failure> {
        self.ask(|reply| Command::Publish(session, topic, payload, reply)).await
    }

    /// Gives a session's verdict on a message of a topic that it subscribed to with [`Validation::Plugin`]; a late
    /// verdict has no effect.
    pub async fn judge(&self, session: u64, topic: Name, message: Hash, verdict: Verdict) -> Result<(), Failure> {
        self.commands.send(Command::Judge(session, topic, message, verdict)).await.map_err(|_| stopping())
    }

    /// Counters of a topic. Fails with `bad argument` when no session is subscribed to it.
    pub async fn info(&self, _session: u64, topic: Name) -> Result<TopicInfo, Failure> {
        self.ask(|reply| Command::Info(topic, reply)).await
    }

    /// Ends all subscriptions of a session.
    pub fn session_ended(&self, session: u64) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(Command::SessionEnded(session)) {
            let commands = self.commands.clone();
            tokio::spawn(async move {
                let _ = commands.send(command).await; // fails when the driver has ended
            });
        }
    }

    /// Counters of all topics; zeros when the driver has ended.
    pub async fn stats(&self) -> GossipStats {
        let (reply, stats) = oneshot::channel();
        if self.commands.try_send(Command::Stats(reply)).is_err() {
            return GossipStats::default();
        }
        stats.await.unwrap_or_default()
    }

    /// Reports that a link to a peer is ready.
    pub(crate) fn peer_up(&self, node: NodeId) {
        self.changed.add(node);
    }

    /// Reports that a link to a peer has ended.
    pub(crate) fn peer_down(&self, node: NodeId) {
        self.changed.add(node);
    }

    /// Hands a peer's frame to the driver; waits while its queue is full.
    pub(super) async fn frame(&self, from: NodeId, frame: Frame) -> Result<(), Failure> {
        self.frames.send((from, frame)).await.map_err(|_| stopping())
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> Failure {
    Failure::new(ErrorCode::ShuttingDown, "the node is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_engine::gossip::TopicId;

    fn peer(number: u16) -> NodeId {
        NodeId(std::array::from_fn(|at| number.to_be_bytes()[at % 2]))
    }

    #[tokio::test]
    async fn frames_and_links_have_their_turn_while_commands_never_end() {
        let handle = GossipHandle::default();
        let mut inbox = handle.inbox().unwrap();
        handle.frame(peer(1), Frame::Leave { topic: TopicId([1; 16]) }).await.unwrap();
        handle.peer_up(peer(2));
        let (mut frames, mut links) = (0, 0);
        // With fair choices, not having both after this many rounds is practically impossible.
        for _ in 0..1000 {
            while handle.commands.try_send(Command::SessionEnded(1)).is_ok() {}
            match inbox.next().await {
                Turn::Links(changed) => {
                    assert_eq!(changed, Links::Peers(BTreeSet::from([peer(2)])));
                    links += 1;
                }
                Turn::Frame(from, _) => {
                    assert_eq!(from, peer(1));
                    frames += 1;
                }
                Turn::Command(_) => {}
                Turn::Closed => panic!("the handle is here"),
            }
        }
        assert_eq!((frames, links), (1, 1));
    }

    #[tokio::test]
    async fn no_coming_or_going_of_a_peer_is_lost_however_late_the_driver_is() {
        let handle = GossipHandle::default();
        let mut inbox = handle.inbox().unwrap();
        for number in 0..MAX_CHANGED as u16 {
            handle.peer_up(peer(number));
            handle.peer_down(peer(number));
        }
        let Turn::Links(Links::Peers(peers)) = inbox.next().await else { panic!("links changed") };
        assert_eq!(peers.len(), MAX_CHANGED);
        for number in 0..=MAX_CHANGED as u16 {
            handle.peer_down(peer(number));
        }
        let Turn::Links(Links::Many) = inbox.next().await else { panic!("too many for their names") };
        handle.peer_down(peer(7));
        let Turn::Links(links) = inbox.next().await else { panic!("a link changed") };
        assert_eq!(links, Links::Peers(BTreeSet::from([peer(7)])));
    }
}
