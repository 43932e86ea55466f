//! Tells the operator in the log when a source begins to fail and when that is over: once each, however often the source
//! is asked meanwhile. [`crate::services`] starts it; what is wrong now is in the status.

use std::collections::BTreeSet;
use std::sync::Arc;

use polypeer_engine::discovery::schedule::{SourceReport, SourceState, Way};

use super::Discovery;

/// Goes on until dropped.
pub(crate) async fn run(discovery: Arc<Discovery>) {
    let mut changes = discovery.changes();
    let mut failing = BTreeSet::new();
    // Fails only when the node is gone.
    while changes.changed().await.is_ok() {
        let reports = discovery.state().schedule.report();
        for (way, problem) in news(&mut failing, reports) {
            match problem {
                Some(problem) => tracing::warn!(source = way.name(), problem, "a way to find peers does not work"),
                None => tracing::info!(source = way.name(), "a way to find peers works again"),
            }
        }
    }
}

/// Sources that fail and are not among `failing`, with the problem, and those that do not fail any more.
fn news(failing: &mut BTreeSet<Way>, reports: Vec<SourceReport>) -> Vec<(Way, Option<String>)> {
    let mut news = Vec::new();
    for SourceReport { way, state, problem, .. } in reports {
        let is_new = match state {
            SourceState::Failing => failing.insert(way),
            SourceState::Asking => false,
            SourceState::Off | SourceState::Idle | SourceState::Working => failing.remove(&way),
        };
        if is_new {
            news.push((way, problem.filter(|_| state == SourceState::Failing)));
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(way: Way, state: SourceState) -> SourceReport {
        let problem = (state == SourceState::Failing).then(|| "no answer".to_owned());
        SourceReport { way, state, named: 0, last: None, problem }
    }

    #[test]
    fn failure_is_told_once_and_its_end_too() {
        use SourceState::{Asking, Failing, Idle, Working};
        let mut failing = BTreeSet::new();
        let mut told = |dns, lan| news(&mut failing, vec![report(Way::Dns, dns), report(Way::Lan, lan)]);
        let problem = || Some("no answer".to_owned());
        assert_eq!(told(Idle, Asking), []);
        assert_eq!(told(Failing, Working), [(Way::Dns, problem())]);
        assert_eq!(told(Asking, Failing), [(Way::Lan, problem())]);
        assert_eq!(told(Failing, Failing), []);
        assert_eq!(told(Working, Failing), [(Way::Dns, None)]);
        assert_eq!(told(Failing, Idle), [(Way::Dns, problem()), (Way::Lan, None)]);
    }
}
