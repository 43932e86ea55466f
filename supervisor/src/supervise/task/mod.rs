//! The task that owns all children: it receives commands and events, passes them to each lifecycle, and waits for
//! nothing else. `commands` is its part for plugins, `limits` for changes of theirs, `network` for netcore, `health`
//! for both, `ending` for a shutdown.

mod commands;
mod ending;
mod health;
mod limits;
mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::PluginId;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::control::Command;
use super::gateway::Gateway;
use super::host::Host;
use super::lifecycle::Input;
use super::order::Needs;
use super::plugin::Plugin;
use super::usage::{ASKING, DISK_EVERY, Look, PERIOD, UNASKED_EVERY, disk_bytes};
use super::{PluginSpec, Programs, StartError, SupervisorEvent};
use crate::config::DaemonConfig;
use crate::home::Home;
use crate::log_files::{FILE_SIZE, OLD_FILES};
use crate::netcore::{AdminHandle, NetEvent};
use crate::process::launch::ChildEvent;
use crate::process::log::Logs;
use crate::ticks::ticks;
use ending::Ending;
use limits::Changes;
use network::{LOG, Netcore};

/// Most queued events of children.
const CHILD_EVENTS: usize = 256;
/// Receivers of what the task reports: subscribers, the handle, and the caller of the first start.
pub(super) struct Outlets {
    pub(super) events: broadcast::Sender<SupervisorEvent>,
    pub(super) link: watch::Sender<Option<AdminHandle>>,
    /// Used to end an operator's launch. Weak, so that the task ends when all handles are dropped.
    pub(super) commands: mpsc::WeakSender<Command>,
    pub(super) started: Option<oneshot::Sender<Result<(), StartError>>>,
}

/// Everything the supervisor's task owns.
pub(super) struct Task {
    home: Home,
    config: DaemonConfig,
    programs: Programs,
    host: Host,
    logs: Logs,
    plugins: BTreeMap<PluginId, Plugin>,
    operators: BTreeMap<u64, Gateway>,
    netcore: Netcore,
    outlets: Outlets,
    child_sender: mpsc::Sender<(u64, ChildEvent)>,
    net_sender: mpsc::Sender<(u64, NetEvent)>,
    /// Tasks that watch children; they end with this one.
    children: JoinSet<()>,
    commands: mpsc::Receiver<Command>,
    child_events: mpsc::Receiver<(u64, ChildEvent)>,
    net_events: mpsc::Receiver<(u64, NetEvent)>,
    looks: JoinSet<Vec<(u64, Look)>>,
    changes: Changes,
    rounds: u64,
    /// When the state of plugins was last asked for.
    asked: Option<Instant>,
    ending: Option<Ending>,
    has_handles: bool,
    next: u64,
}

/// A random number from 0 to 1.
pub(super) fn random() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / f64::from(u32::MAX)
}

impl Task {
    /// Prepares everything before netcore: sweeps leftovers, then starts the reaper as the first child.
    pub(super) async fn prepare(
        home: Home,
        config: DaemonConfig,
        plugins: Vec<PluginSpec>,
        programs: Programs,
        commands: mpsc::Receiver<Command>,
        outlets: Outlets,
    ) -> Result<Self, StartError> {
        let host = Host::set_up(&home, &programs).await?;
        let io = |action: &'static str, path: PathBuf| move |source| StartError::Io { action, path, source };
        let logs = Logs::start(home.logs(), FILE_SIZE, OLD_FILES).map_err(io("write to", home.logs()))?;
        let (child_sender, child_events) = mpsc::channel(CHILD_EVENTS);
        let (net_sender, net_events) = mpsc::channel(CHILD_EVENTS);
        let netcore = Netcore::new(logs.core_sink(LOG));
        let plugins = plugins.into_iter().map(|spec| (spec.id().clone(), Plugin::new(spec))).collect();
        Ok(Self {
            home,
            config,
            programs,
            host,
            logs,
            plugins,
            operators: BTreeMap::new(),
            netcore,
            outlets,
            child_sender,
            net_sender,
            children: JoinSet::new(),
            commands,
            child_events,
            net_events,
            looks: JoinSet::new(),
            changes: Changes::default(),
            rounds: 0,
            asked: None,
            ending: None,
            has_handles: true,
            next: 0,
        })
    }

    /// The next number of a launch, unique within this supervisor.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Runs until everything is down.
    pub(super) async fn run(mut self) {
        self.netcore_input(Input::Start);
        let mut round = ticks(PERIOD);
        loop {
            self.settle();
            if self.is_over() {
                break;
            }
            let due = self.due();
            tokio::select! {
                command = self.commands.recv(), if self.has_handles => match command {
                    Some(command) => self.on_command(command),
                    None => {
                        self.has_handles = false;
                        self.end(Duration::ZERO, None);
                    }
                },
                Some((number, event)) = self.child_events.recv() => self.on_child_event(number, event),
                Some((session, event)) = self.net_events.recv() => self.on_net_event(session, event),
                _ = round.tick(), if self.plugins.values().any(|plugin| plugin.running.is_some()) => self.look_around(),
                Some(looks) = self.looks.join_next() => self.on_looks(looks.unwrap_or_default()),
                Some(made) = self.changes.making.join_next() => self.on_change(made.ok()),
                Some(_ended) = self.children.join_next() => {}
                () = sleep_until(due) => self.on_time(),
            }
        }
        self.finish().await;
    }

    /// When something is due by the clock.
    fn due(&self) -> Option<Instant> {
        let lives = self.plugins.values().filter_map(|plugin| plugin.life.deadline());
        let waits = self.plugins.values().filter_map(|plugin| plugin.waits_until);
        let ending = self.ending.as_ref().map(|ending| ending.due());
        let fixed = [self.netcore.life.deadline(), self.question_due(), ending];
        lives.chain(waits).chain(fixed.into_iter().flatten()).min()
    }

    fn on_time(&mut self) {
        self.netcore_input(Input::Tick);
        let ids: Vec<PluginId> = self.plugins.keys().cloned().collect();
        for id in ids {
            self.plugin_input(&id, Input::Tick);
        }
        self.ask_for_life();
        let now = Instant::now();
        if let Some(ending) = self.ending.as_mut().filter(|ending| !ending.killed && ending.deadline <= now) {
            ending.killed = true;
            self.kill_all();
        }
    }

    fn on_child_event(&mut self, number: u64, event: ChildEvent) {
        if number == self.netcore.number {
            self.on_netcore_child(event);
        } else {
            self.on_plugin_child(number, event);
        }
    }

    /// Everything that follows from a change anywhere: starts that waited, the order of a shutdown, answers.
    fn settle(&mut self) {
        if self.ending.is_some() {
            self.go_on_ending();
        } else {
            self.start_waiting();
        }
        self.tell_changes();
    }

    fn needs(&self) -> Needs {
        self.plugins.iter().map(|(id, plugin)| (id.clone(), plugin.spec.manifest.plugin.requires.clone())).collect()
    }

    /// Looks at what everything uses, on another thread.
    fn look_around(&mut self) {
        if !self.looks.is_empty() {
            return;
        }
        let round = self.rounds;
        self.rounds += 1;
        let with_disk = round.is_multiple_of(DISK_EVERY);
        let is_asked = self.asked.is_some_and(|at| at.elapsed() < ASKING);
        let with_all = is_asked || round.is_multiple_of(UNASKED_EVERY);
        let children: Vec<_> = self
            .plugins
            .values()
            .filter_map(|plugin| {
                let running = plugin.running.as_ref().filter(|_| with_all || !plugin.meter.knows_use())?;
                let data = (with_disk || !plugin.meter.knows_disk()).then(|| plugin.data());
                Some((running.gateway.number, running.watched.usage(), data))
            })
            .collect();
        if children.is_empty() {
            return;
        }
        self.looks.spawn_blocking(move || {
            let looked = children.into_iter().filter_map(|(number, usage, data)| {
                let (at, usage) = usage()?;
                Some((number, Look { at, usage, disk_bytes: data.map(|data| disk_bytes(&data)) }))
            });
            looked.collect()
        });
    }

    fn on_looks(&mut self, looks: Vec<(u64, Look)>) {
        for (number, look) in looks {
            if let Some(plugin) = self.plugin_of(number) {
                plugin.meter.look(look);
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
