//! Log of sources that begin to fail or to work again: one message each, however often the source is asked meanwhile.
//! [`crate::services`] starts it; the status shows the present state.

use std::collections::BTreeSet;
use std::sync::Arc;

use polypeer_engine::discovery::schedule::{SourceReport, SourceState};
use polypeer_engine::source::Source;

use super::Discovery;

/// Runs until dropped.
pub(crate) async fn run(discovery: Arc<Discovery>) {
    let mut changes = discovery.changes();
    let mut failing = BTreeSet::new();
    // Fails only when the node is gone.
    while changes.changed().await.is_ok() {
        let reports = discovery.state().schedule.report();
        for (source, problem) in news(&mut failing, reports) {
            match problem {
                Some(problem) => tracing::warn!(source = source.name(), problem, "a discovery source fails"),
                None => tracing::info!(source = source.name(), "a discovery source works again"),
            }
        }
    }
}

/// Sources that fail and are not in `failing`, with the problem, and those of `failing` that no longer fail.
fn news(failing: &mut BTreeSet<Source>, reports: Vec<SourceReport>) -> Vec<(Source, Option<String>)> {
    let mut news = Vec::new();
    for SourceReport { source, state, problem, .. } in reports {
        let is_new = match state {
            SourceState::Failing => failing.insert(source),
            SourceState::Asking => false,
            SourceState::Off | SourceState::Idle | SourceState::Working => failing.remove(&source),
        };
        if is_new {
            news.push((source, problem.filter(|_| state == SourceState::Failing)));
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(source: Source, state: SourceState) -> SourceReport {
        let problem = (state == SourceState::Failing).then(|| "no answer".to_owned());
        SourceReport { source, state, named: 0, last: None, problem }
    }

    #[test]
    fn failure_is_told_once_and_its_end_too() {
        use SourceState::{Asking, Failing, Idle, Working};
        let mut failing = BTreeSet::new();
        let mut told = |dns, lan| news(&mut failing, vec![report(Source::Dns, dns), report(Source::Lan, lan)]);
        let problem = || Some("no answer".to_owned());
        assert_eq!(told(Idle, Asking), []);
        assert_eq!(told(Failing, Working), [(Source::Dns, problem())]);
        assert_eq!(told(Asking, Failing), [(Source::Lan, problem())]);
        assert_eq!(told(Failing, Failing), []);
        assert_eq!(told(Working, Failing), [(Source::Dns, None)]);
        assert_eq!(told(Failing, Idle), [(Source::Dns, problem()), (Source::Lan, None)]);
    }
}
