//! The supervisor's part of starting a child, until its init has its orders. Blocks for some milliseconds (joining a
//! control group is slow), so [`super::watch`] calls it on a thread for blocking work.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::channel;
use super::init::SUBCOMMAND;
use super::launch::Launch;
use crate::limits::Measure;
use crate::limits::cgroup::{Leaf, Tree};

/// A child whose init has its orders.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// The first stage; it exits once it has started the second.
    pub(crate) first_stage: Child,
    /// The supervisor's end of the socket pair. Dropping it ends everything that the init started.
    pub(crate) socket: OwnedFd,
    pub(crate) leaf: Arc<Leaf>,
    pub(crate) measures: Vec<Measure>,
}

/// Errors of starting a child.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("failed to make a socket pair: {0}")]
    Socket(#[source] io::Error),
    #[error("failed to run {}: {source}", path.display())]
    Init { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Cgroup(#[from] crate::limits::cgroup::CgroupError),
    #[error("failed to send the init its orders: {0}")]
    Order(#[source] io::Error),
}

/// Starts a child; on failure nothing of it is left.
pub(crate) fn spawn(launch: Launch, tree: &Tree) -> Result<Spawned, SpawnError> {
    // 1. The control group with its limits, so that they apply from the child's first instruction.
    let leaf = Arc::new(tree.leaf(&launch.name));
    let measures = launch.limits.as_ref().map(|limits| leaf.apply(limits)).unwrap_or_default();

    // 2. The init's first stage. It waits for orders, so it runs no code of the plugin yet. It has a process group of
    //    its own, so Ctrl-C in the terminal does not reach it.
    let (ours, theirs) = channel::pair().map_err(SpawnError::Socket)?;
    let mut first_stage = Command::new(&launch.polypeer)
        .arg0(&launch.title)
        .arg(SUBCOMMAND)
        .arg(&launch.mark)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| {
            let _ = leaf.destroy();
            SpawnError::Init { path: launch.polypeer.clone(), source }
        })?;

    // 3. The init joins the group before it starts anything.
    // 4. Its orders. The second message waits in the socket for the second stage.
    let ordered = leaf.join(first_stage.id()).map_err(SpawnError::from).and_then(|()| {
        let descriptors: Vec<_> = launch.admin.iter().map(AsFd::as_fd).collect();
        channel::send(ours.as_fd(), &launch.isolation, &[]).map_err(SpawnError::Order)?;
        channel::send(ours.as_fd(), &launch.setup, &descriptors).map_err(SpawnError::Order)
    });
    if let Err(error) = ordered {
        drop(ours);
        let _ = first_stage.kill();
        let _ = first_stage.wait();
        let _ = leaf.destroy();
        return Err(error);
    }
    Ok(Spawned { first_stage, socket: ours, leaf, measures })
}
