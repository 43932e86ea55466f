//! What a child is started with, and what becomes known of it.

use std::path::PathBuf;

use polypeer_ipc_protocol::transport::admin::AdminEnd;
use serde::{Deserialize, Serialize};

use super::Ended;
use crate::limits::Measure;
use crate::manifest::Limits;

/// One child to be.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Launch {
    /// The name of its control group; used once.
    pub(crate) name: String,
    /// The `polypeer` binary, whose init it gets.
    pub(crate) polypeer: PathBuf,
    /// A path in the command line of its init, by which the reaper knows it as ours where there are no control groups.
    pub(crate) mark: PathBuf,
    pub(crate) isolation: Isolation,
    pub(crate) setup: Setup,
    /// Netcore's end of the admin session.
    pub(crate) admin: Option<AdminEnd>,
    /// What its control group enforces; none for netcore.
    pub(crate) limits: Option<Limits>,
}

/// First message to the first stage: which namespaces to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Isolation {
    /// A user namespace: needed for the others when not root.
    pub(crate) user: bool,
    /// A mount and a pid namespace.
    pub(crate) process: bool,
    /// A network namespace with nothing but a loopback.
    pub(crate) network: bool,
}

/// Second message, to the second stage: what to run and how. Descriptors attached to it become 3, 4, … of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Setup {
    /// Program and arguments; a program without `/` is looked up in the `PATH` of `environment`.
    pub(crate) command: Vec<String>,
    /// Working folder.
    pub(crate) folder: PathBuf,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Folders to cover with an empty one.
    pub(crate) hidden: Vec<PathBuf>,
    /// Folders to keep in place where they lie in hidden ones.
    pub(crate) kept: Vec<Kept>,
    /// Limits that the kernel enforces per process (setrlimit(2)), each by its key in the manifest.
    pub(crate) rlimits: Vec<(String, u64)>,
    /// Most processes and threads, for where a user namespace can enforce it: there the kernel counts for it alone.
    pub(crate) processes: Option<u32>,
    /// Whether it may bind ports below 1024; all other capabilities are always dropped.
    pub(crate) low_ports: bool,
    /// Report ready once this loopback port answers.
    pub(crate) ready_port: Option<u16>,
}

/// A folder that stays visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// Whether the child may write there.
    pub(crate) writable: bool,
}

/// Events of a child.
#[derive(Debug)]
pub(crate) enum ChildEvent {
    /// It runs.
    Running { pid: i32, measures: Vec<Measure> },
    /// Its readiness port accepts connections.
    Ready,
    /// It and everything that it started have ended. Always sent, and always the last event.
    Ended(Ended),
}
