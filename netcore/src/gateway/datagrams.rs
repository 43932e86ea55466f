//! Datagrams of plugins: who sends, and which session receives those of a protocol. [`Links::send_datagram`] carries them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Grants, Origin, Payload, Scope};
use polypeer_ipc_protocol::ids::{NodeId, PluginId, Protocol};
use polypeer_ipc_protocol::limits::MAX_LISTENERS;

use super::Hub;
use super::session::Session;
use crate::grants::Use;
use crate::limits::DATAGRAM_BACKLOG;
#[cfg(doc)]
use crate::link::Links;

/// Which session receives the datagrams of which protocol: one for each, and [`MAX_LISTENERS`] for one session.
#[derive(Debug, Default)]
pub(crate) struct Receivers(Mutex<HashMap<Protocol, Arc<Session>>>);

impl Receivers {
    fn all(&self) -> MutexGuard<'_, HashMap<Protocol, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, protocol: Protocol, session: &Arc<Session>) -> Result<(), Failure> {
        let mut all = self.all();
        if let Some(other) = all.get(&protocol).filter(|other| other.id != session.id) {
            let by = &other.launch.plugin;
            let text =
                format!("plugin {by} receives the datagrams of {protocol} already: stop it, or use another protocol");
            return Err(Failure::new(ErrorCode::AlreadyServed, text));
        }
        let plugin = &session.launch.plugin;
        if session.is_over() {
            return Err(ErrorCode::Superseded.into());
        }
        if !all.contains_key(&protocol) && all.values().filter(|owner| owner.id == session.id).count() >= MAX_LISTENERS
        {
            let text = format!("plugin {plugin} receives datagrams of {MAX_LISTENERS} protocols, which is the limit");
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        all.insert(protocol, Arc::clone(session));
        Ok(())
    }

    fn remove(&self, protocol: &Protocol, session: &Session) {
        let mut all = self.all();
        if all.get(protocol).is_some_and(|owner| owner.id == session.id) {
            all.remove(protocol);
        }
    }

    fn of(&self, protocol: &Protocol) -> Option<Arc<Session>> {
        self.all().get(protocol).cloned()
    }

    /// A session is over.
    pub(crate) fn handle_session_ended(&self, session: u64) {
        self.all().retain(|_, owner| owner.id != session);
    }

    /// A plugin's grants are others now: what they do not cover ends.
    pub(crate) fn handle_grants(&self, plugin: &PluginId, grants: &Grants) {
        let covers = |protocol: &Protocol| Use::Listen(Scope::Peers, protocol.clone()).check(plugin, grants).is_ok();
        self.all().retain(|protocol, owner| owner.launch.plugin != *plugin || covers(protocol));
    }
}

/// [`polypeer_ipc_protocol::gateway::Request::SendDatagram`]; the session has checked its size.
pub(super) fn send(
    hub: &Hub,
    session: &Session,
    peer: NodeId,
    protocol: Protocol,
    payload: &Payload,
) -> Result<(), Failure> {
    hub.node.check_running()?;
    let launch = &session.launch;
    launch.check(&hub.node.counters, &Use::Dial(peer, protocol.clone()))?;
    if !launch.account.datagram(Instant::now()) {
        hub.node.counters.datagrams_not_sent.count();
        let text = format!("plugin {} sends datagrams faster than it may: send fewer, or use a stream", launch.plugin);
        return Err(Failure::new(ErrorCode::Busy, text));
    }
    hub.links.send_datagram(&peer, &protocol, &payload.0)?;
    launch.account.sent.add(payload.0.len() as u64);
    Ok(())
}

/// [`polypeer_ipc_protocol::gateway::Request::ReceiveDatagrams`].
pub(super) fn receive(hub: &Hub, session: &Arc<Session>, protocol: Protocol, on: bool) -> Result<(), Failure> {
    if !on {
        hub.datagrams.remove(&protocol, session);
        return Ok(());
    }
    hub.node.check_running()?;
    session.launch.check(&hub.node.counters, &Use::Listen(Scope::Peers, protocol.clone()))?;
    hub.datagrams.add(protocol, session)
}

/// One came from `peer`: to the plugin that receives its protocol, if that may deal with the peer and reads.
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
