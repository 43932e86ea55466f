//! Whether all is well: the problems that the operator should act on, each with a remedy, for the first line of
//! `status` and for the metrics.

use crate::control::documents::{ProblemDocument, StatusDocument};
use crate::supervise::{PluginStatus, State};

/// What to do about [`lost`].
pub(super) const LOST_REMEDY: &str = "changes are refused; stop the daemon with `polypeer shutdown`, put the home back \
                                      from a backup, and start it again";

/// The problem that files of the home were removed or replaced under a daemon that still has them: `state.db`, of
/// which a change would not last, and the node's key.
pub(super) fn lost(has_store: bool, has_key: bool) -> Option<String> {
    let store = (!has_store).then_some("state.db (installed plugins, limits, names of peers)");
    let key = (!has_key).then_some("identity.key (the id of this node)");
    let lost: Vec<_> = store.into_iter().chain(key).collect();
    let told = || format!("removed or replaced while the daemon runs, and lost at its next start: {}", lost.join(", "));
    (!lost.is_empty()).then(told)
}

/// The problems of a node, the most important first. `lost` is one of them.
pub(super) fn problems(
    status: &StatusDocument,
    plugins: &[PluginStatus],
    lost: Option<String>,
) -> Vec<ProblemDocument> {
    let mut problems = Vec::new();
    let mut add = |problem: String, remedy: String| problems.push(ProblemDocument { problem, remedy });
    if let Some(lost) = lost {
        add(lost, LOST_REMEDY.into());
    }
    match status.netcore.state.as_str() {
        "ready" if status.peers.is_none() => {
            add(
                "the network core does not answer".into(),
                "`polypeer doctor` says more; else restart the daemon".into(),
            );
        }
        "ready" => {}
        state => add(format!("the network core is {state}"), "`polypeer doctor` says more".into()),
    }
    for plugin in plugins {
        let reason = plugin.exit_reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let what = match plugin.state {
            State::Failed => format!("the plugin {} failed{reason}", plugin.id),
            State::Ready if plugin.note.is_some() => {
                format!("the plugin {}: {}", plugin.id, plugin.note.as_deref().unwrap_or_default())
            }
            State::Backoff => format!("the plugin {} is restarted after a pause{reason}", plugin.id),
            _ => continue,
        };
        add(what, format!("`polypeer plugin logs {}` shows its output", plugin.id));
    }
    for warning in status.warnings.iter().filter(|text| *text != super::SEED_ONLY && *text != super::NOT_ANSWERING) {
        add(warning.clone(), "`polypeer doctor` says more".into());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::documents::{NetcoreDocument, PeerCounts};

    fn healthy() -> StatusDocument {
        StatusDocument {
            node_id: None,
            version: String::new(),
            uptime_s: 0,
            listen: None,
            reach: "unknown".into(),
            netcore: NetcoreDocument { state: "ready".into(), ..Default::default() },
            peers: Some(PeerCounts { connected: 0, known: 0 }),
            sources: None,
            traffic: None,
            plugins: Vec::new(),
            problems: Vec::new(),
            metrics: None,
            warnings: vec![super::super::SEED_ONLY.into()],
            counters: std::collections::BTreeMap::new(),
            offenders: Vec::new(),
        }
    }

    fn plugin(state: State) -> PluginStatus {
        PluginStatus {
            id: "chat".parse().expect("an id"),
            state,
            pid: None,
            restarts: 0,
            exit_reason: Some("exited with status 1".into()),
            note: None,
            last_line: None,
            too_tight: None,
            usage: crate::supervise::UsageStatus::default(),
            confinement: Vec::new(),
        }
    }

    #[test]
    fn node_at_rest_has_no_problem() {
        let plugins = [State::Ready, State::Stopped, State::Idle, State::Starting].map(plugin);
        assert_eq!(problems(&healthy(), &plugins, lost(true, true)), []);
    }

    #[test]
    fn each_problem_is_named_with_its_reason_and_what_to_do() {
        let mut status = healthy();
        status.netcore.state = "backoff".into();
        status.warnings.push("the port is taken".into());
        let found = problems(&status, &[plugin(State::Failed)], None);
        let texts: Vec<_> = found.iter().map(|found| found.problem.as_str()).collect();
        let expected =
            ["the network core is backoff", "the plugin chat failed: exited with status 1", "the port is taken"];
        assert_eq!(texts, expected);
        assert!(found[1].remedy.contains("polypeer plugin logs chat"));
    }

    #[test]
    fn what_was_removed_under_the_daemon_comes_first_and_is_named() {
        let found = problems(&healthy(), &[plugin(State::Failed)], lost(false, false));
        assert!(
            found[0]
                .problem
                .ends_with("state.db (installed plugins, limits, names of peers), identity.key (the id of this node)")
        );
        assert_eq!((found.len(), found[0].remedy.as_str()), (2, LOST_REMEDY));
        assert!(lost(true, false).is_some_and(|text| !text.contains("state.db")));
    }
}
