//! The part of the supervisor's task that changes the limits of plugins: one change at a time, on a thread that may
//! block, as the kernel takes a lower limit on memory only once it has reclaimed what is above.

use std::collections::VecDeque;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::PluginId;
use tokio::task::JoinSet;

use super::Task;
use crate::limits::{Measure, Usage};
use crate::manifest::Limits;
use crate::manifest::values::shown_size;
use crate::process::Watched;
use crate::supervise::control::Reply;
use crate::supervise::plugin::Plugin;
use crate::supervise::{LimitError, PluginSpec, unknown};

/// Most changes that wait: the handle's queue of commands, and a late change of as many plugins.
const MAX_CHANGES: usize = 128;

/// A change of one plugin's limits.
#[derive(Debug)]
pub(super) struct Change {
    plugin: PluginId,
    /// None: those that it was given while it was being started.
    asked: Option<(Limits, Reply<Result<(), LimitError>>)>,
}

/// Changes that wait, and the one that is being made.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: VecDeque<Change>,
    pub(super) making: JoinSet<Made>,
}

/// What became of a change on its thread.
#[derive(Debug)]
pub(super) struct Made {
    change: Change,
    limits: Limits,
    /// The launch that it was made for.
    launch: u64,
    /// What was tried, in order, a measure per limit; nothing if the launch was not that far.
    measures: Vec<Measure>,
    result: Result<(), LimitError>,
}

impl Change {
    pub(super) fn asked(plugin: PluginId, limits: Limits, reply: Reply<Result<(), LimitError>>) -> Self {
        Self { plugin, asked: Some((limits, reply)) }
    }

    pub(super) fn late(plugin: PluginId) -> Self {
        Self { plugin, asked: None }
    }

    fn answer(self, result: Result<(), LimitError>) {
        match (self.asked, result) {
            (Some((_, reply)), result) => drop(reply.send(result)),
            (None, Err(problem)) => tracing::error!("plugin {} runs with other limits: {problem}", self.plugin),
            (None, Ok(())) => {}
        }
    }
}

impl Task {
    /// Changes a plugin's limits, at once if it runs; all of them or none.
    pub(super) fn change_limits(&mut self, change: Change) {
        if self.changes.waiting.len() >= MAX_CHANGES {
            let text = format!("{MAX_CHANGES} changes of limits wait already; try again in a moment");
            return change.answer(Err(Failure::new(ErrorCode::Busy, text).into()));
        }
        self.changes.waiting.push_back(change);
        self.make_changes();
    }

    /// Begins the next change, unless one is being made.
    fn make_changes(&mut self) {
        while self.changes.making.is_empty()
            && let Some(change) = self.changes.waiting.pop_front()
        {
            let Some(plugin) = self.plugins.get_mut(&change.plugin) else {
                if let Some((_, reply)) = change.asked {
                    let _ = reply.send(Err(unknown(&change.plugin).into()));
                }
                continue;
            };
            let limits = change.asked.as_ref().map_or(&plugin.spec.limits, |(limits, _)| limits).clone();
            let Some(running) = &plugin.running else {
                plugin.spec.limits = limits;
                change.answer(Ok(()));
                continue;
            };
            let (launch, watched) = (running.gateway.number, running.watched.clone());
            let (spec, confinement) = (plugin.spec.clone(), plugin.confinement.clone());
            self.changes.making.spawn_blocking(move || {
                let (measures, result) = make(&watched, &limits, &spec, &confinement);
                Made { change, limits, launch, measures, result }
            });
        }
    }

    /// Records what became of a change, unless its thread failed, and begins the next.
    pub(super) fn on_change(&mut self, made: Option<Made>) {
        if let Some(made) = made {
            match self.plugin_of(made.launch) {
                Some(plugin) if made.applies_to(plugin) => made.record(plugin),
                // What runs by now, if anything, was started with the earlier limits.
                _ => self.changes.waiting.push_front(made.change),
            }
        }
        self.make_changes();
    }
}

impl Made {
    /// Not if it came before the launch had a control group, which it has by now.
    fn applies_to(&self, plugin: &Plugin) -> bool {
        self.result.is_err() || !self.measures.is_empty() || plugin.pid().is_none()
    }

    fn record(self, plugin: &mut Plugin) {
        if self.result.is_ok() {
            plugin.spec.limits = self.limits;
            if let Some(running) = &mut plugin.running {
                running.limits_late = self.measures.is_empty();
            }
        }
        for measure in self.measures {
            match plugin.confinement.iter_mut().find(|old| old.measure == measure.measure) {
                // Why this machine cannot apply it at all is told already.
                Some(old) if !old.applied && !measure.applied => {}
                Some(old) => *old = measure,
                None => plugin.confinement.push(measure),
            }
        }
        self.change.answer(self.result);
    }
}

/// Applies limits to a launch. Blocks. On failure those of `spec`, which were in force a moment ago, are applied again:
/// what was applied of the new ones must not stay.
fn make(
    watched: &Watched,
    limits: &Limits,
    spec: &PluginSpec,
    confinement: &[Measure],
) -> (Vec<Measure>, Result<(), LimitError>) {
    if let Some((_, used)) = watched.usage()()
        && let Err(error) = check_use(&used, limits, spec)
    {
        return (Vec::new(), Err(error));
    }
    let mut measures = watched.limit(limits);
    let problems = problems(&measures, confinement);
    if problems.is_empty() {
        return (measures, Ok(()));
    }
    measures.extend(watched.limit(&spec.limits));
    (measures, Err(LimitError::NotApplied { plugin: spec.id().clone(), problem: problems.join("; ") }))
}

/// What was applied before and could not be changed; what this machine cannot apply at all is known from the
/// confinement.
fn problems(measures: &[Measure], confinement: &[Measure]) -> Vec<String> {
    let was_applied = |of: &Measure| confinement.iter().any(|old| old.measure == of.measure && old.applied);
    let failed = measures.iter().filter(|measure| !measure.applied && was_applied(measure));
    failed.map(|one| format!("{}: {}", one.measure, one.why_not.as_deref().unwrap_or("not applied"))).collect()
}

/// Fails if a limit is lowered below what is used.
fn check_use(used: &Usage, limits: &Limits, spec: &PluginSpec) -> Result<(), LimitError> {
    let (old, plugin) = (&spec.limits, spec.id());
    let below = |used: Option<u64>, asked: u64, kept: u64, shown: fn(u64) -> String| match used {
        Some(used) if asked < kept && asked < used => Err(LimitError::BelowUse {
            plugin: plugin.clone(),
            used: shown(used),
            asked: shown(asked),
            kept: shown(kept),
        }),
        _ => Ok(()),
    };
    below(used.memory_bytes, limits.memory_bytes, old.memory_bytes, |bytes| {
        format!("{} of memory", shown_size(bytes))
    })?;
    below(used.pids, limits.pids.into(), old.pids.into(), |pids| format!("{pids} processes and threads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_that_held_before_and_cannot_be_changed_is_a_problem() {
        let before = [Measure::applied("memory"), Measure::applied("pids"), Measure::missing("cpu", "no controller")];
        let after = [
            Measure::missing("memory", "it is busy"),
            Measure::applied("pids"),
            Measure::missing("cpu", "no controller"),
            Measure::missing("swap", "not there"),
        ];
        assert_eq!(problems(&after, &before), ["memory: it is busy"]);
    }
}
