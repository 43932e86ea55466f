//! The part of the supervisor's task that runs netcore: starts and restarts it, and announces every launch to it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Grants, PeerScope};
use tokio::sync::oneshot;

use super::Task;
use crate::manifest::{Ready, RestartPolicy};
use crate::netcore::{AdminHandle, NetEvent};
use crate::process::launch::ChildEvent;
use crate::process::log::{OWN, Sink};
use crate::process::{Watched, watch};
use crate::supervise::host::resident_bytes;
use crate::supervise::launch;
use crate::supervise::lifecycle::{Action, Habits, Input, Lifecycle, State};
use crate::supervise::pulse::Pulse;
use crate::supervise::{NetcoreStatus, StartError, SupervisorEvent};

/// Name of its log, which no plugin id can be.
pub(super) const LOG: &str = "netcore_";
/// Time between SIGTERM and SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for its sockets and its store until it is killed and started again; the first start ends the daemon by then.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Time limit for its exit once its session has ended.
const EXIT_TIME: Duration = Duration::from_secs(2);

/// Netcore's process and session.
#[derive(Debug)]
pub(super) struct Netcore {
    pub(super) life: Lifecycle,
    /// Number of its launch and admin session.
    pub(super) number: u64,
    link: Option<AdminHandle>,
    pub(super) watched: Option<Watched>,
    pub(super) pid: Option<i32>,
    pub(super) sink: Sink,
    /// Present while it is ready.
    pub(super) pulse: Option<Pulse>,
    told: Option<State>,
    /// Addresses of the previous process. The next one listens on them, too, so that peers find it again.
    listened: Vec<SocketAddr>,
}

impl Netcore {
    pub(super) fn new(sink: Sink) -> Self {
        let habits = Habits {
            policy: RestartPolicy::Always,
            gives_up: false,
            stop_timeout: STOP_TIMEOUT,
            ready: Ready::Notify,
            ready_timeout: START_TIMEOUT,
        };
        Self {
            life: Lifecycle::new(habits),
            number: 0,
            link: None,
            watched: None,
            pid: None,
            sink,
            pulse: None,
            told: None,
            listened: Vec::new(),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.watched.is_none()
    }
}

impl Task {
    pub(super) fn netcore_status(&self) -> NetcoreStatus {
        NetcoreStatus {
            pid: self.netcore.pid,
            state: self.netcore.life.state().as_str().to_owned(),
            restarts: self.netcore.life.restarts(),
            rss_bytes: self.netcore.pid.and_then(resident_bytes),
            exit_reason: self.netcore.life.reason().map(str::to_owned),
        }
    }

    /// Sends netcore a request without waiting for the response. A netcore that is not running gets all state at its
    /// start.
    pub(super) fn tell_netcore(&self, request: AdminRequest) -> Option<oneshot::Receiver<AdminResponse>> {
        self.netcore.link.as_ref()?.post(request, None).inspect_err(|failure| tracing::error!("{failure}")).ok()
    }

    /// Announces a launch to netcore.
    pub(super) fn announce(&self, gateway: &crate::supervise::gateway::Gateway, grants: &Grants) {
        let Some(link) = &self.netcore.link else { return };
        let told = gateway.announcement(grants).map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()));
        if let Err(failure) = told.and_then(|(request, listener)| link.post(request, Some(listener))) {
            tracing::error!(plugin = %gateway.plugin, "failed to announce a launch to the network core: {failure}");
        }
    }

    pub(super) fn netcore_input(&mut self, input: Input) {
        let action = self.netcore.life.handle(Instant::now(), super::random(), input);
        match action {
            Some(Action::Spawn) => self.spawn_netcore(),
            Some(Action::Terminate) => self.netcore.watched.iter().for_each(Watched::terminate),
            Some(Action::Kill) => self.netcore.watched.iter().for_each(Watched::kill),
            None => {}
        }
        let state = self.netcore.life.state();
        if self.netcore.told.replace(state) != Some(state) {
            let _ = self.outlets.events.send(SupervisorEvent::Netcore { state });
        }
    }

    fn spawn_netcore(&mut self) {
        let number = self.number();
        self.netcore.number = number;
        let (link, theirs) = match AdminHandle::start(number, self.net_sender.clone()) {
            Ok(started) => started,
            Err(error) => {
                let how = format!("no admin session: {error}");
                return self.netcore_input(Input::Ended { how, success: false });
            }
        };
        let launch = launch::of_netcore(number, theirs, &self.home, &self.programs, &self.config.log);
        let sink = self.netcore.sink.clone();
        let (watched, task) = watch(|| Ok(launch), self.host.groups.clone(), sink, self.child_sender.clone(), number);
        self.children.spawn(task);
        self.netcore.watched = Some(watched);
        self.netcore.link = Some(link.clone());
        let mut settings = Box::new(self.config.net.clone());
        if !self.netcore.listened.is_empty() {
            settings.listen.clone_from(&self.netcore.listened);
        }
        self.tell_netcore(AdminRequest::Configure(settings));
        for plugin in self.plugins.values() {
            if let Some(running) = &plugin.running {
                self.announce(&running.gateway, &plugin.spec.grants);
            }
        }
        for operator in self.operators.values() {
            self.announce(operator, &operator_grants());
        }
        let events = self.net_sender.clone();
        let started = link.post(AdminRequest::Start, None);
        let status = link.post(AdminRequest::Status, None);
        self.children.spawn(async move {
            let result = match started {
                Ok(answer) => match answer.await {
                    Ok(AdminResponse::Failed(failure)) => Err(failure),
                    Ok(_) => Ok(()),
                    Err(_dropped) => return,
                },
                Err(failure) => Err(failure),
            };
            let _ = events.send((number, NetEvent::Started(result))).await;
            if let Ok(status) = status
                && let Ok(AdminResponse::Status(status)) = status.await
            {
                let _ = events.send((number, NetEvent::Listens(status.listen))).await;
            }
        });
    }

    /// Handles an event of the admin session; events of older sessions are ignored.
    pub(super) fn on_net_event(&mut self, session: u64, event: NetEvent) {
        if session != self.netcore.number {
            return;
        }
        match event {
            NetEvent::Started(Ok(())) => {
                self.netcore_input(Input::Notified);
                self.watch_netcore();
                self.outlets.link.send_replace(self.netcore.link.clone());
                match self.outlets.started.take() {
                    Some(first) => {
                        let _ = first.send(Ok(()));
                        self.start_enabled();
                    }
                    None => tracing::info!("the network core is ready again"),
                }
            }
            NetEvent::Started(Err(failure)) => {
                self.netcore.sink.line(OWN, &format!("failed to start: {failure}"));
                self.netcore.watched.iter().for_each(Watched::kill);
            }
            NetEvent::Alive => self.netcore.pulse.iter_mut().for_each(Pulse::handle_answer),
            NetEvent::Gone => {
                self.outlets.link.send_replace(None);
                self.netcore.pulse = None;
                self.netcore.link = None;
                // Netcore exits when its session ends. One that does not is killed.
                let events = self.net_sender.clone();
                self.children.spawn(async move {
                    tokio::time::sleep(EXIT_TIME).await;
                    let _ = events.send((session, NetEvent::Stuck)).await;
                });
            }
            NetEvent::Listens(addresses) => {
                self.netcore.listened = addresses.iter().filter_map(|address| address.parse().ok()).collect();
            }
            NetEvent::Stuck => self.netcore.watched.iter().for_each(Watched::kill),
            NetEvent::Said(event) => {
                match &event {
                    AdminEvent::SessionUp { launch } => self.plugin_sign(*launch, Input::Session),
                    AdminEvent::Ready { launch } => self.plugin_sign(*launch, Input::Notified),
                    AdminEvent::SessionAlive { launch } => self.plugin_alive(*launch),
                    AdminEvent::SessionDown { .. } | AdminEvent::PeerUp { .. } | AdminEvent::PeerDown { .. } => {}
                }
                let _ = self.outlets.events.send(SupervisorEvent::Network(event));
            }
        }
    }

    /// Handles an event of netcore's process.
    pub(super) fn on_netcore_child(&mut self, event: ChildEvent) {
        match event {
            ChildEvent::Running { pid, .. } => {
                self.netcore.pid = Some(pid);
                self.netcore.sink.line(OWN, &format!("started, pid {pid}"));
            }
            ChildEvent::Ready => {}
            ChildEvent::Ended(ended) => {
                self.netcore.pid = None;
                self.netcore.watched = None;
                self.netcore.link = None;
                self.netcore.pulse = None;
                self.outlets.link.send_replace(None);
                let lines = self.netcore.sink.tail();
                let how = self.netcore.life.described(&ended.to_string());
                self.netcore.sink.line(OWN, &how);
                if let Some(first) = self.outlets.started.take() {
                    // A failure of the first start ends the daemon, with the reason for the operator.
                    let _ = first.send(Err(StartError::Netcore { how: ended.to_string(), lines }));
                    self.netcore.life.fail(ended.to_string());
                    return;
                }
                match self.is_ending() && ended.is_success() {
                    true => tracing::info!("the network core ended: {how}"),
                    false => tracing::warn!("the network core ended: {how}"),
                }
                if self.netcore.life.state() == State::Starting {
                    // Another program may have taken its port meanwhile.
                    self.netcore.listened.clear();
                }
                self.netcore_input(Input::Ended { how: ended.to_string(), success: false });
            }
        }
    }
}

/// The operator may do anything that a plugin can be granted.
pub(super) fn operator_grants() -> Grants {
    let all = || vec!["*".parse().expect("a valid pattern")];
    Grants {
        serve: all(),
        dial: all(),
        serve_local: all(),
        peers: PeerScope::Any,
        topics: all(),
        dht: all(),
        ..Grants::default()
    }
}
