//! Commands to the supervisor's task, each with the channel for its reply.

use std::time::Duration;

use polypeer_ipc_protocol::admin::AdminResponse;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::PluginId;
use polypeer_ipc_protocol::settings::DiscoverySettings;
use tokio::sync::oneshot;

use super::{LimitError, NetcoreStatus, OperatorSession, PluginSpec, PluginStatus};
use crate::config::LogSettings;
use crate::manifest::Limits;

pub(super) type Reply<T> = oneshot::Sender<T>;
pub(super) type Done = Reply<Result<(), Failure>>;

/// A command from the handle to the task.
#[derive(Debug)]
pub(super) enum Command {
    Add(Box<PluginSpec>, Done),
    Remove(PluginId, Done),
    Start(PluginId, Done),
    Stop(PluginId, Done),
    SetLimits(PluginId, Box<Limits>, Reply<Result<(), LimitError>>),
    DeleteLog(PluginId, Reply<()>),
    /// Replies with the receiver of netcore's response, if netcore is running.
    SetGrants(PluginId, Box<Grants>, Reply<Result<Option<oneshot::Receiver<AdminResponse>>, Failure>>),
    Plugins(Reply<Vec<PluginStatus>>),
    Netcore(Reply<NetcoreStatus>),
    Operator(Reply<Result<OperatorSession, Failure>>),
    OperatorGone(u64),
    Shutdown(Duration, Reply<()>),
    /// What netcore logs.
    SetLog(Box<LogSettings>, Reply<()>),
    /// The nodes that netcore begins with.
    SetSeeds(Box<DiscoverySettings>, Reply<()>),
}
