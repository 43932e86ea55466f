//! Order of starting and stopping plugins by what they require. Pure.

use std::collections::{BTreeMap, BTreeSet};

use polypeer_ipc_protocol::ids::PluginId;

/// Each plugin with the plugins that it requires.
pub(super) type Needs = BTreeMap<PluginId, Vec<PluginId>>;

/// `id` and all installed plugins that it requires, directly or not, required ones first. A cycle is cut where it
/// closes.
pub(super) fn with_required(needs: &Needs, id: &PluginId) -> Vec<PluginId> {
    fn visit(needs: &Needs, id: &PluginId, seen: &mut BTreeSet<PluginId>, order: &mut Vec<PluginId>) {
        let Some(required) = needs.get(id) else { return };
        if seen.insert(id.clone()) {
            required.iter().for_each(|one| visit(needs, one, seen, order));
            order.push(id.clone());
        }
    }
    let mut order = Vec::new();
    visit(needs, id, &mut BTreeSet::new(), &mut order);
    order
}

/// Plugins of `running` that no other one of `running` requires, to stop next. All of them if all are in cycles.
pub(super) fn stoppable(needs: &Needs, running: &BTreeSet<PluginId>) -> BTreeSet<PluginId> {
    let required: BTreeSet<&PluginId> = running
        .iter()
        .flat_map(|id| needs.get(id).into_iter().flatten().filter(move |required| *required != id))
        .collect();
    let free: BTreeSet<PluginId> = running.iter().filter(|id| !required.contains(id)).cloned().collect();
    if free.is_empty() { running.clone() } else { free }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> PluginId {
        name.parse().expect("a valid id")
    }

    fn needs(pairs: &[(&str, &[&str])]) -> Needs {
        pairs.iter().map(|(of, required)| (id(of), required.iter().map(|name| id(name)).collect())).collect()
    }

    #[test]
    fn required_plugins_come_first_and_circles_end() {
        let needs = needs(&[("aa", &["bb", "gone"]), ("bb", &["cc"]), ("cc", &["aa"]), ("dd", &[])]);
        assert_eq!(with_required(&needs, &id("aa")), [id("cc"), id("bb"), id("aa")]);
    }

    #[test]
    fn plugins_are_stopped_before_what_they_require() {
        let needs = needs(&[("aa", &["bb"]), ("bb", &["cc"]), ("cc", &[]), ("dd", &["cc"])]);
        let mut running: BTreeSet<PluginId> = needs.keys().cloned().collect();
        let mut rounds = Vec::new();
        while !running.is_empty() {
            let next = stoppable(&needs, &running);
            running.retain(|id| !next.contains(id));
            rounds.push(next.into_iter().map(String::from).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(rounds, ["aa dd", "bb", "cc"]);
    }

    #[test]
    fn circle_is_stopped_all_at_once() {
        let needs = needs(&[("aa", &["bb"]), ("bb", &["aa"])]);
        let running: BTreeSet<PluginId> = needs.keys().cloned().collect();
        assert_eq!(stoppable(&needs, &running), running);
    }
}
