//! The document of `polypeer top`, from two samples of the node.

use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;
use serde::Serialize;

use crate::control::documents::{PeerCounts, ProblemDocument};
use crate::control::sample::{PluginUse, ProcessUse, Sample};

/// `polypeer top`: what the node and its plugins used between two samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TopDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node_id: Option<NodeId>,
    pub(super) uptime_s: u64,
    /// Time between the samples, seconds.
    pub(super) interval_s: f64,
    /// As in the status.
    pub(super) problems: Vec<ProblemDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peers: Option<PeerCounts>,
    /// UDP payload of the whole node.
    #[serde(flatten)]
    pub(super) traffic: Rates,
    /// The daemon, the network core and the plugins.
    pub(super) processes: Vec<ProcessLine>,
}

/// Bytes a second; absent when unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_bytes_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) received_bytes_per_s: Option<u64>,
}

/// One process of the node, or all those of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ProcessLine {
    /// `daemon`, `netcore` or `plugin`.
    pub(super) kind: &'static str,
    /// Id of the plugin; for the others as `kind`.
    pub(super) name: String,
    pub(super) state: String,
    /// Of one processor core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_bytes: Option<u64>,
    #[serde(flatten)]
    pub(super) traffic: Rates,
    /// Since the daemon started.
    pub(super) restarts: u64,
}

/// What was used between two samples.
pub(super) fn rates(before: &Sample, after: &Sample, interval: Duration) -> TopDocument {
    let traffic = |sample: &Sample| sample.status.traffic.as_ref().map(|all| (all.sent_bytes, all.received_bytes));
    let netcore = &after.status.netcore;
    let is_same_netcore = netcore.pid == before.status.netcore.pid;
    let mut processes = vec![
        line("daemon", "ready", 0, (before.daemon, after.daemon), interval),
        match is_same_netcore {
            true => line("netcore", &netcore.state, netcore.restarts, (before.netcore, after.netcore), interval),
            false => {
                let fresh = ProcessUse { processor_us: None, ..after.netcore };
                line("netcore", &netcore.state, netcore.restarts, (fresh, fresh), interval)
            }
        },
    ];
    processes.extend(after.plugins.iter().map(|plugin| {
        let earlier = before.plugins.iter().find(|earlier| earlier.id == plugin.id);
        plugin_line(earlier, plugin, interval)
    }));
    TopDocument {
        node_id: after.status.node_id,
        uptime_s: after.status.uptime_s,
        interval_s: (interval.as_secs_f64() * 1000.0).round() / 1000.0,
        problems: after.status.problems.clone(),
        peers: after.status.peers.clone(),
        traffic: traffic_rates(traffic(before), traffic(after), interval),
        processes,
    }
}

fn line(
    kind: &'static str,
    state: &str,
    restarts: u64,
    (before, after): (ProcessUse, ProcessUse),
    interval: Duration,
) -> ProcessLine {
    let busy = rate(before.processor_us, after.processor_us, interval).map(|us_per_s| us_per_s / 10_000.0);
    ProcessLine {
        kind,
        name: kind.into(),
        state: state.into(),
        cpu_percent: busy.map(|percent| (percent * 10.0).round() / 10.0),
        memory_bytes: after.memory_bytes,
        traffic: Rates::default(),
        restarts,
    }
}

fn plugin_line(before: Option<&PluginUse>, after: &PluginUse, interval: Duration) -> ProcessLine {
    let traffic = |plugin: &PluginUse| plugin.usage.sent_bytes.zip(plugin.usage.received_bytes);
    ProcessLine {
        kind: "plugin",
        name: after.id.to_string(),
        state: after.state.clone(),
        cpu_percent: after.usage.cpu_percent,
        memory_bytes: after.usage.memory_bytes,
        traffic: traffic_rates(before.and_then(traffic), traffic(after), interval),
        restarts: after.restarts,
    }
}

fn traffic_rates(before: Option<(u64, u64)>, after: Option<(u64, u64)>, interval: Duration) -> Rates {
    let (sent, received) = (before.map(|all| all.0), before.map(|all| all.1));
    let whole = |rate: Option<f64>| rate.map(|rate| rate.round() as u64);
    Rates {
        sent_bytes_per_s: whole(rate(sent, after.map(|all| all.0), interval)),
        received_bytes_per_s: whole(rate(received, after.map(|all| all.1), interval)),
    }
}

/// What was added in a second. Unknown without two totals, without time between them, and when a total has begun again.
fn rate(before: Option<u64>, after: Option<u64>, interval: Duration) -> Option<f64> {
    let added = after?.checked_sub(before?)?;
    (!interval.is_zero()).then(|| added as f64 / interval.as_secs_f64())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::documents::{NetcoreDocument, StatusDocument, TrafficDocument};
    use crate::supervise::UsageStatus;

    pub(in crate::cli::top) fn sample(total: u64) -> Sample {
        let usage = ProcessUse { memory_bytes: Some(1 << 20), processor_us: Some(total * 10_000) };
        Sample {
            status: StatusDocument {
                node_id: Some(NodeId([0; 32])),
                version: String::new(),
                uptime_s: 7500,
                listen: None,
                reach: "unknown".into(),
                netcore: NetcoreDocument { pid: Some(1), state: "ready".into(), ..Default::default() },
                peers: Some(PeerCounts { connected: 2, known: 5 }),
                sources: None,
                traffic: Some(TrafficDocument { sent_bytes: total << 10, received_bytes: total }),
                plugins: Vec::new(),
                problems: Vec::new(),
                metrics: None,
                warnings: Vec::new(),
                counters: std::collections::BTreeMap::new(),
                offenders: Vec::new(),
            },
            daemon: usage,
            netcore: usage,
            plugins: vec![PluginUse {
                id: "chat".parse().expect("an id"),
                state: "ready".into(),
                restarts: 1,
                usage: UsageStatus {
                    memory_bytes: Some(15 << 20),
                    cpu_percent: Some(2.5),
                    sent_bytes: Some(total),
                    received_bytes: Some(total),
                    ..UsageStatus::default()
                },
            }],
        }
    }

    #[test]
    fn rates_are_what_was_added_by_the_time() {
        let top = rates(&sample(100), &sample(300), Duration::from_secs(2));
        assert_eq!(top.traffic, Rates { sent_bytes_per_s: Some(100 << 10), received_bytes_per_s: Some(100) });
        let (daemon, plugin) = (&top.processes[0], &top.processes[2]);
        assert_eq!((daemon.cpu_percent, plugin.cpu_percent), (Some(100.0), Some(2.5)));
        assert_eq!(plugin.traffic.sent_bytes_per_s, Some(100));
        let text = serde_json::to_value(&top).expect("a document").to_string();
        assert!(text.contains("\"sent_bytes_per_s\":102400"), "{text}");
    }

    #[test]
    fn totals_that_began_again_give_no_rate() {
        let mut after = sample(10);
        after.status.netcore.pid = Some(2);
        let top = rates(&sample(300), &after, Duration::from_secs(1));
        assert_eq!((top.traffic, top.processes[1].cpu_percent), (Rates::default(), None));
        let same = rates(&sample(1), &sample(1), Duration::ZERO);
        assert_eq!(same.traffic, Rates::default());
    }
}
