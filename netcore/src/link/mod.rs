//! Connections to peers, from their first frame to their last: the control stream, and the streams of plugins on them.
//! [`crate::peers`] makes a connection and hands it over; `PROTOCOL.md` says what travels on it.
//!
//! ```text
//! peers ──Established──► Links ──► Link ──► control (Hello, Serving, Credit, Ping)
//!                                   ├─────► incoming ──► crate::gateway::deliver ──► pump
//!                                   ├─────► datagram ──► crate::gateway::datagrams
//! crate::gateway::open, call ──► outgoing ┘                                           ▲
//!                                   └──────────────── PeerStream ─────────────────────┘
//! ```

pub(crate) mod budget;
mod control;
pub mod credit;
pub mod datagram;
#[cfg(test)]
mod examples;
mod frames;
pub(crate) mod halves;
mod incoming;
mod outgoing;
mod pump;
mod records;
mod stream;
pub mod wire;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, PeerInfo};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use quinn::{ConnectionError, VarInt};
use tokio::sync::{Notify, oneshot, watch};

pub(crate) use frames::{FrameReceiver, open_frames};
pub(crate) use outgoing::{call, open, ping};
pub(crate) use pump::pump;
pub(crate) use stream::PeerStream;

use crate::address::Zone;
use crate::counters::Counter;
use crate::limits::{
    FRAME_STREAMS, FREE_STREAMS, LINK_PAYLOADS, LINK_WINDOW, QUERY_PAYLOADS, STREAMS_FOR_NOTHING, STREAMS_REFUSED,
};
use crate::node::Node;
use crate::peers::Established;
use crate::peers::score::ScoreEvent;
use crate::rate::Bucket;
use crate::transport::{PathHandle, Route};
use budget::{Budgets, Payloads, Windows};
use credit::Credit;
use records::Records;

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The peer's `Hello` has not come.
    New,
    /// Streams may be opened.
    Ready,
    /// The connection is closed.
    Over,
}

/// One connection to one peer.
#[derive(Debug)]
pub struct Link {
    /// Who is at the other end.
    pub peer: NodeId,
    pub(crate) connection: quinn::Connection,
    path: PathHandle,
    since: Instant,
    stage: watch::Sender<Stage>,
    /// Why this side closed the connection.
    closed_for: OnceLock<Failure>,
    state: Mutex<State>,
    /// Signalled when the control stream has something to send.
    to_send: Notify,
    /// Streams the peer opened that have their header.
    in_use: AtomicUsize,
    /// Those among them that carry frames.
    frames: AtomicUsize,
    /// Streams the peer opened whose header or payload did not come in time.
    late: Counter,
    /// QUIC's windows beyond those every link has.
    windows: Windows,
    /// Payloads the peer has begun to send.
    payloads: Payloads,
    /// Streams the peer may open that come to nothing, and those of them it may be refused.
    for_nothing: Mutex<(Bucket, Bucket)>,
    /// Where the peer's packets came from in the handshake, which proved it; QUIC follows it to another address before that
    /// is proved.
    proved: IpAddr,
    /// Payload bytes in each direction.
    sent: Counter,
    received: Counter,
}

#[derive(Debug, Default)]
struct State {
    serving: Vec<Protocol>,
    /// What may be sent on each stream, by QUIC stream id.
    streams: HashMap<u64, Arc<Credit>>,
    /// Credit to be told to the peer: the newest of each stream.
    credits: HashMap<u64, u64>,
    /// Who waits for which ping's answer.
    pings: HashMap<u64, oneshot::Sender<()>>,
    /// The newest ping made, and the newest sent.
    last_ping: u64,
    pinged: u64,
    /// The ping to answer.
    pong: Option<u64>,
    /// Where the peer can be dialed, by its own signature.
    records: Records,
    /// Streams the peer has been allowed to have open.
    allowed_streams: usize,
}

impl Link {
    fn new(established: Established, budgets: &Arc<Budgets>) -> Self {
        let Established { node: peer, connection, path, proved, .. } = established;
        Self {
            peer,
            connection,
            path,
            since: Instant::now(),
            stage: watch::Sender::new(Stage::New),
            closed_for: OnceLock::new(),
            state: Mutex::default(),
            to_send: Notify::new(),
            in_use: AtomicUsize::new(0),
            frames: AtomicUsize::new(0),
            late: Counter::default(),
            windows: Windows::new(Arc::clone(budgets)),
            payloads: Payloads::new(Arc::clone(budgets), LINK_PAYLOADS),
            for_nothing: Mutex::new((Bucket::new(STREAMS_FOR_NOTHING), Bucket::new(STREAMS_REFUSED))),
            proved: proved.ip().to_canonical(),
            sent: Counter::default(),
            received: Counter::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until streams may be opened. Fails with the reason when the connection is closed instead.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        let mut stage = self.stage.subscribe();
        tokio::select! {
            biased;
            stage = stage.wait_for(|stage| *stage != Stage::New) => match stage.map(|stage| *stage) {
                Ok(Stage::Ready) => Ok(()),
                _ => Err(self.why_closed()),
            },
            _ = self.connection.closed() => Err(self.why_closed()),
        }
    }

    /// Why the connection is closed, in words.
    pub(crate) fn why_closed(&self) -> Failure {
        self.closed_for.get().cloned().unwrap_or_else(|| why_closed(&self.connection))
    }

    /// The peer broke the protocol: it is counted and cut off.
    pub(crate) fn misbehaved(&self, node: &Node, reason: &str) {
        if self.connection.close_reason().is_some() {
            return;
        }
        node.counters.peers_misbehaved.count();
        tracing::warn!(peer = %self.peer, reason, "the peer broke the protocol; closing the connection");
        if let Ok(peers) = node.peers() {
            peers.misbehaved(self.peer, reason);
        }
        self.close(ErrorCode::PeerMisbehaved, reason);
    }

    /// The peer did not say Hello in time: the connection is closed as for a breach, but one such does not ban it.
    fn silent(&self, node: &Node) {
        if self.connection.close_reason().is_some() {
            return;
        }
        node.counters.peers_misbehaved.count();
        if let Ok(peers) = node.peers() {
            peers.score(self.peer, ScoreEvent::Timeout);
        }
        self.close(ErrorCode::PeerMisbehaved, "no Hello in time");
    }

    /// Closes the connection with a code.
    pub(crate) fn close(&self, code: ErrorCode, reason: &str) {
        let _ = self.closed_for.set(Failure::new(code, reason));
        self.connection.close(VarInt::from_u32(code.number()), reason.as_bytes());
    }

    /// What plugins see of the peer.
    pub(crate) fn info(&self) -> PeerInfo {
        PeerInfo {
            node: self.peer,
            path: self.path.route().kind(),
            rtt_us: self.connection.rtt().as_micros() as u64,
            connected_ms: self.since.elapsed().as_millis() as u64,
            protocols: self.state().serving.clone(),
        }
    }

    /// Enters a stream, so that credit for it is known.
    fn register(&self, stream: u64) -> Arc<Credit> {
        Arc::clone(self.state().streams.entry(stream).or_default())
    }

    fn unregister(&self, stream: u64) {
        let mut state = self.state();
        state.streams.remove(&stream);
        state.credits.remove(&stream);
    }

    /// Tells the peer that it may send up to `limit` bytes of a stream.
    fn grant(&self, stream: u64, limit: u64) {
        self.state().credits.insert(stream, limit);
        self.to_send.notify_one();
    }

    /// One more stream of the peer's is in use, until the result is dropped: it may open as many more as before.
    fn stream_in_use(self: &Arc<Self>) -> InUse {
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.allow_streams(in_use + FREE_STREAMS);
        InUse(Arc::clone(self))
    }

    /// One more stream carries frames, until [`Self::leave_frames`]; `false` when there are too many.
    fn enter_frames(&self) -> bool {
        let entered = self
            .frames
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < FRAME_STREAMS).then_some(count + 1));
        entered.is_ok()
    }

    fn leave_frames(&self) {
        self.frames.fetch_sub(1, Ordering::AcqRel);
    }

    /// Where the peer's packets come from; unspecified while they come through others.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address().map_or(Ipv6Addr::UNSPECIFIED.into(), |address| address.ip())
    }

    /// The same with the port; none while they come through others.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.path.route() {
            Route::Direct(address) => Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
            Route::Tunnel { .. } => None,
        }
    }

    /// The peer's address if its IP is the one that it proved to be at.
    pub(crate) fn proved_address(&self) -> Option<SocketAddr> {
        self.address().filter(|now| now.ip() == self.proved)
    }

    /// For judging what the peer may be told: where its packets come from, or nowhere in particular, which is told public
    /// addresses only, while they come from another zone than it proved to be in.
    pub(crate) fn judged_ip(&self) -> IpAddr {
        judged(self.proved, self.ip())
    }

    /// This node's end of the connection, where the system tells it: as the peer sees this node, unless something between
    /// them rewrites addresses.
    fn own_ip(&self) -> Option<IpAddr> {
        self.connection.local_ip().map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified())
    }

    /// The peer opened a stream: whether to look at it.
    fn stream_came(&self) -> Came {
        let (for_nothing, refused) = &mut *self.for_nothing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if for_nothing.take(now) {
            Came::Looked
        } else if refused.take(now) {
            Came::OverRate
        } else {
            Came::Flood
        }
    }

    /// A stream of the peer's came to something: it does not count.
    fn stream_was_useful(&self) {
        self.for_nothing.lock().unwrap_or_else(PoisonError::into_inner).0.give_back();
    }

    fn allow_streams(&self, count: usize) {
        let mut state = self.state();
        if state.allowed_streams < count {
            state.allowed_streams = count;
            self.connection.set_max_concurrent_bi_streams(VarInt::from_u32(count as u32));
        }
    }

    /// The peer has said Hello: it may send as much as every link may.
    fn open_window(&self) {
        self.set_receive_window(LINK_WINDOW);
    }

    /// A stream between plugins may receive `more` bytes that are not read yet. `false`: the node has no room for that.
    fn widen(&self, more: u64) -> bool {
        self.windows.grow(more, |window| self.set_receive_window(window))
    }

    /// Only ever called with more than before: QUIC adds the difference to what the peer may send, each time it grows.
    fn set_receive_window(&self, bytes: u64) {
        self.connection.set_receive_window(VarInt::from_u64(bytes).unwrap_or(VarInt::MAX));
    }

    /// A stream between plugins sends much, or does no more.
    fn set_send_window(&self, window: Option<u64>) {
        if let Some(window) = window {
            self.connection.set_send_window(window);
        }
    }

    /// One more stream had no header or payload in time; how many so far.
    fn header_late(&self) -> u64 {
        self.late.count();
        self.late.value()
    }

    /// Measures a round trip between the two netcores.
    pub(crate) async fn ping(&self) -> Result<Duration, Failure> {
        self.ready().await?;
        let started = Instant::now();
        let (answered, answer) = oneshot::channel();
        {
            let mut state = self.state();
            state.last_ping += 1;
            let nonce = state.last_ping;
            state.pings.retain(|_, waiting| !waiting.is_closed());
            state.pings.insert(nonce, answered);
        }
        self.to_send.notify_one();
        tokio::select! {
            Ok(()) = answer => Ok(started.elapsed()),
            _ = self.connection.closed() => Err(self.why_closed()),
        }
    }
}

/// See [`Link::judged_ip`].
fn judged(proved: IpAddr, now: IpAddr) -> IpAddr {
    if Zone::of(proved) == Zone::of(now) { now } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// What is made of a stream that a peer opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It is looked at.
    Looked,
    /// It is refused.
    OverRate,
    /// The peer goes.
    Flood,
}

#[derive(Debug)]
struct InUse(Arc<Link>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a connection is closed, as far as QUIC knows.
pub(crate) fn why_closed(connection: &quinn::Connection) -> Failure {
    let text = match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            let reason: String = String::from_utf8_lossy(&close.reason).chars().filter(|c| !c.is_control()).collect();
            let text = format!("the peer closed the connection: {reason}");
            match ErrorCode::from_number(code_of(close.error_code)) {
                Some(code) if CLOSE_CODES.contains(&code) => return Failure::new(code, text),
                _ => text,
            }
        }
        Some(ConnectionError::TimedOut) => "the peer fell silent".to_owned(),
        Some(ConnectionError::Reset) => "the peer was restarted".to_owned(),
        Some(ConnectionError::LocallyClosed) => "this node closed the connection".to_owned(),
        Some(other) => other.to_string(),
        None => "the connection is closing".to_owned(),
    };
    Failure::new(ErrorCode::ConnectionLost, text)
}

/// Codes of a closed connection that say more to a plugin than that it is gone.
const CLOSE_CODES: &[ErrorCode] =
    &[ErrorCode::Blocked, ErrorCode::Refused, ErrorCode::PeerMisbehaved, ErrorCode::ShuttingDown];

/// A QUIC error code as one of ours: those have 24 bits.
fn code_of(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).ok().filter(|code| *code < 1 << 24).unwrap_or(ErrorCode::Internal.number())
}

/// Reasons of ended connections kept for those who were about to use one.
const ENDED: usize = 64;

/// All connections, by peer.
#[derive(Debug, Default)]
pub struct Links {
    all: Mutex<All>,
    budgets: Arc<Budgets>,
}

#[derive(Debug, Default)]
struct All {
    standing: HashMap<NodeId, Arc<Link>>,
    /// Peers that were told of as up and not as down since; each of them has a standing link.
    told: HashSet<NodeId>,
    /// Why the latest ones ended, by quinn's number for the connection.
    ended: VecDeque<(usize, Failure)>,
}

impl Links {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the payloads of a query connection.
    pub(crate) fn payloads(&self) -> Payloads {
        Payloads::new(Arc::clone(&self.budgets), QUERY_PAYLOADS)
    }

    /// Takes a connection over, on the runtime this is called on. Called by `peers` before anybody can use it.
    pub(crate) fn establish(node: &Arc<Node>, established: Established) {
        let link = Arc::new(Link::new(established, &node.links.budgets));
        link.allow_streams(FREE_STREAMS);
        node.links.all().standing.insert(link.peer, Arc::clone(&link));
        tokio::spawn(run(Arc::clone(node), link));
    }

    /// The link of a connection. Fails with the reason when it has ended.
    pub(crate) fn of(&self, peer: &NodeId, connection: &quinn::Connection) -> Result<Arc<Link>, Failure> {
        let all = self.all();
        let number = connection.stable_id();
        match all.standing.get(peer).filter(|link| link.connection.stable_id() == number) {
            Some(link) => Ok(Arc::clone(link)),
            None => {
                let ended = all.ended.iter().find(|(ended, _)| *ended == number);
                Err(ended.map_or_else(|| why_closed(connection), |(_, failure)| failure.clone()))
            }
        }
    }

    /// The link with `peer`, if one stands.
    pub(crate) fn standing(&self, peer: &NodeId) -> Option<Arc<Link>> {
        self.all().standing.get(peer).cloned()
    }

    /// The link with `peer`, if one stands that is past its first frames.
    pub(crate) fn ready(&self, peer: &NodeId) -> Option<Arc<Link>> {
        self.standing(peer).filter(|link| link.stage() == Stage::Ready)
    }

    /// Connected peers as a plugin sees them, at most `limit`.
    pub(crate) fn infos(&self, allowed: impl Fn(&NodeId) -> bool, limit: usize) -> Vec<PeerInfo> {
        let links: Vec<_> = {
            let all = self.all();
            all.standing.values().filter(|link| link.stage() == Stage::Ready && allowed(&link.peer)).cloned().collect()
        };
        let mut infos: Vec<_> = links.iter().take(limit).map(|link| link.info()).collect();
        infos.sort_by_key(|info| info.node);
        infos
    }

    /// How packets travel to each connected peer.
    pub(crate) fn routes(&self) -> BTreeMap<NodeId, Route> {
        let ready = |link: &&Arc<Link>| link.stage() == Stage::Ready;
        self.all().standing.values().filter(ready).map(|link| (link.peer, link.path.route())).collect()
    }

    /// What a peer says it serves, while it is connected.
    pub(crate) fn protocols(&self, peer: &NodeId) -> Vec<Protocol> {
        self.all().standing.get(peer).map(|link| link.state().serving.clone()).unwrap_or_default()
    }

    /// The peer said Hello and is told of as up.
    fn told_up(&self, peer: NodeId) {
        self.all().told.insert(peer);
    }

    /// A link has ended. Whether the peer is to be told of as down: it was told of as up, on this link or on one that this
    /// one took the place of, and no other link stands.
    fn remove(&self, link: &Arc<Link>) -> bool {
        let mut all = self.all();
        if all.ended.len() == ENDED {
            all.ended.pop_front();
        }
        all.ended.push_back((link.connection.stable_id(), link.why_closed()));
        let newest = all.standing.get(&link.peer).is_some_and(|newest| Arc::ptr_eq(newest, link));
        if newest {
            all.standing.remove(&link.peer);
        }
        newest && all.told.remove(&link.peer)
    }
}

/// Serves a connection to its end.
async fn run(node: Arc<Node>, link: Arc<Link>) {
    let control = tokio::spawn(control::run(Arc::clone(&node), Arc::clone(&link)));
    let datagrams = tokio::spawn(datagram::run(Arc::clone(&node), Arc::clone(&link)));
    let mut streams = incoming::run(&node, &link).await;
    let _ = datagrams.await; // it ends with the connection, as the streams do
    control.abort();
    let _ = control.await; // it may be about to tell that the peer is up, which must come before that it is down
    link.stage.send_replace(Stage::Over);
    if node.links.remove(&link) {
        node.services().reach.peer_down(link.peer);
        node.services().gossip.peer_down(link.peer);
        tell_down(&node, &link);
    }
    while streams.join_next().await.is_some() {}
}

fn tell_up(node: &Node, link: &Link) {
    node.tell(AdminEvent::PeerUp { node: link.peer });
    for session in node.sessions() {
        if session.launch.grants().peers.allows(&link.peer) && !session.tell_peer(Event::PeerUp(link.info())) {
            node.counters.events_dropped.count();
        }
    }
}

fn tell_down(node: &Node, link: &Link) {
    node.tell(AdminEvent::PeerDown { node: link.peer });
    let failure = link.why_closed();
    for session in node.sessions() {
        let event = Event::PeerDown { node: link.peer, failure: failure.clone() };
        if session.launch.grants().peers.allows(&link.peer) && !session.tell_peer(event) {
            node.counters.events_dropped.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_taken_up_later_opens_no_zone() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (home, lan) = (ip("203.0.113.5"), ip("192.168.1.1"));
        assert_eq!(judged(home, ip("198.51.100.9")), ip("198.51.100.9"));
        for spoofed in [lan, ip("127.0.0.1")] {
            assert_eq!(Zone::of(judged(home, spoofed)), Zone::Public);
        }
        assert_eq!(judged(lan, lan), lan);
    }
}
