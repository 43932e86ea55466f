//! Every metric, declared once: the page, and the test of `docs/metrics.md`, follow from this table. Names and labels
//! are stable.

use crate::control::sample::{ProcessUse, Sample};

/// Labels' values and the value.
type Value = (Vec<String>, f64);

/// One metric.
pub(super) struct Metric {
    /// As in a query; a counter's ends in `_total`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub(super) help: &'static str,
    pub(super) values: fn(&Sample) -> Vec<Value>,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A total that only grows, until its process starts again.
    Counter,
    Gauge,
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Sample) -> Vec<Value>,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, values }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Sample) -> Vec<Value>,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, values }
}

/// All metrics, in the order of the page.
pub(super) const METRICS: &[Metric] = &[
    gauge("polypeer_build_info", &["version"], "Version of Polypeer; always 1", |sample| {
        vec![(vec![sample.status.version.clone()], 1.0)]
    }),
    gauge("polypeer_uptime_seconds", &[], "Time since the daemon started", |sample| one(sample.status.uptime_s)),
    gauge("polypeer_problems", &[], "Problems that `polypeer status` names", |sample| {
        one(sample.status.problems.len() as u64)
    }),
    gauge("polypeer_peers", &["state"], "Peers: connected ones, and all that are known", |sample| {
        let Some(peers) = &sample.status.peers else { return Vec::new() };
        vec![labelled("connected", peers.connected), labelled("known", peers.known)]
    }),
    gauge(
        "polypeer_reach_info",
        &["reach"],
        "How the node is reached: public, mapped, punchable, relayed or unknown; always 1",
        |sample| vec![labelled(&sample.status.reach, 1)],
    ),
    counter("polypeer_traffic_bytes_total", &["direction"], "UDP payload since the network core started", |sample| {
        let Some(traffic) = &sample.status.traffic else { return Vec::new() };
        vec![labelled("sent", traffic.sent_bytes), labelled("received", traffic.received_bytes)]
    }),
    gauge(
        "polypeer_netcore_statistic",
        &["name"],
        "What the network core counts or holds, by the names of `counters` in `polypeer status --json`",
        |sample| {
            let counters = sample.status.counters.iter().filter(|(name, _)| !name.contains('.'));
            counters.map(|(name, count)| labelled(name, *count)).collect()
        },
    ),
    gauge(
        "polypeer_netcore_window_bytes",
        &["plugin"],
        "Bytes that the network core holds for streams of a plugin",
        |sample| {
            let counters = sample.status.counters.iter();
            counters.filter_map(|(name, bytes)| Some(labelled(name.strip_prefix(WINDOW)?, *bytes))).collect()
        },
    ),
    gauge("polypeer_netcore_up", &[], "Whether the network core is ready: 1 or 0", |sample| {
        one(u64::from(sample.status.netcore.state == "ready"))
    }),
    counter(
        "polypeer_netcore_restarts_total",
        &[],
        "Restarts of the network core since the daemon started",
        |sample| one(sample.status.netcore.restarts),
    ),
    gauge(
        "polypeer_process_memory_bytes",
        &["process"],
        "Resident memory of the daemon and of the network core",
        |sample| of_processes(sample, |process| process.memory_bytes.map(|bytes| bytes as f64)),
    ),
    counter(
        "polypeer_process_cpu_seconds_total",
        &["process"],
        "Processor time of the daemon and of the network core",
        |sample| of_processes(sample, |process| process.processor_us.map(|us| us as f64 / 1e6)),
    ),
    gauge(
        "polypeer_source_peers",
        &["source"],
        "Peers that a discovery source has found since the network core started",
        |sample| {
            let sources = sample.status.sources.iter().flatten();
            sources.map(|source| labelled(&source.name, source.found)).collect()
        },
    ),
    gauge("polypeer_source_failing", &["source"], "Whether an enabled discovery source fails: 1 or 0", |sample| {
        let sources = sample.status.sources.iter().flatten().filter(|source| source.enabled);
        sources.map(|source| labelled(&source.name, u64::from(source.state == "failing"))).collect()
    }),
    gauge("polypeer_plugin_up", &["plugin"], "Whether a plugin is ready: 1 or 0", |sample| {
        sample.plugins.iter().map(|plugin| labelled(plugin.id.as_str(), u64::from(plugin.state == "ready"))).collect()
    }),
    counter(
        "polypeer_plugin_restarts_total",
        &["plugin"],
        "Restarts of a plugin after it ended on its own, since the daemon started",
        |sample| sample.plugins.iter().map(|plugin| labelled(plugin.id.as_str(), plugin.restarts)).collect(),
    ),
    gauge(
        "polypeer_plugin_memory_bytes",
        &["plugin"],
        "Memory of a plugin's processes, without the file cache that can be freed at once",
        |sample| of_plugins(sample, |usage| usage.memory_bytes.map(|bytes| bytes as f64)),
    ),
    gauge(
        "polypeer_plugin_cpu_ratio",
        &["plugin"],
        "Processor time of a plugin's processes over the latest seconds; 1 is a whole core",
        |sample| of_plugins(sample, |usage| usage.cpu_percent.map(|percent| percent / 100.0)),
    ),
    gauge("polypeer_plugin_processes", &["plugin"], "Processes and threads of a plugin", |sample| {
        of_plugins(sample, |usage| usage.pids.map(|pids| pids as f64))
    }),
    gauge("polypeer_plugin_disk_bytes", &["plugin"], "Size of a plugin's data folder", |sample| {
        of_plugins(sample, |usage| usage.disk_bytes.map(|bytes| bytes as f64))
    }),
    counter(
        "polypeer_plugin_traffic_bytes_total",
        &["plugin", "direction"],
        "Payload between a plugin and peers, since the network core started",
        |sample| {
            let lines = sample.plugins.iter().flat_map(|plugin| {
                let values = [("sent", plugin.usage.sent_bytes), ("received", plugin.usage.received_bytes)];
                values
                    .map(|(direction, bytes)| Some((vec![plugin.id.to_string(), direction.to_owned()], bytes? as f64)))
            });
            lines.flatten().collect()
        },
    ),
];

/// Before the id of a plugin, in the name of a counter.
const WINDOW: &str = "window_bytes.";

fn one(value: u64) -> Vec<Value> {
    vec![(Vec::new(), value as f64)]
}

fn labelled(label: &str, value: u64) -> Value {
    (vec![label.to_owned()], value as f64)
}

fn of_processes(sample: &Sample, value: fn(&ProcessUse) -> Option<f64>) -> Vec<Value> {
    let processes = [("daemon", &sample.daemon), ("netcore", &sample.netcore)];
    processes.into_iter().filter_map(|(name, process)| Some((vec![name.to_owned()], value(process)?))).collect()
}

fn of_plugins(sample: &Sample, value: fn(&crate::supervise::UsageStatus) -> Option<f64>) -> Vec<Value> {
    let lines = sample.plugins.iter().map(|plugin| Some((vec![plugin.id.to_string()], value(&plugin.usage)?)));
    lines.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_the_format_and_are_used_once() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("polypeer_") && !metric.help.ends_with('.'), "{}", metric.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }

    #[test]
    fn documentation_has_a_row_for_each_metric_and_no_other() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let text = std::fs::read_to_string(path).expect("docs/metrics.md");
        let found: Vec<_> = text.lines().filter(|line| line.starts_with("| `polypeer_")).collect();
        let row = |metric: &Metric| {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
        };
        let expected: Vec<_> = METRICS.iter().map(row).collect();
        assert_eq!(found, expected, "copy the rows of the right side into docs/metrics.md:\n{}\n", expected.join("\n"));
    }
}
