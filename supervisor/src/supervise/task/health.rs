//! The part of the supervisor's task that asks netcore and plugins whether they are alive, and restarts those that do
//! not answer ([`Pulse`]).

use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ids::PluginId;

use super::Task;
use crate::netcore::NetEvent;
use crate::process::log::OWN;
use crate::supervise::State;
use crate::supervise::host::is_traced;
use crate::supervise::lifecycle::Input;
use crate::supervise::pulse::{Beat, Pulse};

/// Interval of the questions to netcore.
const HEARTBEAT: Duration = Duration::from_secs(6);

impl Task {
    /// Begins to ask netcore, which has started.
    pub(super) fn watch_netcore(&mut self) {
        self.netcore.pulse = Some(Pulse::of_answering(Instant::now(), HEARTBEAT));
    }

    /// When the next question is due.
    pub(super) fn question_due(&self) -> Option<Instant> {
        if self.is_ending() {
            return None;
        }
        let plugins = self.plugins.values().filter_map(|plugin| plugin.pulse());
        plugins.chain(self.netcore.pulse.as_ref()).map(Pulse::due).min()
    }

    /// Asks what is to be asked.
    pub(super) fn ask_for_life(&mut self) {
        if self.is_ending() {
            return;
        }
        let now = Instant::now();
        self.ask_netcore(now);
        let reachable = self.netcore.pulse.as_ref().is_some_and(|pulse| pulse.silent().is_none());
        let ids: Vec<PluginId> = self.plugins.keys().cloned().collect();
        for id in ids {
            self.ask_plugin(&id, now, reachable);
        }
    }

    fn ask_netcore(&mut self, now: Instant) {
        let Some(pulse) = &mut self.netcore.pulse else { return };
        match pulse.handle_due(now) {
            Some(Beat::Unresponsive(_)) if self.netcore.pid.is_some_and(is_traced) => {
                pulse.excuse(now);
                tracing::info!("the network core does not answer: a debugger holds it");
            }
            Some(Beat::Unresponsive(time)) => {
                self.netcore.pulse = None;
                let text =
                    format!("the network core has not answered for {} s: killed, to be restarted", time.as_secs());
                tracing::error!("{text}");
                self.netcore.sink.line(OWN, &text);
                self.netcore_input(Input::Unresponsive(time));
            }
            Some(beat @ (Beat::Ask | Beat::AskAgain(_))) => {
                if let Beat::AskAgain(time) = beat {
                    tracing::warn!("the network core has not answered for {} s", time.as_secs());
                }
                let Some(answer) = self.tell_netcore(AdminRequest::Heartbeat) else { return };
                let (number, events) = (self.netcore.number, self.net_sender.clone());
                self.children.spawn(async move {
                    if let Ok(AdminResponse::Done) = answer.await {
                        let _ = events.send((number, NetEvent::Alive)).await;
                    }
                });
            }
            None => {}
        }
    }

    /// A plugin is asked through netcore; while that is away, the plugin is not to blame.
    fn ask_plugin(&mut self, id: &PluginId, now: Instant, reachable: bool) {
        let Some(plugin) = self.plugins.get_mut(id) else { return };
        let is_held = plugin.state() != State::Ready || !reachable || plugin.pid().is_some_and(is_traced);
        let Some(running) = &mut plugin.running else { return };
        let (launch, Some(pulse)) = (running.gateway.number, &mut running.pulse) else { return };
        if pulse.due() > now {
            return;
        }
        // A question that netcore did not even take never reached the plugin. That it cannot ask, as the plugin has no
        // session any more, is an answer.
        let is_lost = running.asked.take().is_some_and(|mut answer| answer.try_recv().is_err());
        if is_held || is_lost {
            return pulse.excuse(now);
        }
        match pulse.handle_due(now) {
            Some(Beat::Unresponsive(time)) => {
                let text = format!("has not answered for {} s: killed", time.as_secs());
                tracing::warn!("plugin {id} {text}");
                self.logs.sink(id.as_str()).line(OWN, &text);
                self.plugin_input(id, Input::Unresponsive(time));
            }
            Some(beat @ (Beat::Ask | Beat::AskAgain(_))) => {
                if let Beat::AskAgain(time) = beat {
                    tracing::warn!("plugin {id} has not answered for {} s", time.as_secs());
                }
                let asked = self.tell_netcore(AdminRequest::CheckSession { launch });
                let running = self.plugins.get_mut(id).and_then(|plugin| plugin.running.as_mut());
                let Some(running) = running else { return };
                match (asked, &mut running.pulse) {
                    (None, Some(pulse)) => pulse.excuse(now),
                    (asked, _) => running.asked = asked,
                }
            }
            None => {}
        }
    }

    /// Handles a plugin's answer.
    pub(super) fn plugin_alive(&mut self, launch: u64) {
        let running = self.plugin_of(launch).and_then(|plugin| plugin.running.as_mut());
        if let Some(pulse) = running.and_then(|running| running.pulse.as_mut()) {
            pulse.handle_answer();
        }
    }
}
