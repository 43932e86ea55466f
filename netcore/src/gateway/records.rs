//! DHT records for plugins: requests to put and get records, and to provide and find names, with their grants and
//! quotas. [`crate::dht`] does the rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{Key, Record};
use polypeer_engine::keys::SharedKeys;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Payload, Response};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::limits::{MAX_PROVIDERS, MAX_RECORD_LIFETIME};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::time::timeout_at;

use super::launch::session::Session;
use super::own_puts::Turn;
use super::{Hub, provided_names};
use crate::clock;
use crate::limits::timeout_of;
use crate::peers::Peers;
use crate::plugins::grants::Use;

/// Most names whose last sequence number is remembered. For others the clock is enough, unless it was set back.
const SEQUENCES: usize = 1024;
/// The number of providers that `limit` 0 stands for.
const SOME_PROVIDERS: usize = 16;

/// The last sequence number that this node gave its own record of each name.
#[derive(Debug, Default)]
pub(crate) struct Sequences(Mutex<BTreeMap<Name, u64>>);

impl Sequences {
    /// The next sequence number for `name`: the Unix time in milliseconds, or more if that is needed to exceed `found`
    /// and all numbers given before.
    fn next(&self, name: &Name, found: u64, unix_ms: u64) -> u64 {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = given.get(name).copied().unwrap_or(0).max(found);
        let next = unix_ms.max(last.saturating_add(1));
        if given.len() >= SEQUENCES && !given.contains_key(name) {
            given.pop_first();
        }
        given.insert(name.clone(), next);
        next
    }
}

/// One request about records, with its session and deadline.
pub(super) struct RecordRequests {
    pub(super) hub: Arc<Hub>,
    pub(super) session: Arc<Session>,
    deadline: Instant,
}

impl RecordRequests {
    pub(super) fn new(hub: &Arc<Hub>, session: &Arc<Session>, timeout_ms: u32) -> Self {
        let deadline = Instant::now() + timeout_of(timeout_ms);
        Self { hub: Arc::clone(hub), session: Arc::clone(session), deadline }
    }

    /// Runs `work` while the grants cover `used`. Fails with the reason when they are revoked.
    async fn granted<T>(&self, used: Use, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.hub.node.check_running()?;
        let mut active = self.session.launch.begin(&self.hub.node.counters, used)?;
        tokio::select! {
            result = work => result.map_err(|failure| self.explained(failure)),
            code = active.revoked() => Err(active.failure(code)),
        }
    }

    /// Adds to the failure to reach the DHT that this node's clock is off, if it is: then others refuse its records, and
    /// it refuses theirs.
    fn explained(&self, failure: Failure) -> Failure {
        let codes = [ErrorCode::Unreachable, ErrorCode::Refused, ErrorCode::UnknownPeer];
        let unheard = codes.iter().any(|code| failure.is(*code));
        match self.hub.node.peers().ok().and_then(Peers::clock_off).filter(|_| unheard) {
            Some(off) => Failure { message: format!("{}; {off}", failure.message), ..failure }.cut(),
            None => failure,
        }
    }

    async fn put(&self, name: &Name, record: Record, length: usize) -> Result<u32, Failure> {
        let (key, unix, plugin) = (record.key(), clock::now().unix, &self.session.launch.plugin);
        let used = Use::Keep(name.clone());
        let active = Arc::new(self.session.launch.begin(&self.hub.node.counters, used)?);
        let expires = unix.saturating_add(record.lifetime(clock::now()));
        let new = self.hub.record_quota.enter(key, expires, unix, Arc::clone(&active))?;
        let (hub_of, owner) = (Arc::downgrade(&self.hub), plugin.clone());
        active.on_revoke(move || {
            if let Some(hub) = hub_of.upgrade()
                && hub.record_quota.revoke(&owner, &key)
            {
                tokio::spawn(async move { hub.dht.forget(key).await });
            }
        });
        let put = self.hub.dht.put(record, self.deadline).await;
        if let Err(failure) = &put
            && new
            && (failure.is(ErrorCode::BadArgument) || failure.is(ErrorCode::Busy))
        {
            self.hub.record_quota.forget(plugin, &key); // after other failures the node retries
        }
        let copies = put?;
        self.session.launch.account.sent.add(length as u64 * u64::from(copies));
        Ok(copies)
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, Failure> {
        self.hub.dht.get(key, self.deadline).await
    }

    fn received(&self, value: &Payload) {
        self.session.launch.account.received.add(value.0.len() as u64);
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::PutImmutable`]. The protocol session has checked its size.
    pub(super) async fn put_immutable(self, name: Name, value: Payload) -> Result<Response, Failure> {
        self.granted(Use::Record(name.clone()), async {
            let (key, length) = (Key::value_hash(&value.0), value.0.len());
            let copies = self.put(&name, Record::Immutable { name: name.clone(), value }, length).await?;
            Ok(Response::Stored { key, sequence: 0, copies })
        })
        .await
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::GetImmutable`].
    pub(super) async fn get_immutable(self, name: Name, hash: Hash) -> Result<Response, Failure> {
        self.granted(Use::Record(name.clone()), async {
            let value = match self.get(Key::of_immutable(&name, &hash)).await? {
                Some(Record::Immutable { value, .. }) => Some(value),
                _ => None,
            };
            value.iter().for_each(|value| self.received(value));
            Ok(Response::Value(value))
        })
        .await
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::PutOwn`]. The protocol session has checked its size. The order
    /// among puts of one name is that of these calls, whenever the futures are polled.
    pub(super) fn put_own(
        self,
        name: Name,
        value: Payload,
        lifetime_s: u32,
    ) -> impl Future<Output = Result<Response, Failure>> + Send + 'static {
        let turn = self.hub.own_puts.enter(&name);
        self.put_own_in_turn(turn, name, value, lifetime_s)
    }

    async fn put_own_in_turn(
        self,
        mut turn: Turn,
        name: Name,
        value: Payload,
        lifetime_s: u32,
    ) -> Result<Response, Failure> {
        if lifetime_s > MAX_RECORD_LIFETIME {
            let text =
                format!("a record is good for at most {MAX_RECORD_LIFETIME} s; put it again before that is over");
            return Err(Failure::new(ErrorCode::BadArgument, text));
        }
        let lifetime = if lifetime_s == 0 { MAX_RECORD_LIFETIME } else { lifetime_s };
        self.granted(Use::Record(name.clone()), async {
            let overtaken = timeout_at(self.deadline.into(), turn.begin()).await;
            let overtaken = overtaken.map_err(|_| Failure::from(ErrorCode::TimedOut))?;
            if let Some(answer) = overtaken {
                return Ok(answer);
            }
            let answer = self.sign_and_put(&name, &value, lifetime).await?;
            turn.stored(&answer);
            Ok(answer)
        })
        .await
    }

    async fn sign_and_put(&self, name: &Name, value: &Payload, lifetime: u32) -> Result<Response, Failure> {
        let keys = &self.hub.node.keys;
        let key = Key::of_signed(&self.hub.node.id, name);
        let record = self.sign(keys, name, value, lifetime, 0);
        let sequence = record.sequence;
        match self.put(name, Record::Signed(record), value.0.len()).await {
            Ok(copies) => Ok(stored(key, sequence, copies)),
            Err(failure) if failure.is(ErrorCode::Refused) => {
                // A holder has a newer record: this node's clock was set back, or its key is used elsewhere.
                let Some(Record::Signed(found)) = self.get(key).await? else { return Err(failure) };
                if found.sequence < sequence {
                    return Err(failure);
                }
                let record = self.sign(keys, name, value, lifetime, found.sequence);
                let sequence = record.sequence;
                let copies = self.put(name, Record::Signed(record), value.0.len()).await?;
                Ok(stored(key, sequence, copies))
            }
            Err(failure) => Err(failure),
        }
    }

    fn sign(&self, keys: &SharedKeys, name: &Name, value: &Payload, lifetime: u32, found: u64) -> SignedRecord {
        let now = clock::now();
        let sequence = self.hub.sequences.next(name, found, now.unix.saturating_mul(1000));
        let expires = now.unix + u64::from(lifetime);
        let (key, signature) = (keys.node(), Signature([0; 64]));
        let mut record = SignedRecord { key, name: name.clone(), sequence, expires, value: value.clone(), signature };
        record.signature = keys.sign(&record.signed_bytes());
        record
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::PutSigned`]. The protocol session has checked its size; the
    /// DHT checks the rest.
    pub(super) async fn put_signed(self, record: SignedRecord) -> Result<Response, Failure> {
        self.granted(Use::Record(record.name.clone()), async {
            let (key, sequence) = (Key::of_signed(&record.key, &record.name), record.sequence);
            let length = record.value.0.len();
            let name = record.name.clone();
            let copies = self.put(&name, Record::Signed(record), length).await?;
            Ok(stored(key, sequence, copies))
        })
        .await
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::GetSigned`].
    pub(super) async fn get_signed(self, key: NodeId, name: Name) -> Result<Response, Failure> {
        self.granted(Use::Record(name.clone()), async {
            let record = match self.get(Key::of_signed(&key, &name)).await? {
                Some(Record::Signed(record)) => Some(record),
                _ => None,
            };
            record.iter().for_each(|record| self.received(&record.value));
            Ok(Response::Record(record))
        })
        .await
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::Provide`].
    pub(super) async fn provide(self, name: Name) -> Result<Response, Failure> {
        self.granted(Use::Record(name.clone()), async {
            let active = Arc::new(self.session.launch.begin(&self.hub.node.counters, Use::Provide(name.clone()))?);
            let new = self.hub.provided_names.enter(&name, &self.session, Arc::clone(&active)).await?;
            let (hub_of, of, session) = (Arc::downgrade(&self.hub), name.clone(), self.session.id);
            active.on_revoke(move || {
                if let Some(hub) = hub_of.upgrade() {
                    provided_names::leave(&hub, &of, session);
                }
            });
            let mut entered = Entered { asked: &self, name: &name, undo: new };
            let key = Key::of_provided(&name);
            let copies = self.hub.dht.provide(key, self.deadline).await?;
            if !self.hub.provided_names.has(&name, self.session.id) {
                return Err(ErrorCode::Cancelled.into()); // the session ended, or lost the grant, meanwhile
            }
            entered.undo = false;
            Ok(stored(key, 0, copies))
        })
        .await
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::Unprovide`].
    pub(super) fn unprovide(&self, name: &Name) -> Result<(), Failure> {
        if provided_names::leave(&self.hub, name, self.session.id) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::BadArgument, format!("this session does not provide {name}")))
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::FindProviders`].
    pub(super) async fn find_providers(self, name: Name, limit: u32) -> Result<Response, Failure> {
        let limit = if limit == 0 { SOME_PROVIDERS } else { (limit as usize).min(MAX_PROVIDERS) };
        self.granted(Use::Record(name.clone()), async {
            let grants = self.session.launch.grants();
            // The grants may cover only some of the providers found.
            let enough =
                if grants.peers == polypeer_ipc_protocol::gateway::PeerScope::Any { limit } else { MAX_PROVIDERS };
            let found = self.hub.dht.providers(Key::of_provided(&name), enough + 1, self.deadline).await?;
            let allowed =
                |record: &&Arc<AddressRecord>| record.node != self.hub.node.id && grants.peers.allows(&record.node);
            let mut nodes = Vec::new();
            for record in found.iter().filter(allowed).take(limit) {
                self.learn(record);
                nodes.push(record.node);
            }
            Ok(Response::Providers(nodes))
        })
        .await
    }

    /// Handles [`polypeer_ipc_protocol::gateway::Request::FindPeer`].
    pub(super) async fn find_peer(self, peer: NodeId) -> Result<Response, Failure> {
        if peer == self.hub.node.id {
            let text = "this is the id of the own node: ask for it with the request Node";
            return Err(Failure::new(ErrorCode::BadArgument, text));
        }
        self.granted(Use::Find(peer), async {
            let Some(record) = self.hub.dht.locate(peer, self.deadline).await? else {
                let text =
                    format!("no record of where {peer} is was found: it may be off, or not reachable from outside");
                return Err(Failure::new(ErrorCode::UnknownPeer, text));
            };
            self.learn(&record);
            Ok(Response::Found(Ticket { node: peer, addresses: record.addresses.clone() }))
        })
        .await
    }

    /// Remembers the addresses of a peer, so that the plugin can dial it by its id.
    fn learn(&self, record: &AddressRecord) {
        if let Ok(peers) = self.hub.node.peers() {
            peers.located(record.node, &record.addresses);
        }
    }
}

fn stored(key: Key, sequence: u64, copies: u32) -> Response {
    Response::Stored { key: Hash(key.0), sequence, copies }
}

/// A name that a request has begun to provide. Dropping it with `undo` set ends that, e.g. after a failure.
struct Entered<'a> {
    asked: &'a RecordRequests,
    name: &'a Name,
    undo: bool,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.undo {
            provided_names::leave(&self.asked.hub, self.name, self.asked.session.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_only_grow_and_few_are_remembered() {
        let sequences = Sequences::default();
        let name = |number: usize| format!("a/{number:04}").parse::<Name>().unwrap();
        assert_eq!(sequences.next(&name(0), 0, 1000), 1000);
        assert_eq!(sequences.next(&name(0), 0, 1000), 1001);
        assert_eq!(sequences.next(&name(0), 0, 5), 1002, "the clock was set back");
        assert_eq!(sequences.next(&name(0), 7000, 2000), 7001, "a newer one was found");
        assert_eq!(sequences.next(&name(1), u64::MAX, 0), u64::MAX);
        for number in 0..SEQUENCES + 5 {
            sequences.next(&name(number), 0, 1);
        }
        assert_eq!(sequences.0.lock().unwrap().len(), SEQUENCES);
    }
}
