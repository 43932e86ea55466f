//! Takes a [`Sample`] of the node.

use super::Daemon;
use super::requests::STATUS_TIME;
use crate::control::sample::{PluginUse, ProcessUse, Sample};
use crate::limits::{Usage, of_process};
use crate::supervise::PluginStatus;

impl Daemon {
    pub(super) async fn sample(&self) -> Sample {
        let status = self.status().await;
        // A network core that does not answer costs the traffic and nothing else.
        let plugins = match tokio::time::timeout(STATUS_TIME, self.supervisor.plugins()).await {
            Ok(plugins) => plugins,
            Err(_elapsed) => self.supervisor.plugins_without_traffic().await,
        };
        Sample {
            daemon: process_use(of_process(std::process::id())),
            netcore: status.netcore.pid.map(|pid| process_use(of_process(pid))).unwrap_or_default(),
            status,
            plugins: plugins.into_iter().map(plugin_use).collect(),
        }
    }
}

fn process_use(usage: Usage) -> ProcessUse {
    ProcessUse { memory_bytes: usage.memory_bytes, processor_us: usage.cpu_us }
}

fn plugin_use(plugin: PluginStatus) -> PluginUse {
    PluginUse {
        state: plugin.state.as_str().into(),
        restarts: plugin.restarts.into(),
        usage: plugin.usage,
        id: plugin.id,
    }
}
