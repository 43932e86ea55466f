//! What a child is started with ([`Launch`]), and its events ([`ChildEvent`]).

use std::path::PathBuf;

use polypeer_ipc_protocol::transport::admin::AdminEnd;
use serde::{Deserialize, Serialize};

use super::Ended;
use crate::limits::Measure;
use crate::manifest::Limits;

/// What one child is started with.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Launch {
    /// The name of its control group; used once.
    pub(crate) name: String,
    /// What `ps` calls its init.
    pub(crate) title: String,
    /// A path in the command line of its init. The reaper recognises it by this where there are no control groups.
    pub(crate) mark: PathBuf,
    pub(crate) isolation: Isolation,
    pub(crate) setup: Setup,
    /// Netcore's end of the admin session.
    pub(crate) admin: Option<AdminEnd>,
    /// What its control group enforces; none for netcore.
    pub(crate) limits: Option<Limits>,
}

/// Message to the fork server, with the descriptors 0, 1 and 2 of a new init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Birth {
    /// As in [`Launch`].
    pub(crate) title: String,
    /// As in [`Launch`].
    pub(crate) mark: PathBuf,
}

/// Message to the first stage: what it joins and leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Isolation {
    /// Files of control groups that a process joins by writing 0 to them; [`super::spawn`] fills them in.
    pub(crate) groups: Vec<PathBuf>,
    /// A user namespace, which the others require unless the user is root.
    pub(crate) user: bool,
    /// A mount and a pid namespace.
    pub(crate) process: bool,
    /// A network namespace with a loopback interface only.
    pub(crate) network: bool,
}

/// Message to the second stage: what to run, and how. Descriptors attached to it become 3, 4, … of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "part of it is for the init, which is Linux's"))]
pub(crate) struct Setup {
    /// Program and arguments; a program without `/` is looked up in the `PATH` of `environment`.
    pub(crate) command: Vec<String>,
    /// Working folder.
    pub(crate) folder: PathBuf,
    /// The complete environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Folders to hide under an empty one.
    pub(crate) hidden: Vec<PathBuf>,
    /// Folders that stay visible inside hidden ones.
    pub(crate) kept: Vec<Kept>,
    /// Limits that the kernel enforces per process (setrlimit(2)), each by its key in the manifest.
    pub(crate) rlimits: Vec<(String, u64)>,
    /// Most processes and threads, for RLIMIT_NPROC: only in a user namespace does the kernel count the child alone.
    pub(crate) processes: Option<u32>,
    /// Whether it may bind ports below 1024; all other capabilities are dropped.
    pub(crate) low_ports: bool,
    /// Readiness port on the loopback interface.
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
    /// Its process is running.
    Running { pid: i32, measures: Vec<Measure> },
    /// Its readiness port accepts connections.
    Ready,
    /// It and everything that it started have ended. Always sent, and always the last event.
    Ended(Ended),
}
