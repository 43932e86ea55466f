//! One plugin in the supervisor's task: its manifest, lifecycle, launch, and the commands that wait for a change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use polypeer_ipc_protocol::admin::AdminResponse;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use tokio::sync::oneshot;

use super::control::Done;
use super::gateway::Gateway;
use super::host::NOT_TAKEN;
use super::lifecycle::{Habits, Lifecycle, State};
use super::pulse::{MISSES, Pulse};
use super::usage::Meter;
use super::{PluginSpec, PluginStatus};
use crate::limits::Measure;
use crate::manifest::values::shown_size;
use crate::manifest::{Network, Permissions};
use crate::process::Watched;
use crate::process::log::Sink;

/// Most commands that wait for one plugin to start or stop.
const MAX_WAITING: usize = 32;

/// What exists while its process runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Shared with the thread that prepares its launch.
    pub(super) gateway: Arc<Gateway>,
    pub(super) watched: Watched,
    pub(super) pid: Option<i32>,
    /// The questions for `health.live = "session"`.
    pub(super) pulse: Option<Pulse>,
    /// Netcore's response to the latest of them.
    pub(super) asked: Option<oneshot::Receiver<AdminResponse>>,
    /// Whether its limits were changed while it was being started, and are not applied yet.
    pub(super) limits_late: bool,
}

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Its process is running.
    Up,
    /// All of its processes have ended.
    Down,
}

#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) spec: PluginSpec,
    pub(super) life: Lifecycle,
    pub(super) running: Option<Running>,
    pub(super) confinement: Vec<Measure>,
    pub(super) meter: Meter,
    /// The log of its latest launch.
    pub(super) sink: Option<Sink>,
    /// Set while it waits for the plugins that it requires: it starts at this time at the latest.
    pub(super) waits_until: Option<Instant>,
    /// Whether it is deleted once it has stopped.
    pub(super) leaving: bool,
    /// The state last reported to subscribers.
    pub(super) told: Option<(State, Option<String>)>,
    waiting: Vec<(Want, Done)>,
}

impl Plugin {
    pub(super) fn new(spec: PluginSpec) -> Self {
        let habits = Habits {
            policy: spec.manifest.restart.policy,
            gives_up: true,
            stop_timeout: spec.manifest.health.stop_timeout,
            ready: spec.manifest.ready(),
            ready_timeout: spec.manifest.health.ready_timeout,
        };
        Self {
            spec,
            life: Lifecycle::new(habits),
            running: None,
            confinement: Vec::new(),
            meter: Meter::default(),
            sink: None,
            waits_until: None,
            leaving: false,
            told: None,
            waiting: Vec::new(),
        }
    }

    /// Its state; `Starting` while it waits for others.
    pub(super) fn state(&self) -> State {
        if self.waits_until.is_some() { State::Starting } else { self.life.state() }
    }

    pub(super) fn is_down(&self) -> bool {
        self.running.is_none() && !self.state().has_process()
    }

    pub(super) fn pid(&self) -> Option<i32> {
        self.running.as_ref().and_then(|running| running.pid)
    }

    pub(super) fn pulse(&self) -> Option<&Pulse> {
        self.running.as_ref().and_then(|running| running.pulse.as_ref())
    }

    /// What it is in the middle of, or what is amiss.
    fn note(&self) -> Option<String> {
        if let Some(until) = self.waits_until {
            let left = until.saturating_duration_since(Instant::now()).as_secs();
            return Some(format!("waits for the plugins it requires, {left} s at most"));
        }
        let silence = self.pulse().filter(|_| self.life.state() == State::Ready).and_then(|pulse| {
            let most = (self.spec.manifest.health.live_every * MISSES).as_secs();
            match pulse.silent() {
                Some(time) => Some(format!("has not answered for {} s; killed after {most} s", time.as_secs())),
                None if pulse.never_answered() => Some("does not answer liveness checks: its SDK knows none".into()),
                None => None,
            }
        });
        silence.or_else(|| self.life.waiting(Instant::now()))
    }

    pub(super) fn status(&self) -> PluginStatus {
        PluginStatus {
            id: self.spec.id().clone(),
            state: self.state(),
            pid: self.pid(),
            restarts: self.life.restarts(),
            exit_reason: self.life.reason().map(str::to_owned),
            note: self.note(),
            too_tight: self.too_tight(),
            last_line: self.sink.as_ref().and_then(|sink| sink.tail().pop()),
            usage: self.meter.status(),
            confinement: self.confinement.clone(),
        }
    }

    /// The measures of a start, and those that this version lacks.
    pub(super) fn set_confinement(&mut self, measures: Vec<Measure>) {
        self.confinement = measures;
        self.confinement.push(Measure::applied("clean_environment"));
        self.confinement.push(Measure::applied("closed_descriptors"));
        let Permissions { network, .. } = &self.spec.manifest.permissions;
        if *network == Network::Internet {
            let why =
                "network = \"internet\" is the host's network in this version, loopback and private ranges included";
            self.confinement.push(Measure::missing("network_namespace", why));
        }
        for (measure, why) in NOT_TAKEN {
            self.confinement.push(Measure::missing(measure, why));
        }
    }

    /// Why it may not start again: limits below what it has used before, in words.
    pub(super) fn too_tight(&self) -> Option<String> {
        let (memory, pids) = self.meter.most();
        let limits = &self.spec.limits;
        let mut used = Vec::new();
        if limits.memory_bytes < memory {
            used.push(format!("{} of memory", shown_size(memory)));
        }
        if u64::from(limits.pids) < pids {
            used.push(format!("{pids} processes and threads"));
        }
        let used = used.join(" and ");
        (!used.is_empty()).then(|| format!("it has used {used} before: with less it may not start"))
    }

    pub(super) fn wait(&mut self, want: Want, done: Done) {
        self.waiting.retain(|(_, done)| !done.is_closed());
        if self.waiting.len() >= MAX_WAITING {
            let text = format!("{MAX_WAITING} callers already wait for {}", self.spec.id());
            let _ = done.send(Err(Failure::new(ErrorCode::Busy, text)));
        } else {
            self.waiting.push((want, done));
        }
    }

    /// Answers the commands whose wait has ended.
    pub(super) fn answer(&mut self) {
        let (up, down) = (self.pid().is_some() && !matches!(self.state(), State::Stopping), self.is_down());
        if !up && !down {
            return;
        }
        let failure = match self.state() {
            State::Backoff | State::Failed => Some(self.life.reason().unwrap_or("it failed").to_owned()),
            // It started and ended without a failure.
            _ => None,
        };
        for (want, done) in std::mem::take(&mut self.waiting) {
            let result = match (want, up) {
                (Want::Up, true) | (Want::Down, false) => Ok(()),
                (Want::Up, false) => failure.clone().map_or(Ok(()), |why| {
                    Err(Failure::new(ErrorCode::Internal, format!("{} does not run: {why}", self.spec.id())))
                }),
                (Want::Down, true) => {
                    self.waiting.push((want, done));
                    continue;
                }
            };
            let _ = done.send(result);
        }
    }

    /// Its data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.spec.data.clone()
    }
}
