//! Accounts of what each plugin uses of the node, over all its launches: bytes, streams, the sum of its windows. The
//! gateway and the links hold them; the admin request `Traffic` reads them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use polypeer_engine::rate::{Bucket, Rate};
use polypeer_ipc_protocol::admin::PluginTraffic;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{NodeId, PluginId};

use crate::counters::Counter;
use crate::limits::{SERVED_PER_PEER, STREAMS_PER_PEER, STREAMS_PER_PLUGIN, WINDOW_POOL};

/// One plugin's use of the node since netcore started.
#[derive(Debug)]
pub struct Account {
    pub plugin: PluginId,
    /// Payload bytes sent to peers.
    pub sent: Counter,
    /// Payload bytes received from peers.
    pub received: Counter,
    /// Requests refused for lack of a grant.
    pub refused: Counter,
    /// Rate limit of sent datagrams, to all peers together. QUIC sends datagrams before the bytes of all streams.
    datagrams: Mutex<Bucket>,
    usage: Mutex<Usage>,
}

/// Rate limit of the datagrams that one plugin sends. It does not exceed what a peer accepts from another
/// ([`crate::link::datagram::FROM_A_PEER`]), so that excess is refused here and not dropped there.
pub const DATAGRAMS_SENT: Rate = Rate { burst: 4096, per_second: 8192 };

#[derive(Debug, Default)]
struct Usage {
    streams: usize,
    by_peer: HashMap<WithPeer, usize>,
    /// Booked bytes of all peers, and of each that has any.
    windows: u64,
    windows_by_peer: HashMap<NodeId, u64>,
    windows_peak: u64,
}

impl Usage {
    fn book(&mut self, peer: NodeId, bytes: u64) {
        self.windows += bytes;
        self.windows_peak = self.windows_peak.max(self.windows);
        *self.windows_by_peer.entry(peer).or_default() += bytes;
    }
}

/// The peer of a stream or call, and which side opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WithPeer {
    /// Opened by the plugin.
    Opened(NodeId),
    /// Opened by the peer.
    Served(NodeId),
}

impl WithPeer {
    const fn limit(self) -> usize {
        match self {
            Self::Opened(_) => STREAMS_PER_PEER,
            Self::Served(_) => SERVED_PER_PEER,
        }
    }
}

impl Account {
    /// An empty account.
    pub fn new(plugin: PluginId) -> Self {
        Self {
            plugin,
            sent: Counter::default(),
            received: Counter::default(),
            refused: Counter::default(),
            datagrams: Mutex::new(Bucket::new(DATAGRAMS_SENT)),
            usage: Mutex::default(),
        }
    }

    fn usage(&self) -> std::sync::MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a token for one datagram. Returns whether there was one.
    pub(crate) fn datagram(&self, now: Instant) -> bool {
        self.datagrams.lock().unwrap_or_else(PoisonError::into_inner).take(1, now)
    }

    /// Takes the slot of one stream or call, with a peer or (`None`) inside the node. Fails with `too many streams`.
    pub fn slot(self: &Arc<Self>, peer: Option<WithPeer>) -> Result<Slot, Failure> {
        let mut usage = self.usage();
        if usage.streams >= STREAMS_PER_PLUGIN {
            return Err(self.too_many("in all", usage.streams, STREAMS_PER_PLUGIN));
        }
        if let Some(peer) = peer {
            let count = usage.by_peer.entry(peer).or_default();
            if *count >= peer.limit() {
                return Err(self.too_many("with this peer", *count, peer.limit()));
            }
            *count += 1;
        }
        usage.streams += 1;
        Ok(Slot { account: Arc::clone(self), peer })
    }

    fn too_many(&self, what: &str, used: usize, limit: usize) -> Failure {
        let plugin = &self.plugin;
        Failure::new(
            ErrorCode::TooManyStreams,
            format!(
                "plugin {plugin} has {used} streams open {what}, the limit is {limit}: close some, or read those it \
                 has; see: `polypeer plugin info {plugin}`"
            ),
        )
    }

    /// Books the initial window of a stream with `peer`, in bytes, even beyond the pool: the number of streams is
    /// limited.
    pub(crate) fn window_opened(&self, peer: NodeId, bytes: u64) {
        self.usage().book(peer, bytes);
    }

    /// Books `bytes` more for the windows of `peer` if they fit into the pool, and if the peer then has no more of it
    /// than is free: alone it gets half. Returns whether they did.
    pub(crate) fn window_grown(&self, peer: NodeId, bytes: u64) -> bool {
        let mut usage = self.usage();
        let held = usage.windows_by_peer.get(&peer).copied().unwrap_or_default();
        let fits = usage.windows + bytes <= WINDOW_POOL && held + bytes <= WINDOW_POOL - usage.windows;
        if fits {
            usage.book(peer, bytes);
        }
        fits
    }

    /// Gives back `bytes` of the windows of `peer`.
    pub(crate) fn window_closed(&self, peer: NodeId, bytes: u64) {
        let mut usage = self.usage();
        usage.windows -= bytes;
        if let Some(held) = usage.windows_by_peer.get_mut(&peer) {
            *held -= bytes;
            if *held == 0 {
                usage.windows_by_peer.remove(&peer);
            }
        }
    }

    /// The sum of the windows in which peers may send to this plugin, bytes: now, and its peak since the start.
    pub fn windows(&self) -> (u64, u64) {
        let usage = self.usage();
        (usage.windows, usage.windows_peak)
    }

    /// The account as the supervisor reads it.
    pub fn traffic(&self) -> PluginTraffic {
        PluginTraffic {
            plugin: self.plugin.clone(),
            sent_bytes: self.sent.value(),
            received_bytes: self.received.value(),
            streams: self.usage().streams as u64,
            refused: self.refused.value(),
        }
    }
}

/// The slot of one stream or call; released when dropped.
#[derive(Debug)]
pub struct Slot {
    account: Arc<Account>,
    peer: Option<WithPeer>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut usage = self.account.usage();
        usage.streams -= 1;
        let Some(peer) = self.peer else { return };
        if let Some(count) = usage.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                usage.by_peer.remove(&peer);
            }
        }
    }
}

/// The accounts of all plugins seen since the start. They outlive launches, so that counts do not restart.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<HashMap<PluginId, Arc<Account>>>);

impl Accounts {
    /// The account of `plugin`, created on first use. Only the supervisor names plugins, so there are few.
    pub fn of(&self, plugin: &PluginId) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(plugin.clone()).or_insert_with(|| Arc::new(Account::new(plugin.clone())));
        Arc::clone(account)
    }

    /// All accounts, sorted by the name of the plugin.
    pub fn all(&self) -> Vec<Arc<Account>> {
        let mut all: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_limited_per_peer_and_in_all_and_given_back() {
        let account = Accounts::default().of(&"chat".parse().unwrap());
        let (one, two) = (WithPeer::Opened(NodeId([1; 32])), WithPeer::Opened(NodeId([2; 32])));
        let served = WithPeer::Served(NodeId([1; 32]));
        let mut slots: Vec<_> = (0..STREAMS_PER_PEER).map(|_| account.slot(Some(one)).unwrap()).collect();
        assert!(account.slot(Some(one)).unwrap_err().is(ErrorCode::TooManyStreams));
        slots.extend((0..SERVED_PER_PEER).map(|_| account.slot(Some(served)).unwrap()));
        assert!(account.slot(Some(served)).unwrap_err().is(ErrorCode::TooManyStreams));
        slots.push(account.slot(Some(two)).unwrap());
        while let Ok(slot) = account.slot(None) {
            slots.push(slot);
        }
        assert_eq!(slots.len(), STREAMS_PER_PLUGIN);
        slots.clear();
        assert!(account.slot(Some(one)).is_ok());
        assert!(account.usage().by_peer.is_empty());
    }

    #[test]
    fn windows_grow_only_within_the_pool() {
        let account = Account::new("chat".parse().unwrap());
        let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
        account.window_opened(one, WINDOW_POOL - 10);
        assert!(account.window_grown(two, 5) && !account.window_grown(two, 6));
        account.window_opened(two, 5);
        assert!(!account.window_grown(two, 1));
        account.window_closed(two, 10);
        account.window_closed(one, WINDOW_POOL - 10);
        assert_eq!(account.windows(), (0, WINDOW_POOL));
        assert!(account.usage().windows_by_peer.is_empty());
    }

    #[test]
    fn a_peer_that_takes_all_it_can_leaves_room_for_the_windows_of_others() {
        let account = Account::new("chat".parse().unwrap());
        let grow = |peer: u8| (0..).take_while(|_| account.window_grown(NodeId([peer; 32]), 1 << 20)).count();
        assert_eq!([grow(1), grow(2), grow(3)], [32, 16, 8], "each at most as much as is free then");
    }
}
