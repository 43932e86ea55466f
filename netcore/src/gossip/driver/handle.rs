//! Gossip as the rest of the node sees it: methods that wait for the driver's answer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use polypeer_engine::gossip::{Frame, GossipStats, Message};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use tokio::sync::{Notify, mpsc, oneshot};

/// What may wait for the driver, which takes microseconds for each: a burst of everything that plugins do at once.
const MAX_COMMANDS: usize = 1024;
/// Frames of peers that may wait for the driver; more are not read. Each stream has one under way besides.
const MAX_FRAMES: usize = 256;

/// Where a session takes its messages.
pub trait Sink: Send + Sync {
    /// Takes a message, without waiting; `false` when there is no room: it is lost to this session and counted.
    fn deliver(&self, topic: &Name, message: &Message) -> bool;
}

type Told<T> = oneshot::Sender<Result<T, Failure>>;

/// What the driver is asked.
pub(super) enum Command {
    Subscribe(u64, Name, Validation, Arc<dyn Sink>, Told<()>),
    Unsubscribe(u64, Name, Told<()>),
    Publish(u64, Name, Bytes, Told<(Hash, u32)>),
    Judge(u64, Name, Hash, Verdict),
    Info(Name, Told<TopicInfo>),
    SessionEnded(u64),
    Stats(oneshot::Sender<GossipStats>),
}

/// Peers whose links came or went that the driver is told of one by one; beyond, it looks at all links.
const MAX_CHANGED: usize = 4096;

/// Whose links came or went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Theirs.
    Of(BTreeSet<NodeId>),
    /// Those of more than [`MAX_CHANGED`] peers.
    OfMany,
}

impl Default for Links {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

/// What the driver is to look at next.
pub(super) enum Turn {
    Links(Links),
    Command(Command),
    Frame(NodeId, Frame),
    /// Nobody has anything to say any more.
    Over,
}

/// Whose links came or went since the driver last looked. It looks at the links themselves: that there was a change is all
/// that is kept, once for each peer, so that nothing is lost when the driver is late.
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
        if let Links::Of(peers) = &mut *links {
            peers.insert(peer);
            if peers.len() > MAX_CHANGED {
                *links = Links::OfMany;
            }
        }
        drop(links);
        self.added.notify_one();
    }

    /// Waits until there are some, and takes them.
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

/// The driver's ends.
pub(super) struct Inbox {
    commands: mpsc::Receiver<Command>,
    frames: mpsc::Receiver<(NodeId, Frame)>,
    changed: Arc<Changed>,
}

impl Inbox {
    /// Waits for the next thing to look at. No queue is looked at before another one: whoever fills one of them without pause
    /// gets a share, and no more. Nothing is lost when it is dropped before it is done.
    pub(super) async fn next(&mut self) -> Turn {
        tokio::select! {
            links = self.changed.take() => Turn::Links(links),
            command = self.commands.recv() => command.map_or(Turn::Over, Turn::Command),
            Some((from, frame)) = self.frames.recv() => Turn::Frame(from, frame),
        }
    }
}

/// Gossip, as sessions and links use it. A session is a number of the caller's; it must end with
/// [`Self::session_ended`].
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
    /// The driver's ends; once.
    pub(super) fn inbox(&self) -> Option<Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Gives a session the messages of a topic from now on, also those that other sessions of this node publish. Asking
    /// again changes `validation` and the sink.
    ///
    /// A topic is subscribed to once for all sessions of the node. Where some of them judge (`Validation::Plugin`), a
    /// message is passed on when all of those have judged it, none rejected it, and at least one accepted it; one rejection
    /// is enough to drop it; who is silent for 10 s, or has no room for it, ignores it.
    ///
    /// The first session of a node to subscribe also gets what was published in the last two minutes, as far as peers still
    /// have it; that may include what an earlier session got.
    ///
    /// Fails with `busy` when the node takes part in too many topics.
    pub async fn subscribe(
        &self,
        session: u64,
        topic: Name,
        validation: Validation,
        sink: Arc<dyn Sink>,
    ) -> Result<(), Failure> {
        self.ask(|told| Command::Subscribe(session, topic, validation, sink, told)).await
    }

    /// Ends [`Self::subscribe`].
    pub async fn unsubscribe(&self, session: u64, topic: Name) -> Result<(), Failure> {
        self.ask(|told| Command::Unsubscribe(session, topic, told)).await
    }

    /// Publishes a message in the name of this node. It goes to the other sessions of this node too, which do not judge
    /// it, and not to `session`. Returns its id and the number of peers that it is sent to at once.
    ///
    /// Fails with `too large`, and with `busy` when the node takes part in too many topics, or when the session (125 messages a
    /// second, 1,000 at once) or the node (twice that; 4 MiB, 16 MiB at once) publishes faster than peers take it.
    pub async fn publish(&self, session: u64, topic: Name, payload: Bytes) -> Result<(Hash, u32), Failure> {
        self.ask(|told| Command::Publish(session, topic, payload, told)).await
    }

    /// A session's verdict on a message of a topic that it subscribed to with [`Validation::Plugin`]; without effect when
    /// it comes too late.
    pub async fn judge(&self, session: u64, topic: Name, message: Hash, verdict: Verdict) -> Result<(), Failure> {
        self.commands.send(Command::Judge(session, topic, message, verdict)).await.map_err(|_| over())
    }

    /// How a topic fares. Fails with `bad argument` when no session is subscribed to it.
    pub async fn info(&self, _session: u64, topic: Name) -> Result<TopicInfo, Failure> {
        self.ask(|told| Command::Info(topic, told)).await
    }

    /// Ends all subscriptions of a session.
    pub fn session_ended(&self, session: u64) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(Command::SessionEnded(session)) {
            let commands = self.commands.clone();
            tokio::spawn(async move {
                let _ = commands.send(command).await; // fails when gossip is over
            });
        }
    }

    /// What happened in all topics; nothing when the driver is over.
    pub async fn stats(&self) -> GossipStats {
        let (told, stats) = oneshot::channel();
        if self.commands.try_send(Command::Stats(told)).is_err() {
            return GossipStats::default();
        }
        stats.await.unwrap_or_default()
    }

    /// A link with a peer is ready.
    pub(crate) fn peer_up(&self, node: NodeId) {
        self.changed.add(node);
    }

    /// A link with a peer has ended.
    pub(crate) fn peer_down(&self, node: NodeId) {
        self.changed.add(node);
    }

    /// A peer sent a frame; waits while too many wait.
    pub(super) async fn frame(&self, from: NodeId, frame: Frame) -> Result<(), Failure> {
        self.frames.send((from, frame)).await.map_err(|_| over())
    }

    async fn ask<T>(&self, command: impl FnOnce(Told<T>) -> Command) -> Result<T, Failure> {
        let (told, answer) = oneshot::channel();
        self.commands.send(command(told)).await.map_err(|_| over())?;
        answer.await.unwrap_or_else(|_| Err(over()))
    }
}

fn over() -> Failure {
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
        // Were all chances even, one in 2^300 goes on for that long.
        for _ in 0..1000 {
            while handle.commands.try_send(Command::SessionEnded(1)).is_ok() {}
            match inbox.next().await {
                Turn::Links(changed) => {
                    assert_eq!(changed, Links::Of(BTreeSet::from([peer(2)])));
                    links += 1;
                }
                Turn::Frame(from, _) => {
                    assert_eq!(from, peer(1));
                    frames += 1;
                }
                Turn::Command(_) => {}
                Turn::Over => panic!("the handle is here"),
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
        let Turn::Links(Links::Of(peers)) = inbox.next().await else { panic!("links changed") };
        assert_eq!(peers.len(), MAX_CHANGED);
        for number in 0..=MAX_CHANGED as u16 {
            handle.peer_down(peer(number));
        }
        let Turn::Links(Links::OfMany) = inbox.next().await else { panic!("too many for their names") };
        handle.peer_down(peer(7));
        let Turn::Links(links) = inbox.next().await else { panic!("a link changed") };
        assert_eq!(links, Links::Of(BTreeSet::from([peer(7)])));
    }
}
