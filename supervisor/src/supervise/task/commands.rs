//! The part of the supervisor's task that executes commands and runs plugins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::AdminRequest;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{OPERATOR, PluginId};
use tokio::sync::oneshot;

use super::limits::Change;
use super::network::operator_grants;
use super::{Task, random};
use crate::manifest::Live;
use crate::process::launch::ChildEvent;
use crate::process::log::OWN;
use crate::process::{Watched, watch};
use crate::supervise::control::{Command, Done};
use crate::supervise::gateway::Gateway;
use crate::supervise::lifecycle::{Action, Input, State};
use crate::supervise::order::with_required;
use crate::supervise::plugin::{Plugin, Running, Want};
use crate::supervise::pulse::Pulse;
use crate::supervise::{OperatorSession, PluginSpec, SupervisorEvent, launch, unknown};

/// Most sessions of the operator at once.
const MAX_OPERATORS: usize = 64;
/// Time for netcore to close a plugin's session before the plugin gets SIGTERM.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// How long a plugin waits until those it requires are ready; then it is started anyway.
const REQUIRED_WAIT: Duration = Duration::from_secs(30);

impl Task {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Shutdown(grace, reply) => self.end(grace, Some(reply)),
            Command::Plugins(reply) => {
                self.asked = Some(Instant::now());
                let _ = reply.send(self.plugins.values().map(Plugin::status).collect());
            }
            Command::Netcore(reply) => {
                let _ = reply.send(self.netcore_status());
            }
            Command::OperatorGone(number) => {
                if self.operators.remove(&number).is_some() {
                    self.tell_netcore(AdminRequest::RemoveLaunch { launch: number });
                }
            }
            Command::Stop(id, done) => self.on_stop(&id, done),
            Command::Remove(id, done) => {
                if let Some(plugin) = self.plugins.get_mut(&id) {
                    plugin.leaving = true;
                }
                self.on_stop(&id, done);
            }
            // The commands below start something.
            Command::Add(_, done) | Command::Start(_, done) if self.is_ending() => {
                let _ = done.send(Err(crate::supervise::stopping()));
            }
            Command::Start(_, done) if self.config.net.seed_only => {
                let _ = done.send(Err(Failure::new(
                    ErrorCode::Refused,
                    "this node was started with --seed-only, which starts no plugins",
                )));
            }
            Command::Add(spec, done) => {
                let _ = done.send(self.on_add(*spec));
            }
            Command::Start(id, done) => self.on_start(&id, done),
            Command::SetLimits(id, limits, done) => self.change_limits(Change::asked(id, *limits, done)),
            Command::DeleteLog(id, done) => {
                let logs = self.logs.clone();
                tokio::task::spawn_blocking(move || {
                    logs.delete(id.as_str());
                    let _ = done.send(());
                });
            }
            Command::SetGrants(id, grants, reply) => {
                let result = match self.plugins.get_mut(&id) {
                    Some(plugin) => {
                        plugin.spec.grants = *grants.clone();
                        Ok(self.tell_netcore(AdminRequest::SetGrants { plugin: id, grants: *grants }))
                    }
                    None => Err(unknown(&id)),
                };
                let _ = reply.send(result);
            }
            Command::SetLog(settings, done) => {
                self.tell_netcore(AdminRequest::SetLog { filter: settings.netcore_filter() });
                self.config.log = *settings;
                let _ = done.send(());
            }
            Command::SetSeeds(settings, done) => {
                self.config.net.discovery.take_seeds(&settings);
                self.tell_netcore(AdminRequest::SetSeeds(settings));
                let _ = done.send(());
            }
            Command::Operator(reply) => {
                let _ = reply.send(self.on_operator());
            }
        }
    }

    fn on_add(&mut self, spec: PluginSpec) -> Result<(), Failure> {
        let id = spec.id().clone();
        if self.plugins.contains_key(&id) {
            return Err(Failure::new(ErrorCode::BadArgument, format!("{id} is there already; remove it first")));
        }
        let starts = !self.config.net.seed_only && spec.enabled && spec.manifest.plugin.start.is_with_daemon();
        self.plugins.insert(id.clone(), Plugin::new(spec));
        if starts {
            self.want_up(&id);
        }
        Ok(())
    }

    fn on_start(&mut self, id: &PluginId, done: Done) {
        self.want_up(id);
        self.start_waiting();
        self.wait_for(id, Want::Up, done);
    }

    fn on_stop(&mut self, id: &PluginId, done: Done) {
        if let Some(plugin) = self.plugins.get_mut(id) {
            plugin.waits_until = None;
        }
        self.plugin_input(id, Input::Stop);
        self.wait_for(id, Want::Down, done);
    }

    fn wait_for(&mut self, id: &PluginId, want: Want, done: Done) {
        match self.plugins.get_mut(id) {
            Some(plugin) => plugin.wait(want, done),
            None => drop(done.send(Err(unknown(id)))),
        }
    }

    fn on_operator(&mut self) -> Result<OperatorSession, Failure> {
        if self.operators.len() >= MAX_OPERATORS {
            let text = format!("{MAX_OPERATORS} commands already use the gateway; wait for one to end");
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        let number = self.number();
        let plugin: PluginId = OPERATOR.parse().expect("a valid id");
        let gateway = Gateway::open(&self.home.sockets(), number, plugin)
            .map_err(|error| Failure::new(ErrorCode::Internal, format!("cannot make a gateway socket: {error}")))?;
        self.announce(&gateway, &operator_grants());
        let (alive, gone) = oneshot::channel::<()>();
        let session = OperatorSession { gateway: gateway.address(), token: gateway.token.clone(), _alive: alive };
        self.operators.insert(number, gateway);
        let commands = self.outlets.commands.clone();
        self.children.spawn(async move {
            let _ = gone.await;
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::OperatorGone(number)).await;
            }
        });
        Ok(session)
    }

    /// Starts the enabled plugins, once netcore is ready for the first time.
    pub(super) fn start_enabled(&mut self) {
        if self.config.net.seed_only {
            return tracing::info!("no plugins are started: this node is a seed only");
        }
        let ids: Vec<PluginId> = self
            .plugins
            .values()
            .filter(|plugin| plugin.spec.enabled && plugin.spec.manifest.plugin.start.is_with_daemon())
            .map(|plugin| plugin.spec.id().clone())
            .collect();
        ids.iter().for_each(|id| self.want_up(id));
    }

    /// Queues a plugin and all that it requires for starting.
    fn want_up(&mut self, id: &PluginId) {
        let until = Instant::now() + REQUIRED_WAIT;
        for id in with_required(&self.needs(), id) {
            if let Some(plugin) = self.plugins.get_mut(&id)
                && !matches!(plugin.life.state(), State::Starting | State::Ready)
            {
                plugin.waits_until = Some(until);
            }
        }
    }

    /// Starts the queued plugins whose required plugins are ready, have failed, or are late.
    pub(super) fn start_waiting(&mut self) {
        let now = Instant::now();
        let waiting: Vec<PluginId> =
            self.plugins.iter().filter(|(_, plugin)| plugin.waits_until.is_some()).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            let Some(plugin) = self.plugins.get(&id) else { continue };
            let required = &plugin.spec.manifest.plugin.requires;
            if let Some(missing) = required.iter().find(|one| !self.plugins.contains_key(one)) {
                let reason = format!("it requires {missing}, which is not installed");
                if let Some(plugin) = self.plugins.get_mut(&id) {
                    plugin.waits_until = None;
                    plugin.life.fail(reason);
                }
                continue;
            }
            let late = plugin.waits_until.is_some_and(|until| until <= now);
            let pending = |one: &PluginId| {
                self.plugins.get(one).is_some_and(|one| matches!(one.state(), State::Starting | State::Stopping))
            };
            if !late && required.iter().any(pending) {
                continue;
            }
            if let Some(plugin) = self.plugins.get_mut(&id) {
                plugin.waits_until = None;
            }
            self.plugin_input(&id, Input::Start);
        }
    }

    /// Passes an input to a plugin's lifecycle and performs the resulting action.
    pub(super) fn plugin_input(&mut self, id: &PluginId, input: Input) {
        let Some(plugin) = self.plugins.get_mut(id) else { return };
        match plugin.life.handle(Instant::now(), random(), input) {
            Some(Action::Spawn) => {
                if let Err(error) = self.spawn_plugin(id) {
                    let how = format!("could not be started: {error}");
                    tracing::warn!("plugin {id} {how}");
                    self.plugin_input(id, Input::Ended { how, success: false });
                }
            }
            Some(Action::Terminate) => self.terminate_plugin(id),
            Some(Action::Kill) => {
                self.plugins.get(id).and_then(|plugin| plugin.running.as_ref()).iter().for_each(|it| it.watched.kill());
            }
            None => {}
        }
    }

    /// Ends a plugin's session, so that it learns of its end from its SDK, and then sends it SIGTERM.
    fn terminate_plugin(&mut self, id: &PluginId) {
        let Some(running) = self.plugins.get(id).and_then(|plugin| plugin.running.as_ref()) else { return };
        let watched = running.watched.clone();
        match self.tell_netcore(AdminRequest::EndSession { launch: running.gateway.number }) {
            None => watched.terminate(),
            Some(told) => {
                self.children.spawn(async move {
                    let _ = tokio::time::timeout(CLOSING_TIME, told).await; // A netcore that hangs must not delay it.
                    watched.terminate();
                });
            }
        }
    }

    fn spawn_plugin(&mut self, id: &PluginId) -> std::io::Result<()> {
        let number = self.number();
        let gateway = Arc::new(Gateway::open(&self.home.sockets(), number, id.clone())?);
        let Some(plugin) = self.plugins.get(id) else { return Ok(()) };
        self.announce(&gateway, &plugin.spec.grants);
        let sink = self.logs.sink(id.as_str());
        let (spec, home, programs) = (plugin.spec.clone(), self.home.clone(), self.programs.clone());
        let its_gateway = Arc::clone(&gateway);
        let launch = move || launch::of_plugin(&spec, &its_gateway, &home, &programs);
        let groups = self.host.groups.clone();
        let (watched, task) = watch(launch, groups, sink.clone(), self.child_sender.clone(), number);
        self.children.spawn(task);
        if let Some(plugin) = self.plugins.get_mut(id) {
            let health = &plugin.spec.manifest.health;
            let pulse = (health.live == Some(Live::Session)).then(|| Pulse::new(Instant::now(), health.live_every));
            plugin.running = Some(Running { gateway, watched, pid: None, pulse, asked: None, limits_late: false });
            plugin.sink = Some(sink);
        }
        Ok(())
    }

    /// Handles an event of a plugin's process.
    pub(super) fn on_plugin_child(&mut self, number: u64, event: ChildEvent) {
        let Some(plugin) = self.plugin_of(number) else { return };
        let id = plugin.spec.id().clone();
        match event {
            ChildEvent::Running { pid, measures } => {
                plugin.set_confinement(measures);
                let running = plugin.running.as_mut();
                let is_late = running.is_some_and(|running| {
                    running.pid = Some(pid);
                    std::mem::take(&mut running.limits_late)
                });
                if is_late {
                    self.change_limits(Change::late(id.clone()));
                }
                self.logs.sink(id.as_str()).line(OWN, &format!("started, pid {pid}"));
                self.plugin_input(&id, Input::Running);
            }
            ChildEvent::Ready => self.plugin_input(&id, Input::Port),
            ChildEvent::Ended(ended) => {
                let is_expected = ended.is_success() || plugin.life.state() == State::Stopping;
                plugin.running = None;
                plugin.meter.ended();
                let how = ended.to_string();
                let described = plugin.life.told_end(&how, ended.is_as_told());
                self.tell_netcore(AdminRequest::RemoveLaunch { launch: number });
                self.logs.sink(id.as_str()).line(OWN, &described);
                match is_expected {
                    true => tracing::info!("plugin {id} ended: {described}"),
                    false => tracing::warn!("plugin {id} ended: {described}"),
                }
                self.plugin_input(&id, Input::Ended { how, success: ended.is_success() });
            }
        }
    }

    /// Handles an input from the session of a launch.
    pub(super) fn plugin_sign(&mut self, launch: u64, sign: Input) {
        let Some(id) = self.plugin_of(launch).map(|plugin| plugin.spec.id().clone()) else { return };
        self.plugin_input(&id, sign);
        let running = self.plugins.get_mut(&id).and_then(|plugin| plugin.running.as_mut());
        if let Some(running) = running
            && let Some(pulse) = &mut running.pulse
        {
            pulse.begin(Instant::now());
            running.asked = None;
        }
    }

    pub(super) fn plugin_of(&mut self, launch: u64) -> Option<&mut Plugin> {
        self.plugins
            .values_mut()
            .find(|plugin| plugin.running.as_ref().is_some_and(|running| running.gateway.number == launch))
    }

    pub(super) fn kill_all(&mut self) {
        self.plugins.values().filter_map(|plugin| plugin.running.as_ref()).for_each(|running| running.watched.kill());
        self.netcore.watched.iter().for_each(Watched::kill);
    }

    /// Reports changed states to subscribers, answers pending commands, and deletes removed plugins that have stopped.
    pub(super) fn tell_changes(&mut self) {
        for (id, plugin) in &mut self.plugins {
            let now = (plugin.state(), plugin.life.reason().map(str::to_owned));
            if plugin.told.as_ref() != Some(&now) {
                if plugin.told.is_some() || now.0 != State::Stopped {
                    // How it ended was said as it did; why it stays down may be more than that.
                    let reason = now.1.as_deref().unwrap_or("it ended");
                    match now.0 {
                        State::Failed => tracing::warn!("plugin {id}: failed: {reason}"),
                        state => tracing::info!("plugin {id}: {}", state.as_str()),
                    }
                }
                let (state, reason) = now.clone();
                let _ = self.outlets.events.send(SupervisorEvent::Plugin { id: id.clone(), state, reason });
                plugin.told = Some(now);
            }
            plugin.answer();
        }
        self.plugins.retain(|_, plugin| !(plugin.leaving && plugin.is_down()));
    }
}
