//! Outgoing gossip streams: one to each peer that there are frames for, each with a bounded queue. Frames that do not
//! fit are dropped and counted; the engines recover from that as from any loss.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polypeer_engine::gossip::Frame;
use polypeer_engine::gossip::wire::write_frame;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::link::Links;
use crate::node::Node;

/// Bytes queued for one peer: a second of a fast one, and half a minute of a slow one.
const MAX_QUEUED: usize = 2 << 20;
/// Bytes queued for all peers; a message queued for several counts for each.
const MAX_QUEUED_IN_ALL: usize = 64 << 20;
/// Timeout for opening a stream on a standing link.
const OPEN: Duration = Duration::from_secs(10);
/// Wait before a failed stream is opened again.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
}

/// The queue of one peer, shared by the driver and the task that writes.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    added: Notify,
    /// Bytes queued for all peers.
    total: Arc<AtomicUsize>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let left = self.queue().bytes;
        self.total.fetch_sub(left, Ordering::Relaxed);
    }
}

impl Shared {
    fn new(total: &Arc<AtomicUsize>) -> Self {
        Self { queue: Mutex::default(), added: Notify::new(), total: Arc::clone(total) }
    }

    /// Queues a frame; `false` when there is no room.
    fn offer(&self, frame: Frame) -> bool {
        let size = frame.size();
        let mut queue = self.queue();
        if queue.bytes + size > MAX_QUEUED || self.total.load(Ordering::Relaxed) + size > MAX_QUEUED_IN_ALL {
            return false;
        }
        self.total.fetch_add(size, Ordering::Relaxed);
        queue.bytes += size;
        queue.frames.push_back(frame);
        drop(queue);
        self.added.notify_one();
        true
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(&self) -> Frame {
        loop {
            {
                let mut queue = self.queue();
                if let Some(frame) = queue.frames.pop_front() {
                    queue.bytes -= frame.size();
                    self.total.fetch_sub(frame.size(), Ordering::Relaxed);
                    return frame;
                }
            }
            self.added.notified().await;
        }
    }
}

#[derive(Debug)]
enum Stream {
    /// A task writes the queued frames.
    Open(Arc<Shared>, AbortHandle),
    /// The stream has ended and is not reopened before this time; `None`: not on this link.
    Closed(Option<Instant>),
}

/// All outgoing gossip streams.
#[derive(Debug)]
pub(super) struct Outgoing {
    node: Arc<Node>,
    links: Arc<Links>,
    protocol: Protocol,
    streams: BTreeMap<NodeId, Stream>,
    tasks: JoinSet<(NodeId, Failure)>,
    total: Arc<AtomicUsize>,
}

impl Outgoing {
    pub(super) fn new(node: Arc<Node>, links: Arc<Links>, protocol: Protocol) -> Self {
        Self { node, links, protocol, streams: BTreeMap::new(), tasks: JoinSet::new(), total: Arc::default() }
    }

    /// Queues a frame for a peer, or drops and counts it. Opens a stream if there is none.
    pub(super) fn send(&mut self, to: NodeId, frame: Frame) {
        let shared = match self.streams.get(&to) {
            Some(Stream::Open(shared, _)) => Some(Arc::clone(shared)),
            Some(Stream::Closed(until)) if until.is_none_or(|until| until > Instant::now()) => None,
            _ => Some(self.open(to)),
        };
        if !shared.is_some_and(|shared| shared.offer(frame)) {
            self.node.counters.gossip_frames_dropped.count();
        }
    }

    fn open(&mut self, to: NodeId) -> Arc<Shared> {
        let shared = Arc::new(Shared::new(&self.total));
        let (links, protocol, queue) = (Arc::clone(&self.links), self.protocol.clone(), Arc::clone(&shared));
        let task = self.tasks.spawn(async move { (to, write(&links, to, &protocol, &queue).await) });
        self.streams.insert(to, Stream::Open(Arc::clone(&shared), task));
        shared
    }

    /// Closes a peer's stream after its link has ended.
    pub(super) fn close(&mut self, peer: &NodeId) {
        if let Some(Stream::Open(_, task)) = self.streams.remove(peer) {
            task.abort();
        }
    }

    /// Waits until a stream has ended; pends forever while there is none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((peer, failure))) => {
                tracing::debug!(%peer, %failure, "gossip stream ended");
                // A newer stream may have taken its place.
                let over = matches!(self.streams.get(&peer), Some(Stream::Open(_, task)) if task.is_finished());
                if over {
                    let again = (!failure.is(ErrorCode::Unsupported)).then(|| Instant::now() + PAUSE);
                    self.streams.insert(peer, Stream::Closed(again));
                }
            }
            Some(Err(_)) => {} // aborted by `close`
            None => std::future::pending().await,
        }
    }
}

/// Writes queued frames until the stream ends. Returns why it ended.
async fn write(links: &Links, to: NodeId, protocol: &Protocol, shared: &Shared) -> Failure {
    if links.ready(&to).is_none() {
        return Failure::from(ErrorCode::ConnectionLost);
    }
    let mut stream = match links.open_frames(to, &[], protocol, Instant::now() + OPEN).await {
        Ok(stream) => stream,
        Err(failure) => return failure,
    };
    let mut bytes = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = shared.next() => frame,
            failure = stream.ended() => return failure,
        };
        bytes.clear();
        write_frame(&frame, &mut bytes);
        if let Err(failure) = stream.send(&bytes).await {
            return failure;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_engine::gossip::TopicId;

    fn frame() -> Frame {
        Frame::Leave { topic: TopicId([1; 16]) }
    }

    #[tokio::test]
    async fn what_waits_for_one_peer_and_for_all_is_bounded_and_given_back() {
        let total = Arc::default();
        let peers: Vec<Shared> = (0..40).map(|_| Shared::new(&total)).collect();
        let size = frame().size();
        for peer in &peers {
            let mut taken = 0;
            while peer.offer(frame()) {
                taken += size;
            }
            assert!(taken <= MAX_QUEUED);
        }
        let waiting = total.load(Ordering::Relaxed);
        assert!(waiting <= MAX_QUEUED_IN_ALL && waiting + size > MAX_QUEUED_IN_ALL, "{waiting}");
        assert_eq!(peers[0].next().await, frame());
        assert!(peers[0].offer(frame()) && !peers[0].offer(frame()));
        drop(peers);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
