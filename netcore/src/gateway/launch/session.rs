//! A control session, as the rest of netcore sees it: where events for the plugin go, and what waits for its answer.
//! The task that reads and writes is in `gateway::control`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_engine::gateway::calls::{Calls, Crowded};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Origin, Payload};
use polypeer_ipc_protocol::ids::{Protocol, Secret};
use polypeer_ipc_protocol::limits::MAX_UNCLAIMED;
use tokio::sync::{oneshot, watch};

use super::ActiveUse;
use super::Launch;
use super::subscriptions::Subscriptions;
use crate::gateway::opening::Opening;
use crate::gateway::outbox::{NoRoom, Outbox};

/// What a plugin does with an announced stream: the connection it claims it with, or why not.
pub(crate) type Claim = Result<Box<Opening>, Failure>;
/// What a plugin does with a call.
pub(crate) type Answer = Result<Payload, Failure>;

/// A control session.
#[derive(Debug)]
pub struct Session {
    /// Its number on this node.
    pub id: u64,
    /// Whose.
    pub launch: Arc<Launch>,
    /// Opens data connections.
    pub(crate) secret: Secret,
    /// Events for the plugin.
    pub(crate) outbox: Outbox,
    /// Set while the plugin is told of peers.
    pub(in crate::gateway) peers_watch: Watch,
    /// Set while the plugin is told of the network.
    pub(in crate::gateway) network_watch: Watch,
    /// What it is subscribed to.
    pub(crate) subscriptions: Subscriptions,
    waiting: Mutex<Waiting>,
    end: watch::Sender<Option<Failure>>,
}

/// What a plugin watches, while it does.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Watch(Mutex<Option<ActiveUse>>);

impl Watch {
    /// Begins, or ends. What was watched before ends.
    pub(in crate::gateway) fn set(&self, active: Option<ActiveUse>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), active);
        drop(before);
    }

    pub(in crate::gateway) fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    ended: bool,
    streams: HashMap<u64, oneshot::Sender<Claim>>,
    calls: Calls<oneshot::Sender<Answer>>,
}

/// Why something could not be handed to a session.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The session has just ended; another one may come.
    Ended,
    /// It has too much waiting already.
    Busy(Failure),
    /// The caller has its share of what waits already; there is room for others.
    OverShare(Failure),
}

impl Session {
    /// A session that stands.
    pub(crate) fn new(id: u64, launch: Arc<Launch>, secret: Secret) -> Self {
        Self {
            id,
            launch,
            secret,
            outbox: Outbox::default(),
            peers_watch: Watch::default(),
            network_watch: Watch::default(),
            subscriptions: Subscriptions::default(),
            waiting: Mutex::default(),
            end: watch::Sender::new(None),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self, what: &str, count: usize) -> NotTaken {
        let plugin = &self.launch.plugin;
        NotTaken::Busy(Failure::new(ErrorCode::Busy, format!("plugin {plugin} has {count} {what} waiting already")))
    }

    /// Announces a stream under a number not used before. The claim comes by the receiver, which fails when the
    /// session ends.
    pub(crate) fn announce(
        self: &Arc<Self>,
        stream: u64,
        origin: Origin,
        protocol: Protocol,
    ) -> Result<(Announced, oneshot::Receiver<Claim>), NotTaken> {
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err(NotTaken::Ended);
        }
        let count = waiting.streams.len();
        if count >= MAX_UNCLAIMED || !self.outbox.offer(Event::Stream { stream, origin, protocol }) {
            return Err(self.busy("streams", count));
        }
        let (sender, receiver) = oneshot::channel();
        waiting.streams.insert(stream, sender);
        let why = Failure::from(ErrorCode::Cancelled);
        Ok((Announced { session: Arc::clone(self), number: stream, kind: Kind::Stream, why }, receiver))
    }

    /// The caller has `held` waiting, and gets no more.
    fn over_share(&self, held: &str) -> NotTaken {
        let plugin = &self.launch.plugin;
        let text = format!("plugin {plugin} has {held} of this caller waiting already; the rest is for other callers");
        NotTaken::OverShare(Failure::new(ErrorCode::Busy, text))
    }

    /// Hands over a call under a number not used before. The answer comes by the receiver, which fails when the session
    /// ends. One caller has at most as much waiting as there is room left, of calls and of unread bytes.
    pub(crate) fn call(
        self: &Arc<Self>,
        call: u64,
        origin: Origin,
        protocol: Protocol,
        payload: Payload,
    ) -> Result<(Announced, oneshot::Receiver<Answer>), NotTaken> {
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err(NotTaken::Ended);
        }
        let count = waiting.calls.len();
        waiting.calls.check(&origin).map_err(|crowded| match crowded {
            Crowded::Full => self.busy("calls", count),
            Crowded::Share(held) => self.over_share(&format!("{held} calls")),
        })?;
        self.outbox.offer_call(call, origin.clone(), protocol, payload).map_err(|no_room| match no_room {
            NoRoom::Full => self.busy("calls", count),
            NoRoom::Share(bytes) => self.over_share(&format!("{bytes} bytes of unread calls")),
        })?;
        let (sender, receiver) = oneshot::channel();
        waiting.calls.insert(call, origin, sender);
        let why = Failure::from(ErrorCode::Cancelled);
        Ok((Announced { session: Arc::clone(self), number: call, kind: Kind::Call, why }, receiver))
    }

    /// The plugin claims a stream or turns it down. Gives the claim back when no such stream waits.
    pub(crate) fn claim(&self, stream: u64, claim: Claim) -> Option<Claim> {
        match self.waiting().streams.remove(&stream) {
            Some(waiting) => waiting.send(claim).err(),
            None => Some(claim),
        }
    }

    /// The plugin answers a call; ignored when no such call waits.
    pub(crate) fn answer(&self, call: u64, answer: Answer) {
        if let Some(waiting) = self.waiting().calls.remove(call) {
            let _ = waiting.send(answer);
        }
    }

    /// Ends the session: the plugin is told why.
    pub(crate) fn end(&self, why: Failure) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(why);
            }
            first
        });
    }

    /// Waits for [`Session::end`].
    pub(crate) async fn ending(&self) -> Failure {
        let mut end = self.end.subscribe();
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| ErrorCode::Internal.into())
    }

    /// Its task is done: whoever waits for its answers learns that it is gone.
    pub(crate) fn ended(&self) {
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.streams.clear();
        waiting.calls = Calls::default();
        drop(waiting);
        self.subscriptions.end();
        self.peers_watch.set(None);
        self.network_watch.set(None);
    }

    /// Whether [`Self::ended`] was said.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting().ended
    }

    /// Tells of a peer, if the plugin asked to hear of them.
    pub(crate) fn tell_peer(&self, event: Event) -> bool {
        !self.peers_watch.is_set() || self.outbox.offer_or_drop(event)
    }
}

#[derive(Debug)]
enum Kind {
    Stream,
    Call,
}

/// A stream or call that a plugin knows of and has not dealt with; takes it back when dropped.
#[derive(Debug)]
pub(crate) struct Announced {
    session: Arc<Session>,
    number: u64,
    kind: Kind,
    why: Failure,
}

impl Announced {
    /// Takes it back for a reason.
    pub(crate) fn withdraw(mut self, why: Failure) {
        self.why = why;
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let number = self.number;
        let mut waiting = self.session.waiting();
        match self.kind {
            Kind::Stream if waiting.streams.remove(&number).is_some() => {
                let failure = std::mem::replace(&mut self.why, ErrorCode::Cancelled.into());
                self.session.outbox.withdraw(Event::StreamGone { stream: number, failure });
            }
            Kind::Call if waiting.calls.remove(number).is_some() => {
                self.session.outbox.withdraw(Event::CallGone { call: number });
            }
            Kind::Stream | Kind::Call => {}
        }
    }
}

/// Why a claim or a refusal comes to nothing.
pub(in crate::gateway) fn no_such_stream(stream: u64) -> Failure {
    Failure::new(
        ErrorCode::NoSuchStream,
        format!("stream {stream} does not wait to be claimed: it is gone, claimed already, or was never announced"),
    )
}
