//! Requests of a control session. Each is answered at once, or by a future that resolves to its answer.

use std::pin::Pin;
use std::sync::Arc;

use polypeer_ipc_protocol::admin::AdminEvent;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, NodeInfo, Request, Response, Scope};
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_LISTENERS;
use polypeer_ipc_protocol::ticket::Ticket;

use super::launch::session::{Session, no_such_stream, not_served};
use super::records::RecordRequests;
use super::{Hub, Listening, StreamOpener, datagrams, topics};
use crate::limits::{MAX_PEERS_LISTED, timeout_of};
use crate::plugins::grants::Use;

/// The answer to a request, or a future that resolves to it.
pub(crate) enum Handled {
    Now(Response),
    /// The answer, to be sent after the events that are queued.
    AfterEvents(Response),
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

/// Handles one request of a plugin.
pub(crate) fn handle(
    hub: &Arc<Hub>,
    opener: &Arc<dyn StreamOpener>,
    session: &Arc<Session>,
    request: Request,
) -> Handled {
    let (own, of) = (Arc::clone(hub), Arc::clone(session)); // for work that outlives this call
    let asked = |timeout_ms| RecordRequests::new(hub, session, timeout_ms);
    Handled::Now(match request {
        Request::Listen { protocol, scope, calls } => done(listen(hub, session, protocol, scope, calls)),
        Request::Unlisten { protocol, scope } => done(unlisten(hub, session, protocol, scope)),
        Request::Call { target, protocol, payload, timeout_ms } => {
            let launch = Arc::clone(&session.launch);
            let reply = opener.call(launch, target, protocol, payload, timeout_of(timeout_ms));
            return later(async move { Ok(Response::Reply { payload: reply.await? }) });
        }
        Request::RefuseStream { stream, failure } => match session.claim(stream, Err(failure)) {
            None => Response::Done,
            Some(_) => Response::Failed(no_such_stream(stream)),
        },
        Request::Peers => {
            let grants = session.launch.grants();
            Response::Peers(hub.links.infos(|peer| grants.peers.allows(peer), MAX_PEERS_LISTED))
        }
        Request::Node => Response::Node(node_info(hub)),
        Request::WatchPeers { on } => return Handled::AfterEvents(done(watch_peers(hub, session, on))),
        Request::Ready => {
            hub.node.tell(AdminEvent::Ready { launch: session.launch.number });
            Response::Done
        }
        Request::Ping => Response::Done,
        Request::KeepConnections => {
            session.keep_connections();
            Response::Done
        }
        Request::SendDatagram { node: peer, protocol, payload } => {
            done(datagrams::send(hub, session, peer, protocol, &payload))
        }
        Request::ReceiveDatagrams { protocol, on } => done(datagrams::receive(hub, session, protocol, on)),
        Request::WatchNetwork { on } => return Handled::AfterEvents(done(watch_network(hub, session, on))),
        Request::Unprovide { name } => done(asked(0).unprovide(&name)),
        Request::Publish { topic, payload } => return later(topics::publish(own, of, topic, payload)),
        Request::Subscribe { topic, validation } => return later(topics::subscribe(own, of, topic, validation)),
        Request::Unsubscribe { topic } => return later(topics::unsubscribe(own, of, topic)),
        Request::Judge { topic, message, verdict } => return later(topics::judge(own, of, topic, message, verdict)),
        Request::Topic { topic } => return later(topics::info(own, of, topic)),
        Request::PutImmutable { name, value, timeout_ms } => {
            return later(asked(timeout_ms).put_immutable(name, value));
        }
        Request::GetImmutable { name, hash, timeout_ms } => return later(asked(timeout_ms).get_immutable(name, hash)),
        Request::PutOwn { name, value, lifetime_s, timeout_ms } => {
            return later(asked(timeout_ms).put_own(name, value, lifetime_s));
        }
        Request::PutSigned { record, timeout_ms } => return later(asked(timeout_ms).put_signed(record)),
        Request::GetSigned { key, name, timeout_ms } => return later(asked(timeout_ms).get_signed(key, name)),
        Request::Provide { name, timeout_ms } => return later(asked(timeout_ms).provide(name)),
        Request::FindProviders { name, limit, timeout_ms } => {
            return later(asked(timeout_ms).find_providers(name, limit));
        }
        Request::FindPeer { node, timeout_ms } => return later(asked(timeout_ms).find_peer(node)),
    })
}

fn later(work: impl Future<Output = Result<Response, Failure>> + Send + 'static) -> Handled {
    Handled::Later(Box::pin(async move { work.await.unwrap_or_else(Response::Failed) }))
}

fn done(result: Result<(), Failure>) -> Response {
    match result {
        Ok(()) => Response::Done,
        Err(failure) => Response::Failed(failure),
    }
}

fn listen(
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    protocol: Protocol,
    scope: Scope,
    calls: CallMode,
) -> Result<(), Failure> {
    hub.node.check_running()?;
    let launch = &session.launch;
    let active = Arc::new(launch.begin(&hub.node.counters, Use::Listen(scope, protocol.clone()))?);
    let mut router = hub.router();
    let count = router.count(session.id);
    if count >= MAX_LISTENERS && !router.of(session.id).contains(&(scope, protocol.clone())) {
        let message = format!("plugin {} listens on {count} protocols, which is the limit", launch.plugin);
        return Err(Failure::new(ErrorCode::Busy, message));
    }
    let listening = Listening { session: Arc::clone(session), _active: Arc::clone(&active) };
    let key = (scope, protocol);
    router.listen(key.clone(), session.id, &launch.plugin, calls, listening)?;
    drop(router);
    let (hub_of, of) = (Arc::downgrade(hub), Arc::downgrade(session));
    active.on_revoke(move || {
        if let (Some(hub), Some(session)) = (hub_of.upgrade(), of.upgrade()) {
            hub.router().unlisten(&key, session.id);
            session.accept_no_more(&key);
        }
    });
    hub.listeners_changed();
    Ok(())
}

fn unlisten(hub: &Hub, session: &Session, protocol: Protocol, scope: Scope) -> Result<(), Failure> {
    let key = (scope, protocol);
    if !hub.router().unlisten(&key, session.id) {
        return Err(not_served(&key.1));
    }
    session.accept_no_more(&key);
    hub.listeners_changed();
    Ok(())
}

fn watch_peers(hub: &Arc<Hub>, session: &Arc<Session>, on: bool) -> Result<(), Failure> {
    if !on {
        session.peers_watch.set(None);
        return Ok(());
    }
    let active = session.launch.begin(&hub.node.counters, Use::WatchPeers)?;
    let (hub_of, of) = (Arc::downgrade(hub), Arc::downgrade(session));
    active.on_regrant(move |before, now| {
        if let (Some(hub), Some(session)) = (hub_of.upgrade(), of.upgrade()) {
            hub.tell_who_is_seen(&session, &before.peers, &now.peers);
        }
    });
    hub.watch_peers(session, active);
    Ok(())
}

fn watch_network(hub: &Hub, session: &Session, on: bool) -> Result<(), Failure> {
    if !on {
        session.network_watch.set(None);
        return Ok(());
    }
    let active = session.launch.begin(&hub.node.counters, Use::WatchNetwork)?;
    hub.network_seen.begin(hub, session, active);
    Ok(())
}

fn node_info(hub: &Hub) -> NodeInfo {
    let ticket = hub.node.peers().map_or(Ticket { node: hub.node.id, addresses: Vec::new() }, |peers| peers.ticket());
    NodeInfo {
        node: hub.node.id,
        ticket,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: hub.node.started.elapsed().as_millis() as u64,
    }
}
