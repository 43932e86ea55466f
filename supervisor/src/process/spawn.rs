//! The supervisor's part of starting a child, until its init has its orders. Blocks while the kernel makes its control
//! groups, so [`super::watch`] calls it on a thread for blocking work.

use std::io::{self, PipeReader, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::channel;
use super::fork_server::ForkServer;
use super::launch::{Birth, Launch};
use crate::limits::Measure;
use crate::limits::cgroup::{Leaf, Tree};

/// What all children of one home share.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The folders of control groups.
    pub(crate) tree: Tree,
    /// What inits are forked from.
    pub(crate) inits: ForkServer,
}

/// A child whose init has its orders.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// The supervisor's end of the socket pair. Dropping it ends everything that the init started.
    pub(crate) socket: OwnedFd,
    pub(crate) output: PipeReader,
    pub(crate) errors: PipeReader,
    pub(crate) leaf: Arc<Leaf>,
    pub(crate) measures: Vec<Measure>,
}

/// Errors of starting a child.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("failed to make a socket pair or a pipe: {0}")]
    Socket(#[source] io::Error),
    #[error("failed to start its init: {0}")]
    Init(#[source] io::Error),
    #[error("failed to send the init its orders: {0}")]
    Order(#[source] io::Error),
}

/// Starts a child; on failure nothing of it is left.
pub(crate) fn spawn(launch: Launch, groups: &Groups) -> Result<Spawned, SpawnError> {
    // 1. The control group with its limits, so that they apply from the child's first instruction.
    let leaf = Arc::new(groups.tree.leaf(&launch.name));
    let measures = launch.limits.as_ref().map(|limits| leaf.apply(limits)).unwrap_or_default();
    let started = start(launch, &leaf, &groups.inits);
    let (socket, [output, errors]) = started.inspect_err(|_| drop(leaf.destroy()))?;
    Ok(Spawned { socket, output, errors, leaf, measures })
}

/// Returns the supervisor's ends of the socket pair and of two pipes.
fn start(launch: Launch, leaf: &Leaf, inits: &ForkServer) -> Result<(OwnedFd, [PipeReader; 2]), SpawnError> {
    // 2. The init's first stage. It waits for orders, so it runs no code of the plugin yet.
    let (ours, theirs) = channel::pair().map_err(SpawnError::Socket)?;
    let (output, its_output) = pipe().map_err(SpawnError::Socket)?;
    let (errors, its_errors) = pipe().map_err(SpawnError::Socket)?;
    let birth = Birth { title: launch.title, mark: launch.mark };
    inits.fork(&birth, [theirs.as_fd(), its_output.as_fd(), its_errors.as_fd()]).map_err(SpawnError::Init)?;

    // 3. Its orders. The second message waits in the socket for the second stage.
    let mut isolation = launch.isolation;
    isolation.groups = leaf.entrances();
    let descriptors: Vec<_> = launch.admin.iter().map(AsFd::as_fd).collect();
    channel::send(ours.as_fd(), &isolation, &[]).map_err(SpawnError::Order)?;
    channel::send(ours.as_fd(), &launch.setup, &descriptors).map_err(SpawnError::Order)?;
    Ok((ours, [output, errors]))
}
