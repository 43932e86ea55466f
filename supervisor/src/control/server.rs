//! The daemon's end of the control socket: authenticates callers, reads their requests, passes them to a [`Handler`]. A
//! malformed frame ends its connection and nothing else.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polypeer_ipc_protocol::ids::Secret;
use tokio::io::AsyncWrite;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::caller;
use super::frames;
use super::socket::{self, Listener, ReadHalf, Stream, WriteHalf};
use super::{Answer, Hello, Request, VERSION};
use crate::cli_error::CliError;
use crate::files;
use crate::home::Home;

/// Most connections; each command uses one. A further one replaces one that is still silent, or waits.
pub const MAX_CONNECTIONS: usize = 64;
/// Largest request, bytes.
pub const MAX_REQUEST: usize = 64 << 10;
/// Timeout of the first frame, and between two requests.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit for a caller to read an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Most queued answers of one request.
const ANSWERS: usize = 64;

/// The daemon, as the server sees it.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request with one answer or, for logs, many. The future is dropped when the caller disconnects, so
    /// what it holds (an operator session) ends with the connection.
    fn handle(&self, request: Request, answers: mpsc::Sender<Answer>) -> impl Future<Output = ()> + Send;

    /// Whether a process belongs to a plugin, or may do so.
    fn is_confined(&self, pid: i32) -> bool;
}

/// A listening control socket.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    secret: Secret,
}

impl Server {
    /// Creates a new secret and listens. The home must be locked, so that an existing socket is a leftover.
    ///
    /// # Errors
    /// When the secret cannot be stored or the socket cannot be created.
    pub fn bind(home: &Home) -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let secret = Secret(bytes);
        write_key(home, &secret)?;
        let listener = socket::listen(&home.control_socket())?;
        Ok(Self { listener, secret })
    }

    /// Serves until dropped.
    pub async fn run(self, handler: Arc<impl Handler>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut silent = Silent::default();
        loop {
            let stream = match socket::accept(&self.listener).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a control connection");
                    tokio::time::sleep(Duration::from_millis(100)).await; // Out of descriptors: do not spin.
                    continue;
                }
            };
            if slots.available_permits() == 0 {
                silent.end_first();
            }
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (secret, handler) = (self.secret.clone(), handler.clone());
            let greeted = Arc::new(AtomicBool::new(false));
            let said = Arc::clone(&greeted);
            let task = connections.spawn(async move {
                let _slot = slot;
                if let Err(error) = serve(stream, &secret, &said, &*handler).await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
            silent.enter(task, greeted);
            while connections.try_join_next().is_some() {}
        }
    }
}

/// Silent connections, in the order of their arrival. The first of them makes room for a new one. So hundreds of silent
/// connections do not delay a command, which authenticates itself at once.
#[derive(Default)]
struct Silent(VecDeque<(AbortHandle, Arc<AtomicBool>)>);

impl Silent {
    /// Adds a connection.
    fn enter(&mut self, task: AbortHandle, greeted: Arc<AtomicBool>) {
        self.0.retain(|(task, greeted)| !task.is_finished() && !greeted.load(Ordering::Relaxed));
        self.0.push_back((task, greeted));
    }

    /// Ends the oldest silent connection, if there is one.
    fn end_first(&mut self) {
        while let Some((task, greeted)) = self.0.pop_front() {
            if !task.is_finished() && !greeted.load(Ordering::Relaxed) {
                tracing::debug!("closed a silent control connection to make room for another");
                return task.abort();
            }
        }
    }
}

fn write_key(home: &Home, secret: &Secret) -> io::Result<()> {
    use std::io::Write;
    let path = home.control_key();
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = files::private_file().write(true).create_new(true).open(&fresh)?;
    writeln!(file, "{}", secret.to_text())?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path)
}

async fn serve(mut stream: Stream, secret: &Secret, greeted: &AtomicBool, handler: &impl Handler) -> io::Result<()> {
    if let Err(refused) = caller::check(&stream, |pid| handler.is_confined(pid)) {
        tracing::warn!(%refused, "refused on the control socket");
        let error = CliError::failed(
            "this process may not use the control socket",
            "run the command from a shell of the operator, not from inside a plugin",
        );
        return answer(&mut stream, &error.into()).await;
    }
    let Some(hello) = patiently(frames::read::<Hello>(&mut stream, MAX_REQUEST)).await? else { return Ok(()) };
    greeted.store(true, Ordering::Relaxed);
    if !hello.secret.matches(secret) {
        tracing::warn!("refused on the control socket: wrong secret");
        let error = CliError::failed("the control secret is wrong", "the daemon was restarted a moment ago: try again");
        return answer(&mut stream, &error.into()).await;
    }
    if hello.version != VERSION {
        let error = CliError::failed(
            "the daemon was started from another version of polypeer",
            "restart the daemon: `polypeer shutdown` of the other version, then `polypeer run`",
        );
        return answer(&mut stream, &error.into()).await;
    }
    answer(&mut stream, &Answer::Done).await?;
    let (reader, mut writer) = socket::split(stream);
    let (sender, mut requests) = mpsc::channel(1);
    // A task of its own, because a cancelled read would lose part of a frame.
    let mut reading = JoinSet::new();
    reading.spawn(read_requests(reader, sender));
    let mut ahead: Option<Box<Request>> = None;
    loop {
        let request = match ahead.take() {
            Some(request) => Some(*request),
            None => patiently(async { requests.recv().await.transpose() }).await?,
        };
        let Some(request) = request else { return Ok(()) };
        match respond(request, handler, &mut writer, &mut requests).await? {
            Responded::Completely { next } => ahead = next,
            Responded::CallerGone => return Ok(()),
        }
    }
}

/// The result of answering one request.
enum Responded {
    /// It is answered; the caller may already have sent its next request.
    Completely { next: Option<Box<Request>> },
    /// The caller disconnected.
    CallerGone,
}

/// Answers one request, and stops when the caller disconnects.
async fn respond(
    request: Request,
    handler: &impl Handler,
    writer: &mut WriteHalf,
    requests: &mut mpsc::Receiver<io::Result<Request>>,
) -> io::Result<Responded> {
    let (sender, mut answers) = mpsc::channel(ANSWERS);
    let mut handling = std::pin::pin!(handler.handle(request, sender));
    let (mut handled, mut drained, mut next) = (false, false, None);
    while !(handled && drained) {
        tokio::select! {
            () = &mut handling, if !handled => handled = true,
            one = answers.recv(), if !drained => match one {
                Some(one) => answer(writer, &one).await?,
                None => drained = true,
            },
            early = requests.recv() => match early.transpose()? {
                // The caller has its answer, and the handler is about to end.
                Some(request) if next.is_none() => next = Some(Box::new(request)),
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "requests before their answers")),
                None => return Ok(Responded::CallerGone),
            },
        }
    }
    Ok(Responded::Completely { next })
}

/// Reads requests until the end of the connection or the first malformed one. Waits while one is pending.
async fn read_requests(mut reader: ReadHalf, requests: mpsc::Sender<io::Result<Request>>) {
    loop {
        let read = frames::read::<Request>(&mut reader, MAX_REQUEST).await.transpose();
        let Some(read) = read else { return };
        let last = read.is_err();
        if requests.send(read).await.is_err() || last {
            return;
        }
    }
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn answer(writer: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let written = tokio::time::timeout(WRITE_TIME, frames::write(writer, answer)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
