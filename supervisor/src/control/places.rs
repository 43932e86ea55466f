//! Places on the control socket. Requests that last as long as their caller wants (`pipe`, `request`, `serve`, `send`,
//! `get`, `files`, `chat`, `plugin logs -f`) have places of their own, so that they never keep a short one waiting. A
//! burst of short ones queues. Whoever gets no place is told which limit is reached.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::cli_error::{CliError, Exit};

/// Most connections that have not said who they are. A further one replaces the oldest.
pub const MAX_SILENT: usize = 64;
/// Most connections with requests that end by themselves.
pub const MAX_SHORT: usize = 64;
/// Most requests that last; as many launches of the operator there are at most.
pub const MAX_LASTING: usize = 64;
/// Most connections that wait for a place. All four limits together are well below 1,024, the usual limit on open
/// files.
pub const MAX_WAITING: usize = 256;
/// How long a connection waits for a place; less than a command waits for its greeting.
pub const QUEUE_TIME: Duration = Duration::from_secs(5);

/// A place, until it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// The places of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    short: Arc<Semaphore>,
    lasting: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { short: places(MAX_SHORT), lasting: places(MAX_LASTING), waiting: places(MAX_WAITING) }
    }

    /// A place for requests that end by themselves; waits for one up to [`QUEUE_TIME`].
    pub(super) async fn short(&self) -> Result<Place, CliError> {
        if let Ok(place) = Arc::clone(&self.short).try_acquire_owned() {
            return Ok(place);
        }
        let queued = self.waiting.try_acquire().map_err(|_| too_many_short())?;
        let place = tokio::time::timeout(QUEUE_TIME, Arc::clone(&self.short).acquire_owned()).await;
        drop(queued);
        place.ok().and_then(Result::ok).ok_or_else(too_many_short)
    }

    /// A place for a request that lasts.
    pub(super) fn lasting(&self) -> Result<Place, CliError> {
        Arc::clone(&self.lasting).try_acquire_owned().map_err(|_| {
            CliError::new(
                Exit::Refused,
                format!("the daemon is busy: {MAX_LASTING} commands that last are running, which is the limit"),
                "end one of them (pipe, request, serve, send, get, files, chat, plugin logs -f), then run it again",
            )
        })
    }
}

fn too_many_short() -> CliError {
    CliError::new(
        Exit::Refused,
        format!("the daemon is busy: it is answering {MAX_SHORT} other commands, which is the limit"),
        "run it again in a moment",
    )
}

/// Silent connections, in the order of their arrival. The first of them makes room for a new one. So hundreds of silent
/// connections do not delay a command, which authenticates itself at once.
#[derive(Default)]
pub(super) struct Silent(VecDeque<(AbortHandle, Arc<AtomicBool>)>);

impl Silent {
    /// Adds a connection; ends the oldest one beyond [`MAX_SILENT`].
    pub(super) fn enter(&mut self, task: AbortHandle, greeted: Arc<AtomicBool>) {
        self.0.retain(|(task, greeted)| !task.is_finished() && !greeted.load(Ordering::Relaxed));
        if self.0.len() >= MAX_SILENT
            && let Some((oldest, _)) = self.0.pop_front()
        {
            tracing::debug!("closed a silent control connection to make room for another");
            oldest.abort();
        }
        self.0.push_back((task, greeted));
    }
}
