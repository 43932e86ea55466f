//! Converts the state of netcore, the supervisor and the store into the documents of `--json`.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::admin::NetStatus;
use polypeer_ipc_protocol::gateway::{Grants, PeerScope};
use polypeer_ipc_protocol::ids::NodeId;

use super::state::Recorded;
use crate::control::documents::{
    GrantsDocument, NetcoreDocument, OffenderDocument, PeerCounts, PluginDocument, PluginLine, SourceDocument,
    StatusDocument, TrafficDocument,
};
use crate::manifest::Manifest;
use crate::petname::{self, Petname};
use crate::supervise::{NetcoreStatus, PluginStatus};

/// The state of a plugin that the supervisor does not know.
const NOT_RUN: &str = "failed";

/// Adds netcore's part to the status.
pub(super) fn add_network(status: &mut StatusDocument, network: NetStatus) {
    status.node_id = Some(network.node);
    status.listen = Some(network.listen);
    status.reach = network.reach;
    status.peers = Some(PeerCounts { connected: network.connected, known: network.known });
    status.traffic = Some(TrafficDocument { sent_bytes: network.sent_bytes, received_bytes: network.received_bytes });
    let sources = network.sources.into_iter().map(|source| SourceDocument {
        name: source.name,
        enabled: source.enabled,
        last_success_s: source.last_success_s,
        found: source.found,
        state: source.state,
        problem: source.problem,
    });
    status.sources = Some(sources.collect());
    status.warnings.extend(network.warnings);
    status.counters = network.counters.into_iter().filter(|(_, count)| *count > 0).collect();
    let offenders = network.offenders.into_iter().map(|offender| OffenderDocument {
        node_id: offender.node,
        address: offender.address,
        reason: offender.reason,
        count: offender.count,
        ago_s: offender.ago_s,
    });
    status.offenders = offenders.collect();
}

pub(super) fn netcore(netcore: NetcoreStatus) -> NetcoreDocument {
    NetcoreDocument {
        pid: netcore.pid.and_then(|pid| u32::try_from(pid).ok()),
        state: netcore.state,
        restarts: netcore.restarts.into(),
        rss_bytes: netcore.rss_bytes,
        exit_reason: netcore.exit_reason,
    }
}

pub(super) fn line(recorded: &Recorded, status: Option<&PluginStatus>) -> PluginLine {
    let manifest = &recorded.spec.manifest;
    PluginLine {
        id: recorded.installed.id.clone(),
        name: manifest.shown_name().into(),
        version: manifest.plugin.version.to_string(),
        state: status.map_or(NOT_RUN, |status| status.state.as_str()).into(),
        enabled: recorded.installed.enabled,
        pid: status.and_then(pid),
        restarts: status.map_or(0, |status| status.restarts.into()),
        memory_bytes: status.and_then(|status| status.usage.memory_bytes),
        linked: recorded.spec.folder.is_symlink(),
    }
}

fn pid(status: &PluginStatus) -> Option<u32> {
    status.pid.and_then(|pid| u32::try_from(pid).ok())
}

pub(super) fn plugin(recorded: Recorded, status: Option<PluginStatus>) -> PluginDocument {
    let Recorded { installed, spec, overrides, not_enforced, names, .. } = recorded;
    let manifest = spec.manifest;
    let status = status.as_ref();
    PluginDocument {
        version: manifest.plugin.version.to_string(),
        state: status.map_or(NOT_RUN, |status| status.state.as_str()).into(),
        pid: status.and_then(pid),
        restarts: status.map_or(0, |status| status.restarts.into()),
        note: status.and_then(|status| status.note.clone()),
        exit_reason: status.and_then(|status| status.exit_reason.clone()),
        grants: grants(&manifest, &spec.grants, &names),
        limits: spec.limits.to_json().into(),
        overrides: overrides.into_iter().collect(),
        usage: status.map(|status| status.usage).unwrap_or_default(),
        confinement: status.map(|status| status.confinement.clone()).unwrap_or_default(),
        not_enforced,
        warnings: manifest.warnings(),
        name: manifest.shown_name().into(),
        description: manifest.plugin.description,
        enabled: installed.enabled,
        source: installed.source,
        linked: spec.folder.is_symlink(),
        digest: installed.digest,
        id: installed.id,
    }
}

/// The grants under their own names; `peers` is `any` or a list of node ids.
fn grants(manifest: &Manifest, grants: &Grants, names: &BTreeMap<NodeId, Petname>) -> GrantsDocument {
    let serde_json::Value::Object(mut granted) = serde_json::to_value(grants).expect("grants are plain data") else {
        unreachable!("grants are a structure");
    };
    let mut in_words = manifest.permissions.in_words();
    let peers = match &grants.peers {
        PeerScope::Any => "any".into(),
        PeerScope::List(peers) => {
            in_words.extend(peers.iter().map(|peer| {
                let peer = petname::shown(peer, names.get(peer));
                format!("{peer} is on your list of peers")
            }));
            serde_json::to_value(peers).expect("node ids are text")
        }
    };
    let network = serde_json::to_value(manifest.permissions.network).expect("a name");
    granted.extend([("peers".to_owned(), peers), ("network".to_owned(), network)]);
    GrantsDocument { granted, in_words }
}
