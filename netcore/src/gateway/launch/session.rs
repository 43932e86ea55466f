//! A control session as the rest of netcore sees it: the queue of events for the plugin, and the streams and calls that
//! wait for its answer. The task that reads and writes the connection is in `gateway::control`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_engine::gateway::calls::{Calls, Crowded};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Origin, Payload, Scope};
use polypeer_ipc_protocol::ids::{Protocol, Secret};
use polypeer_ipc_protocol::limits::{MAX_IDLE_CONNECTIONS, MAX_UNCLAIMED};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::ActiveUse;
use super::Launch;
use super::subscriptions::Subscriptions;
use crate::gateway::keep::Keeper;
use crate::gateway::opening::Opening;
use crate::gateway::outbox::{NoRoom, Outbox};

/// A plugin's answer to an announced stream: the connection that claims it, or the reason for a refusal.
pub(crate) type Claim = Result<Box<Opening>, Failure>;
/// A plugin's answer to a call: the reply, or the reason for a refusal.
pub(crate) type Answer = Result<Payload, Failure>;

/// One authenticated conversation of a plugin with netcore, from `Hello` to its end.
#[derive(Debug)]
pub struct Session {
    /// Unique on this node until netcore restarts.
    pub id: u64,
    pub launch: Arc<Launch>,
    /// Authenticates data connections.
    pub(crate) secret: Secret,
    pub(crate) outbox: Outbox,
    /// Set while the plugin watches peers.
    pub(in crate::gateway) peers_watch: Watch,
    /// Set while the plugin watches the network.
    pub(in crate::gateway) network_watch: Watch,
    pub(crate) subscriptions: Subscriptions,
    waiting: Mutex<Waiting>,
    end: watch::Sender<Option<Failure>>,
    closed: watch::Sender<bool>,
    asked: AtomicBool,
    /// Whether data connections are kept when their stream is over.
    keeps: AtomicBool,
}

/// The use of a plugin that watches peers or the network; empty while it does not.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Watch(Mutex<Option<ActiveUse>>);

impl Watch {
    /// Begins watching, or ends it with `None`. The previous use, if any, ends.
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
    /// Connections that wait for the next stream to a listener, the longest waiting first; at most
    /// [`MAX_IDLE_CONNECTIONS`].
    accepting: HashMap<(Scope, Protocol), VecDeque<Box<Opening>>>,
}

impl Waiting {
    fn accepting(&self) -> usize {
        self.accepting.values().map(VecDeque::len).sum()
    }
}

/// The reason why a stream or call could not be handed to a session.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The session has just ended; a newer one may follow.
    Ended,
    /// The queue of the session is full.
    Busy(Failure),
    /// The caller has used up its share of the queue; there is room for other callers.
    OverShare(Failure),
}

impl Session {
    /// A session that has just begun.
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
            closed: watch::Sender::new(false),
            asked: AtomicBool::new(false),
            keeps: AtomicBool::new(false),
        }
    }

    /// Keeps data connections that are opened from now on.
    pub(in crate::gateway) fn keep_connections(&self) {
        self.keeps.store(true, Ordering::Relaxed);
    }

    /// Whether data connections that are opened now are kept.
    pub(in crate::gateway) fn keeps_connections(&self) -> bool {
        self.keeps.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self, what: &str, count: usize) -> NotTaken {
        let plugin = &self.launch.plugin;
        NotTaken::Busy(Failure::new(ErrorCode::Busy, format!("plugin {plugin} has {count} {what} waiting already")))
    }

    /// Announces a stream to the plugin. `stream` must be a new number. The receiver yields the claim; it fails when
    /// the session ends.
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

    /// The refusal of a call whose caller has used up its share; `held` names that share.
    fn over_share(&self, held: &str) -> NotTaken {
        let plugin = &self.launch.plugin;
        let text = format!("plugin {plugin} has {held} of this caller waiting already; the rest is for other callers");
        NotTaken::OverShare(Failure::new(ErrorCode::Busy, text))
    }

    /// Hands a call to the plugin. `call` must be a new number. The receiver yields the answer; it fails when the
    /// session ends. One caller may have at most as much pending as there is room left, in calls and in unread bytes.
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

    /// Passes on that the plugin claims or refuses a stream. Returns the claim when no such stream waits.
    pub(crate) fn claim(&self, stream: u64, claim: Claim) -> Option<Claim> {
        match self.waiting().streams.remove(&stream) {
            Some(waiting) => waiting.send(claim).err(),
            None => Some(claim),
        }
    }

    /// Lets a connection wait for the next stream to a listener. Returns it, with the reason, when the session has
    /// ended or too many wait; those that the plugin has closed meanwhile do not count.
    pub(in crate::gateway) fn accept_next(
        &self,
        key: (Scope, Protocol),
        opening: Box<Opening>,
    ) -> Result<(), (Box<Opening>, Failure)> {
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err((opening, ErrorCode::Unauthorised.into()));
        }
        if waiting.accepting() >= MAX_IDLE_CONNECTIONS {
            for openings in waiting.accepting.values_mut() {
                openings.retain_mut(|opening| !opening.is_closed());
            }
            let count = waiting.accepting();
            if count >= MAX_IDLE_CONNECTIONS {
                let text = format!("plugin {} has {count} connections that wait for a stream", self.launch.plugin);
                return Err((opening, Failure::new(ErrorCode::Busy, text)));
            }
        }
        waiting.accepting.entry(key).or_default().push_back(opening);
        Ok(())
    }

    /// Takes the connection that has waited longest for a stream to a listener; it claims the stream.
    pub(crate) fn accepting(&self, key: &(Scope, Protocol)) -> Option<Box<Opening>> {
        let mut waiting = self.waiting();
        let openings = waiting.accepting.get_mut(key)?;
        loop {
            let mut opening = openings.pop_front()?;
            if !opening.is_closed() {
                return Some(opening);
            }
        }
    }

    /// Refuses the connections that wait for streams to a listener that is no more.
    pub(in crate::gateway) fn accept_no_more(&self, key: &(Scope, Protocol)) {
        let openings = self.waiting().accepting.remove(key);
        for opening in openings.into_iter().flatten() {
            opening.refuse_now(not_served(&key.1));
        }
    }

    /// Passes on the plugin's answer to a call. Ignored when no such call is pending.
    pub(crate) fn answer(&self, call: u64, answer: Answer) {
        if let Some(waiting) = self.waiting().calls.remove(call) {
            let _ = waiting.send(answer);
        }
    }

    /// Asks the session's task to end the session and tell the plugin why. Only the first reason counts.
    pub(crate) fn end(&self, why: Failure) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(why);
            }
            first
        });
    }

    /// Waits for [`Session::end`]. Returns the reason.
    pub(crate) async fn ending(&self) -> Failure {
        let mut end = self.end.subscribe();
        let why = end.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| ErrorCode::Internal.into())
    }

    /// Marks the session as closed: its plugin has been told why, or is gone.
    pub(in crate::gateway) fn closed(&self) {
        self.closed.send_replace(true);
    }

    /// Waits for [`Self::closed`].
    pub(in crate::gateway) async fn until_closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Asks the plugin whether it is alive, unless such a question waits for it already.
    pub(in crate::gateway) fn ask_for_life(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) && !self.outbox.offer(Event::Heartbeat) {
            self.asked.store(false, Ordering::Relaxed);
        }
    }

    /// Records that the plugin says it is alive. Returns whether it was asked.
    pub(in crate::gateway) fn alive(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    /// Marks the session as over. Waiting streams and calls fail; subscriptions and watches end.
    pub(crate) fn ended(&self) {
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.streams.clear();
        waiting.calls = Calls::default();
        let accepting = std::mem::take(&mut waiting.accepting);
        drop(waiting);
        drop(accepting);
        self.subscriptions.end();
        self.peers_watch.set(None);
        self.network_watch.set(None);
    }

    /// Whether [`Self::ended`] was called.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting().ended
    }

    /// Queues an event about a peer if the plugin watches peers. Returns `false` if the event was dropped.
    pub(crate) fn tell_peer(&self, event: Event) -> bool {
        !self.peers_watch.is_set() || self.outbox.offer_or_drop(event)
    }
}

impl Keeper for Session {
    fn idle(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_over() { None } else { Arc::clone(&self.launch.idle).try_acquire_owned().ok() }
    }

    fn when_closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}

#[derive(Debug)]
enum Kind {
    Stream,
    Call,
}

/// A stream or call that was announced to a plugin and is not answered yet. Dropping it withdraws the announcement.
#[derive(Debug)]
pub(crate) struct Announced {
    session: Arc<Session>,
    number: u64,
    kind: Kind,
    why: Failure,
}

impl Announced {
    /// Withdraws the announcement, with a reason for the plugin.
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

/// The failure for a claim or refusal of a stream that does not wait.
pub(in crate::gateway) fn no_such_stream(stream: u64) -> Failure {
    Failure::new(
        ErrorCode::NoSuchStream,
        format!("stream {stream} does not wait to be claimed: it is gone, claimed already, or was never announced"),
    )
}

/// The failure for a connection that waits for streams to a protocol that its session does not serve.
pub(in crate::gateway) fn not_served(protocol: &Protocol) -> Failure {
    Failure::new(ErrorCode::BadArgument, format!("this session does not listen on {protocol}"))
}
