//! The part of the supervisor's task that stops everything: plugins before those they require, then netcore, then what
//! is left, each with a time limit.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::AdminRequest;
use polypeer_ipc_protocol::ids::PluginId;
use tokio::task::spawn_blocking;

use super::Task;
use crate::supervise::State;
use crate::supervise::control::Reply;
use crate::supervise::lifecycle::Input;
use crate::supervise::order::stoppable;
use crate::supervise::plugin::Plugin;

/// Netcore's share of the time for a shutdown, at most.
const NETCORE_GRACE: Duration = Duration::from_secs(2);
/// Time after the deadline of a shutdown until the task ends, whatever is left.
const LAST_CALL: Duration = Duration::from_secs(5);

/// A shutdown in progress.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) deadline: Instant,
    replies: Vec<Reply<()>>,
    pub(super) killed: bool,
    netcore_told: bool,
}

impl Ending {
    /// The next moment to act.
    pub(super) fn due(&self) -> Instant {
        if self.killed { self.deadline + LAST_CALL } else { self.deadline }
    }
}

impl Task {
    /// Begins a shutdown, or adds a reply to the one in progress.
    pub(super) fn end(&mut self, grace: Duration, reply: Option<Reply<()>>) {
        let deadline = Instant::now() + grace;
        let ending = self.ending.get_or_insert_with(|| Ending {
            deadline,
            replies: Vec::new(),
            killed: false,
            netcore_told: false,
        });
        ending.deadline = ending.deadline.min(deadline);
        ending.replies.extend(reply);
        self.plugins.values_mut().for_each(|plugin| plugin.waits_until = None);
        // The operator's commands hear first that the node stops: what follows looks to them like failures.
        for number in std::mem::take(&mut self.operators).into_keys() {
            drop(self.tell_netcore(AdminRequest::RemoveLaunch { launch: number }));
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Stops plugins that no running plugin requires; once no plugin is left, netcore.
    pub(super) fn go_on_ending(&mut self) {
        let idle = |plugin: &&mut Plugin| plugin.running.is_none() && plugin.life.state() != State::Failed;
        for plugin in self.plugins.values_mut().filter(idle) {
            // A plugin in backoff must not be restarted.
            plugin.life.handle(Instant::now(), 0.0, Input::Stop);
        }
        let running: BTreeSet<PluginId> = self
            .plugins
            .values()
            .filter(|plugin| plugin.running.is_some())
            .map(|plugin| plugin.spec.id().clone())
            .collect();
        for id in stoppable(&self.needs(), &running) {
            self.plugin_input(&id, Input::Stop);
        }
        let Some(ending) = self.ending.as_mut().filter(|ending| running.is_empty() && !ending.netcore_told) else {
            return;
        };
        ending.netcore_told = true;
        let grace = ending.deadline.saturating_duration_since(Instant::now()).min(NETCORE_GRACE);
        let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        // Netcore ends its session after this, and is terminated if it does not exit.
        drop(self.tell_netcore(AdminRequest::Shutdown { grace_ms }));
        if self.netcore.life.state() != State::Ready {
            self.netcore_input(Input::Stop);
        } else {
            self.netcore.life.stopping(Instant::now() + grace + Duration::from_secs(1));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let Some(ending) = &self.ending else { return false };
        let down = self.netcore.is_down() && self.plugins.values().all(|plugin| plugin.running.is_none());
        down || Instant::now() > ending.deadline + LAST_CALL
    }

    pub(super) async fn finish(mut self) {
        self.outlets.link.send_replace(None);
        self.children.abort_all();
        self.host.finish().await;
        let logs = self.logs.clone();
        let _ = spawn_blocking(move || logs.flush()).await;
        for reply in self.ending.into_iter().flat_map(|ending| ending.replies) {
            let _ = reply.send(());
        }
    }
}
