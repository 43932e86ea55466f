//! Gossip as the rest of the node sees it: methods that wait for the driver's answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{TopicInfo, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use tokio::sync::{mpsc, oneshot};

use crate::counters::Counter;
use crate::gossip::{Frame, GossipStats, Message};

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
    Up(NodeId),
    Down(NodeId),
    Stats(oneshot::Sender<GossipStats>),
}

/// The driver's ends.
pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) frames: mpsc::Receiver<(NodeId, Frame)>,
}

/// Gossip, as sessions and links use it. A session is a number of the caller's; it must end with
/// [`Self::session_ended`].
pub struct GossipHandle {
    commands: mpsc::Sender<Command>,
    frames: mpsc::Sender<(NodeId, Frame)>,
    inbox: Mutex<Option<Inbox>>,
    dropped: Counter,
}

impl Default for GossipHandle {
    fn default() -> Self {
        let (commands, commands_inbox) = mpsc::channel(MAX_COMMANDS);
        let (frames, frames_inbox) = mpsc::channel(MAX_FRAMES);
        let inbox = Inbox { commands: commands_inbox, frames: frames_inbox };
        Self { commands, frames, inbox: Mutex::new(Some(inbox)), dropped: Counter::default() }
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
    /// Fails with `too large`, and with `busy` when the node takes part in too many topics.
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

    /// Comings and goings of peers that the driver was not told of, as it did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// A link with a peer is ready.
    pub(crate) fn peer_up(&self, node: NodeId) {
        self.tell(Command::Up(node));
    }

    /// A link with a peer has ended.
    pub(crate) fn peer_down(&self, node: NodeId) {
        self.tell(Command::Down(node));
    }

    /// A peer sent a frame; waits while too many wait.
    pub(super) async fn frame(&self, from: NodeId, frame: Frame) -> Result<(), Failure> {
        self.frames.send((from, frame)).await.map_err(|_| over())
    }

    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.dropped.count();
        }
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
