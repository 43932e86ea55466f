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
    windows: u64,
    windows_peak: u64,
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
                 has; see: polypeer plugin info {plugin}"
            ),
        )
    }

    /// Adds the initial window of a stream, in bytes, even beyond the pool: the number of streams is limited.
    pub(crate) fn window_opened(&self, bytes: u64) {
        let mut usage = self.usage();
        usage.windows += bytes;
        usage.windows_peak = usage.windows_peak.max(usage.windows);
    }

    /// Adds `bytes` to the windows if they fit into the pool. Returns whether they did.
    pub(crate) fn window_grown(&self, bytes: u64) -> bool {
        let mut usage = self.usage();
        let fits = usage.windows + bytes <= WINDOW_POOL;
        if fits {
            usage.windows += bytes;
            usage.windows_peak = usage.windows_peak.max(usage.windows);
        }
        fits
    }

    /// Subtracts `bytes` from the windows.
    pub(crate) fn window_closed(&self, bytes: u64) {
        self.usage().windows -= bytes;
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
        account.window_opened(WINDOW_POOL - 10);
        assert!(account.window_grown(10) && !account.window_grown(1));
        account.window_closed(WINDOW_POOL);
        assert_eq!(account.windows(), (0, WINDOW_POOL));
    }
}
