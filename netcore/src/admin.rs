//! Netcore's end of the admin session: requests of the supervisor, in sequence where order matters (settings, launches,
//! grants, start) and concurrently where they wait. The supervisor is the only party that netcore trusts; netcore exits
//! when the session ends.

use std::sync::Arc;
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminCommand, AdminEvent, AdminFrame, AdminRequest, AdminResponse, NetStatus};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Reach;
use polypeer_ipc_protocol::settings::NetSettings;
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_ipc_protocol::transport::TransportError;
use polypeer_ipc_protocol::transport::admin::{AdminChannel, AdminSender, Handover};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::core::Core;
use crate::limits::{ADMIN_EVENTS, ADMIN_REQUESTS, timeout_of};
use crate::node::Phase;
use crate::reach;

/// Why the admin session failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Reading or writing the session failed.
    #[error("admin session failed")]
    Transport(#[from] TransportError),
    /// The queue of frames to the supervisor is full.
    #[error("the supervisor does not read the admin session")]
    NotRead,
    /// The first request is not `Configure`.
    #[error("the admin session does not begin with the settings")]
    NotConfigured,
}

/// How a command ends.
enum Outcome {
    Answer(AdminResponse),
    /// Respond, then exit.
    Last(AdminResponse),
}

/// Reads the first request of the session, `Configure`: its id and the settings. `None` if the session has ended.
pub(crate) async fn settings(channel: &mut AdminChannel) -> Result<Option<(u64, NetSettings)>, AdminError> {
    match channel.recv::<AdminCommand>().await {
        Ok(Some((AdminCommand { id, request: AdminRequest::Configure(settings) }, _))) => Ok(Some((id, *settings))),
        Ok(Some(_)) => Err(AdminError::NotConfigured),
        Ok(None) => Ok(None),
        Err(error) => ended(error).map(|()| None),
    }
}

/// Responds to `Configure`.
pub(crate) async fn configured(channel: &mut AdminChannel, id: u64) -> Result<(), AdminError> {
    let response = AdminFrame::Response { id, response: AdminResponse::Done };
    channel.send(&response, None).await.or_else(ended)
}

/// Serves the admin session until it ends or `Shutdown` was handled.
pub(crate) async fn run(
    core: Arc<Core>,
    channel: AdminChannel,
    mut events: mpsc::Receiver<AdminEvent>,
) -> Result<(), AdminError> {
    let (sender, mut receiver) = channel.split();
    let (out, frames) = mpsc::channel(ADMIN_EVENTS);
    let mut writer = tokio::spawn(write(sender, frames));
    let mut session = Session { core, launches: JoinSet::new(), work: JoinSet::new(), out };
    loop {
        tokio::select! {
            received = receiver.recv::<AdminCommand>() => match received {
                Ok(Some((command, attached))) => session.handle(command, attached)?,
                Ok(None) => return Ok(()),
                Err(error) => return ended(error),
            },
            Some(event) = events.recv() => session.send(AdminFrame::Event(event))?,
            Some(done) = session.work.join_next(), if !session.work.is_empty() => match done {
                Ok((id, Outcome::Answer(response))) => session.send(AdminFrame::Response { id, response })?,
                Ok((id, Outcome::Last(response))) => {
                    session.send(AdminFrame::Response { id, response })?;
                    drop(session);
                    let _ = writer.await;
                    return Ok(());
                }
                Err(error) => tracing::error!(%error, "an admin request failed"),
            },
            Some(ended) = session.launches.join_next(), if !session.launches.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a gateway socket's task failed");
                }
            }
            written = &mut writer => return match written {
                Ok(Err(error)) => ended(error),
                Ok(Ok(())) | Err(_) => Ok(()),
            },
        }
    }
}

/// Whether an error only means that the supervisor has gone, which ends the session; any other one is a bug of one
/// side.
fn ended(error: TransportError) -> Result<(), AdminError> {
    match error {
        TransportError::Io(_) | TransportError::Cut => Ok(()),
        other => Err(other.into()),
    }
}

async fn write(mut sender: AdminSender, mut frames: mpsc::Receiver<AdminFrame>) -> Result<(), TransportError> {
    while let Some(frame) = frames.recv().await {
        sender.send(&frame, None).await?;
    }
    Ok(())
}

struct Session {
    core: Arc<Core>,
    launches: JoinSet<()>,
    work: JoinSet<(u64, Outcome)>,
    out: mpsc::Sender<AdminFrame>,
}

impl Session {
    fn send(&self, frame: AdminFrame) -> Result<(), AdminError> {
        self.out.try_send(frame).map_err(|_| AdminError::NotRead)
    }

    fn handle(&mut self, command: AdminCommand, attached: Vec<Handover>) -> Result<(), AdminError> {
        let AdminCommand { id, request } = command;
        let response = match request {
            AdminRequest::AddLaunch { launch, plugin, token, grants } => {
                let mut attached = attached.into_iter();
                done(match (attached.next(), attached.next()) {
                    (Some(listener), None) => {
                        let Core { hub, opener, .. } = &*self.core;
                        hub.add_launch(opener, &mut self.launches, launch, &plugin, token, grants, listener)
                    }
                    _ => Err(Failure::new(ErrorCode::BadArgument, "a launch comes with exactly one descriptor")),
                })
            }
            AdminRequest::RemoveLaunch { launch } => done(self.core.hub.remove_launch(launch)),
            AdminRequest::SetGrants { plugin, grants } => {
                self.core.hub.set_grants(&plugin, &grants);
                AdminResponse::Done
            }
            AdminRequest::Start => {
                self.core.open();
                AdminResponse::Done
            }
            AdminRequest::CheckSession { launch } => done(self.core.hub.ask_for_life(launch)),
            // One thread does all the work, so this answer alone says that it is not stuck.
            AdminRequest::Heartbeat => AdminResponse::Done,
            AdminRequest::SetLog { filter } => done(crate::logging::change(&filter)),
            AdminRequest::SetSeeds(settings) => done(self.core.services.discovery.set_seeds(&settings)),
            AdminRequest::Configure(_) => AdminResponse::Failed(Failure::new(
                ErrorCode::BadArgument,
                "the network core is configured already; restart it to change its settings",
            )),
            other if self.work.len() < ADMIN_REQUESTS => {
                let core = Arc::clone(&self.core);
                self.work.spawn(async move { (id, Box::pin(answer(&core, other)).await) });
                return Ok(());
            }
            _ => {
                self.core.node.counters.admin_busy.count();
                AdminResponse::Failed(Failure::new(
                    ErrorCode::Busy,
                    format!("{ADMIN_REQUESTS} admin requests are in progress already"),
                ))
            }
        };
        self.send(AdminFrame::Response { id, response })
    }
}

fn done(result: Result<(), Failure>) -> AdminResponse {
    result.map_or_else(AdminResponse::Failed, |()| AdminResponse::Done)
}

async fn answer(core: &Core, request: AdminRequest) -> Outcome {
    if let AdminRequest::Shutdown { grace_ms } = request {
        shut_down(core, Duration::from_millis(grace_ms.into())).await;
        return Outcome::Last(AdminResponse::Done);
    }
    Outcome::Answer(query(core, request).await.unwrap_or_else(AdminResponse::Failed))
}

async fn query(core: &Core, request: AdminRequest) -> Result<AdminResponse, Failure> {
    let peers = &core.peers;
    Ok(match request {
        AdminRequest::Status => AdminResponse::Status(status(core, peers.status()).await),
        AdminRequest::Peers => {
            let mut records = peers.records();
            for record in &mut records {
                record.protocols = core.links.protocols(&record.node);
                record.unverified = core.services.discovery.is_unverified(&record.node);
            }
            AdminResponse::Peers(records)
        }
        AdminRequest::Ticket => AdminResponse::Ticket(peers.ticket()),
        AdminRequest::AddPeer { ticket, timeout_ms } | AdminRequest::Ping { ticket, timeout_ms } => {
            ping(core, &ticket, timeout_of(timeout_ms)).await?
        }
        AdminRequest::Block { node: peer } => done(peers.block(peer).await),
        AdminRequest::Unblock { node: peer } => done(peers.unblock(peer).await),
        AdminRequest::Protect { node: peer, protected } => done(peers.protect(peer, protected).await),
        AdminRequest::EndSession { launch } => done(core.hub.close_session(launch).await),
        AdminRequest::Forget { node: peer } => done(peers.forget(peer).await),
        AdminRequest::Explain { node: peer } => {
            let (causes, trace) = peers.explain(peer);
            AdminResponse::Explanation { causes, trace }
        }
        AdminRequest::Traffic => {
            AdminResponse::Traffic(core.node.accounts.all().iter().map(|account| account.traffic()).collect())
        }
        AdminRequest::Configure(_)
        | AdminRequest::AddLaunch { .. }
        | AdminRequest::RemoveLaunch { .. }
        | AdminRequest::SetGrants { .. }
        | AdminRequest::CheckSession { .. }
        | AdminRequest::Heartbeat
        | AdminRequest::Start
        | AdminRequest::SetLog { .. }
        | AdminRequest::SetSeeds(_)
        | AdminRequest::Shutdown { .. } => unreachable!("done before"),
    })
}

async fn status(core: &Core, mut status: NetStatus) -> NetStatus {
    let Core { node, services, .. } = core;
    status.sources = services.discovery.sources();
    let reach = services.reach.reach();
    if reach == Reach::Public {
        status.reach = "public".into();
    }
    status.warnings.extend(reach::warning(reach));
    status.warnings.extend(services.discovery.warning());
    status.counters.extend(node.counters.list());
    status.counters.extend(services.counters().await);
    for account in node.accounts.all() {
        let (now, peak) = account.windows();
        if peak > 0 {
            status.counters.push((format!("window_bytes.{}", account.plugin), now));
            status.counters.push((format!("window_bytes_peak.{}", account.plugin), peak));
        }
    }
    status
}

async fn ping(core: &Core, ticket: &Ticket, limit: Duration) -> Result<AdminResponse, Failure> {
    if ticket.node == core.node.id {
        return Err(Failure::new(ErrorCode::BadArgument, "this is the own node"));
    }
    let deadline = Instant::now() + limit;
    let work = core.links.ping(ticket.node, &ticket.addresses, deadline);
    let rtt = timeout_at(deadline, work).await.unwrap_or_else(|_| {
        Err(Failure::new(ErrorCode::TimedOut, format!("no answer within {} s", limit.as_secs_f32())))
    })?;
    Ok(AdminResponse::Pong { node: ticket.node, rtt_us: rtt.as_micros() as u64 })
}

/// Refuses new work, gives streams `grace` to end, resets the rest, then closes the links.
async fn shut_down(core: &Core, grace: Duration) {
    let Core { node, hub, peers, .. } = core;
    node.enter(Phase::Stopping);
    for session in hub.sessions() {
        session.end(Failure::new(ErrorCode::ShuttingDown, "the node is stopping"));
    }
    let idle = async {
        while hub.launches().values().any(|launch| launch.active() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::pin!(idle);
    if tokio::time::timeout(grace, &mut idle).await.is_err() {
        for launch in hub.launches().values() {
            launch.revoke_all(ErrorCode::ShuttingDown);
        }
        let _ = tokio::time::timeout(node.timings.linger, idle).await;
    }
    peers.close(std::time::Instant::now() + node.timings.linger).await;
}
