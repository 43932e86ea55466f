//! Datagrams of plugins: checks and limits for sending, and the session that receives those of each protocol.
//! [`Links::send_datagram`] sends them to peers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Origin, Payload};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::limits::MAX_LISTENERS;

use super::Hub;
use super::launch::ActiveUse;
use super::launch::session::Session;
use crate::limits::DATAGRAM_BACKLOG;
#[cfg(doc)]
use crate::link::Links;
use crate::plugins::grants::Use;

/// The receiver of each protocol's datagrams. One session receives at most [`MAX_LISTENERS`] protocols.
#[derive(Debug, Default)]
pub(crate) struct Receivers(Mutex<HashMap<Protocol, Receiver>>);

/// A session that receives datagrams. It holds its use, which counts as long as the receiver lives.
#[derive(Debug)]
struct Receiver {
    session: Arc<Session>,
    _active: Arc<ActiveUse>,
}

impl Receivers {
    fn all(&self) -> MutexGuard<'_, HashMap<Protocol, Receiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, protocol: Protocol, session: &Arc<Session>, active: Arc<ActiveUse>) -> Result<(), Failure> {
        let mut all = self.all();
        if let Some(other) = all.get(&protocol).filter(|other| other.session.id != session.id) {
            let by = &other.session.launch.plugin;
            let text =
                format!("plugin {by} receives the datagrams of {protocol} already: stop it, or use another protocol");
            return Err(Failure::new(ErrorCode::AlreadyServed, text));
        }
        let plugin = &session.launch.plugin;
        if session.is_over() {
            return Err(ErrorCode::Superseded.into());
        }
        if !all.contains_key(&protocol)
            && all.values().filter(|owner| owner.session.id == session.id).count() >= MAX_LISTENERS
        {
            let text = format!("plugin {plugin} receives datagrams of {MAX_LISTENERS} protocols, which is the limit");
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        all.insert(protocol, Receiver { session: Arc::clone(session), _active: active });
        Ok(())
    }

    fn remove(&self, protocol: &Protocol, session: u64) {
        let mut all = self.all();
        if all.get(protocol).is_some_and(|owner| owner.session.id == session) {
            all.remove(protocol);
        }
    }

    fn of(&self, protocol: &Protocol) -> Option<Arc<Session>> {
        self.all().get(protocol).map(|owner| Arc::clone(&owner.session))
    }

    /// Removes the receivers of a session that is over.
    pub(crate) fn handle_session_ended(&self, session: u64) {
        self.all().retain(|_, owner| owner.session.id != session);
    }
}

/// Handles [`polypeer_ipc_protocol::gateway::Request::SendDatagram`]. The protocol session has checked its size.
pub(super) fn send(
    hub: &Hub,
    session: &Session,
    peer: NodeId,
    protocol: Protocol,
    payload: &Payload,
) -> Result<(), Failure> {
    hub.node.check_running()?;
    let launch = &session.launch;
    launch.check(&hub.node.counters, &Use::SendDatagram(peer, protocol.clone()))?;
    if !launch.account.datagram(Instant::now()) {
        hub.node.counters.datagrams_not_sent.count();
        let text = format!("plugin {} sends datagrams faster than it may: send fewer, or use a stream", launch.plugin);
        return Err(Failure::new(ErrorCode::Busy, text));
    }
    hub.links.send_datagram(&peer, &protocol, &payload.0)?;
    launch.account.sent.add(payload.0.len() as u64);
    Ok(())
}

/// Handles [`polypeer_ipc_protocol::gateway::Request::ReceiveDatagrams`].
pub(super) fn receive(hub: &Arc<Hub>, session: &Arc<Session>, protocol: Protocol, on: bool) -> Result<(), Failure> {
    if !on {
        hub.datagrams.remove(&protocol, session.id);
        return Ok(());
    }
    hub.node.check_running()?;
    let used = Use::ReceiveDatagrams(protocol.clone());
    let active = Arc::new(session.launch.begin(&hub.node.counters, used)?);
    hub.datagrams.add(protocol.clone(), session, Arc::clone(&active))?;
    let (hub_of, owner) = (Arc::downgrade(hub), session.id);
    active.on_revoke(move || {
        if let Some(hub) = hub_of.upgrade() {
            hub.datagrams.remove(&protocol, owner);
        }
    });
    Ok(())
}

/// Delivers a datagram from `peer` to the plugin that receives its protocol. Drops and counts it if there is no such
/// plugin, its grants do not include the peer, or its queue has no room.
pub(crate) fn deliver(hub: &Hub, peer: NodeId, protocol: Protocol, payload: Bytes) {
    let Some(session) = hub.datagrams.of(&protocol) else {
        return hub.node.counters.datagrams_unwanted.count();
    };
    let launch = &session.launch;
    if Use::Serve(Origin::Peer(peer), protocol.clone()).check(&launch.plugin, &launch.grants()).is_err() {
        return hub.node.counters.datagrams_unwanted.count();
    }
    launch.account.received.add(payload.len() as u64);
    let event = Event::Datagram { node: peer, protocol, payload: Payload(payload) };
    if !session.outbox.offer_below(DATAGRAM_BACKLOG, event) {
        hub.node.counters.datagrams_unread.count();
    }
}
