//! Delivery of streams and calls to the plugin that serves their protocol, whether they come from a peer or from a
//! plugin of this node. It finds the plugin's session (and waits a moment if the plugin is being restarted), checks the
//! grants, announces the stream or call, and waits for the claim or the answer. Dropping the future withdraws the
//! announcement.

use std::sync::Arc;

use polypeer_engine::gateway::router::Route;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, Origin, Payload, Scope};
use polypeer_ipc_protocol::ids::{OPERATOR, PluginId, Protocol};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Claimed, call_over_stream};
use crate::gateway::launch::session::{NotTaken, Session};
use crate::gateway::{Hub, Listening};
use crate::plugins::account::Account;
use crate::plugins::grants::Use;

/// The origin that a plugin of this node has for the listener of `protocol` on this node. It is the plugin. Only the
/// operator's commands also reach what is served to peers alone; there they come from this node, as a peer would.
pub(super) fn local_origin(hub: &Hub, plugin: &PluginId, protocol: &Protocol) -> Origin {
    let local = Origin::Local(plugin.clone());
    if plugin.as_str() != OPERATOR {
        return local;
    }
    let as_peer = Origin::Peer(hub.node.id);
    let found = [&local, &as_peer].map(|origin| present_route(hub, origin, protocol));
    match found {
        [Route::To(..), _] => local,
        [_, Route::To(..)] | [Route::NotServed, Route::Hold(_)] => as_peer,
        _ => local,
    }
}

/// What a plugin does that serves a stream or call from `origin`.
fn serving(hub: &Hub, origin: &Origin, protocol: &Protocol) -> Use {
    match origin {
        Origin::Peer(node) if *node == hub.node.id => Use::ServeOperator(protocol.clone()),
        _ => Use::Serve(origin.clone(), protocol.clone()),
    }
}

/// Announces a stream from `origin` and waits until the plugin that serves `protocol` has claimed it. Fails with
/// `protocol not served`, `not granted`, `peer not allowed`, `too many streams`, `busy`, `timed out`, or with the
/// plugin's refusal.
pub(crate) async fn stream(hub: &Hub, origin: &Origin, protocol: &Protocol) -> Result<Claimed, Failure> {
    let deadline = Instant::now() + hub.node.timings.claim;
    loop {
        let (session, _) = route(hub, origin, protocol).await?;
        if let Some(claimed) = announce(hub, &session, origin, protocol, deadline).await? {
            return Ok(claimed);
        }
    }
}

/// Gives a stream to a connection of the session that waits for one, or announces it and waits for the claim. Returns
/// `None` when the session ends meanwhile.
async fn announce(
    hub: &Hub,
    session: &Arc<Session>,
    origin: &Origin,
    protocol: &Protocol,
    deadline: Instant,
) -> Result<Option<Claimed>, Failure> {
    let mut active = session.launch.begin(&hub.node.counters, serving(hub, origin, protocol))?;
    if let Some(opening) = session.accepting(&(scope_for(origin), protocol.clone())) {
        return Ok(Some(Claimed { opening, active }));
    }
    let (announced, claim) = match session.announce(hub.node.number(), origin.clone(), protocol.clone()) {
        Ok(announced) => announced,
        Err(NotTaken::Ended) => return Ok(None),
        Err(not_taken) => return Err(refused(hub, not_taken)),
    };
    tokio::select! {
        claim = timeout_at(deadline, claim) => match claim {
            Ok(Ok(Ok(opening))) => Ok(Some(Claimed { opening, active })),
            Ok(Ok(Err(failure))) => Err(failure),
            Ok(Err(_)) => Ok(None),
            Err(_) => {
                hub.node.counters.streams_unclaimed.count();
                let plugin = &session.launch.plugin;
                let waited = hub.node.timings.claim.as_secs_f32();
                let why = format!("plugin {plugin} did not claim the stream within {waited} s");
                let failure = Failure::new(ErrorCode::TimedOut, why);
                announced.withdraw(failure.clone());
                Err(failure)
            }
        },
        code = active.revoked() => {
            let failure = active.failure(code);
            announced.withdraw(failure.clone());
            Err(failure)
        }
    }
}

/// Hands a call to the plugin that serves `protocol` and waits for its reply. Returns the reply and that plugin's
/// account. Fails as [`stream`] does, or with the plugin's refusal.
pub(crate) async fn call(
    hub: &Hub,
    origin: &Origin,
    protocol: &Protocol,
    payload: Payload,
) -> Result<(Payload, Arc<Account>), Failure> {
    let deadline = Instant::now() + hub.node.timings.claim;
    loop {
        let (session, mode) = route(hub, origin, protocol).await?;
        match mode {
            CallMode::Streams => {
                if let Some(claimed) = announce(hub, &session, origin, protocol, deadline).await? {
                    let reply = call_over_stream::call(claimed, origin, protocol, payload).await?;
                    return Ok((reply, Arc::clone(&session.launch.account)));
                }
            }
            CallMode::Events => {
                let mut active = session.launch.begin(&hub.node.counters, serving(hub, origin, protocol))?;
                let (_announced, answer) =
                    match session.call(hub.node.number(), origin.clone(), protocol.clone(), payload.clone()) {
                        Ok(announced) => announced,
                        Err(NotTaken::Ended) => continue,
                        Err(not_taken) => return Err(refused(hub, not_taken)),
                    };
                let reply = tokio::select! {
                    answer = answer => answer.unwrap_or_else(|_| Err(session_ended()))?,
                    code = active.revoked() => return Err(active.failure(code)),
                };
                return Ok((reply, Arc::clone(&session.launch.account)));
            }
        }
    }
}

/// Counts that a session did not take a stream or call. Returns the failure for the opener.
fn refused(hub: &Hub, not_taken: NotTaken) -> Failure {
    hub.node.counters.refused_busy.count();
    match not_taken {
        NotTaken::Ended => session_ended(),
        NotTaken::Busy(failure) => failure,
        NotTaken::OverShare(failure) => {
            hub.node.counters.refused_over_share.count();
            failure
        }
    }
}

fn session_ended() -> Failure {
    Failure::new(ErrorCode::ConnectionLost, "the plugin that was asked went away before it answered")
}

async fn route(hub: &Hub, origin: &Origin, protocol: &Protocol) -> Result<(Arc<Session>, CallMode), Failure> {
    hub.node.check_running()?;
    let mut held = None;
    loop {
        let changed = hub.routes_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match present_route(hub, origin, protocol) {
            Route::To(listening, calls) => return Ok((listening.session, calls)),
            Route::NotServed => {
                return Err(Failure::new(ErrorCode::NotServed, format!("nothing serves {protocol} there")));
            }
            Route::Hold(until) => {
                if held.is_none() {
                    let permit = hub.held.try_acquire();
                    held = Some(permit.map_err(|_| {
                        hub.node.counters.refused_busy.count();
                        Failure::new(
                            ErrorCode::Busy,
                            format!("{protocol} is being restarted and too much waits for it"),
                        )
                    })?);
                }
                tokio::select! {
                    () = changed => {}
                    () = sleep_until(until.into()) => {}
                }
            }
        }
    }
}

/// Where a stream or call from `origin` goes now.
fn present_route(hub: &Hub, origin: &Origin, protocol: &Protocol) -> Route<Listening> {
    let key = (scope_for(origin), protocol.clone());
    let launched = hub.launched_to_serve(&serving(hub, origin, protocol));
    hub.router().route(&key, launched, std::time::Instant::now())
}

/// The scope of a listener that serves streams and calls from `origin`.
fn scope_for(origin: &Origin) -> Scope {
    match origin {
        Origin::Peer(_) => Scope::Peers,
        Origin::Local(_) => Scope::Local,
    }
}
