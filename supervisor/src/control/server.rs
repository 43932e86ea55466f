//! The daemon's end of the control socket: authenticates callers, reads their requests, passes them to a [`Handler`]. A
//! malformed frame ends its connection and nothing else. The files that commands find it by (`run/control.key` and the
//! socket) are put back when somebody has removed them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polypeer_ipc_protocol::ids::Secret;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::caller;
use super::frames;
use super::places::{Place, Places, Silent};
use super::socket::{self, Listener, ReadHalf, Stream, WriteHalf};
use super::{Answer, Hello, Request, VERSION};
use crate::cli_error::CliError;
use crate::files;
use crate::home::Home;
use crate::ticks::ticks;

/// Largest request, bytes.
pub const MAX_REQUEST: usize = 64 << 10;
/// Timeout of the first frame, and between two requests.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Interval of checks whether commands still find the socket.
pub const LOOK: Duration = Duration::from_secs(3);
/// Time limit for a caller to read an answer, unless its request lasts: whoever pauses a log reads on later.
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

    /// Whether the home is this daemon's still. Locks it again if somebody has removed the locked file, unless another
    /// daemon was quicker: then what lies there is that daemon's.
    fn keeps_home(&self) -> bool;
}

/// A listening control socket.
#[derive(Debug)]
pub struct Server {
    home: Home,
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
        Ok(Self { home: home.clone(), listener, secret })
    }

    /// Serves until dropped.
    pub async fn run(mut self, handler: Arc<impl Handler>) {
        let places = Places::new();
        let mut connections = JoinSet::new();
        let mut silent = Silent::default();
        let mut look = ticks(LOOK);
        let mut is_lost = false;
        loop {
            let accepted = tokio::select! {
                accepted = socket::accept(&self.listener) => accepted,
                _ = look.tick(), if socket::CAN_BE_REMOVED => {
                    is_lost = self.look(is_lost, &*handler);
                    continue;
                }
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a control connection");
                    tokio::time::sleep(Duration::from_millis(100)).await; // Out of descriptors: do not spin.
                    continue;
                }
            };
            let greeted = Arc::new(AtomicBool::new(false));
            let caller = Caller { secret: self.secret.clone(), places: places.clone(), greeted: Arc::clone(&greeted) };
            let handler = Arc::clone(&handler);
            let task = connections.spawn(async move {
                if let Err(error) = caller.serve(stream, &*handler).await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
            silent.enter(task, greeted);
            while connections.try_join_next().is_some() {}
        }
    }

    /// Puts back what commands find this server by, if somebody has removed it and the home is this daemon's still.
    /// `was_lost`: it could not be put back at the last look. Returns whether it still cannot.
    fn look(&mut self, was_lost: bool, handler: &impl Handler) -> bool {
        let path = self.home.control_socket();
        if self.home.control_key().exists() && socket::is_at(&self.listener, &path) {
            return false;
        }
        if !handler.keeps_home() {
            return was_lost;
        }
        match self.put_back() {
            Ok(()) => {
                tracing::warn!("the control socket {} was removed by somebody; it is there again", path.display())
            }
            Err(error) if !was_lost => {
                tracing::error!("the control socket {} is gone and cannot be made again: {error}", path.display());
            }
            Err(_) => {}
        }
        !self.home.control_key().exists() || !socket::is_at(&self.listener, &self.home.control_socket())
    }

    fn put_back(&mut self) -> io::Result<()> {
        self.home.replace_sockets().map_err(|error| io::Error::other(error.to_string()))?;
        write_key(&self.home, &self.secret)?;
        self.listener = socket::listen(&self.home.control_socket())?;
        Ok(())
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

/// One caller, before its connection.
struct Caller {
    secret: Secret,
    places: Places,
    /// Set once it has said who it is.
    greeted: Arc<AtomicBool>,
}

impl Caller {
    async fn serve(self, mut stream: Stream, handler: &impl Handler) -> io::Result<()> {
        if let Err(refused) = caller::check(&stream, |pid| handler.is_confined(pid)) {
            tracing::warn!(%refused, "refused on the control socket");
            let error = CliError::failed(
                "this process may not use the control socket",
                "run the command from a shell of the operator, not from inside a plugin",
            );
            return answer(&mut stream, &error.into()).await;
        }
        let Some(hello) = patiently(frames::read::<Hello>(&mut stream, MAX_REQUEST)).await? else { return Ok(()) };
        self.greeted.store(true, Ordering::Relaxed);
        if !hello.secret.matches(&self.secret) {
            tracing::warn!("refused on the control socket: wrong secret");
            let error =
                CliError::failed("the control secret is wrong", "the daemon was restarted a moment ago: try again");
            return answer(&mut stream, &error.into()).await;
        }
        if hello.version != VERSION {
            let error = CliError::failed(
                "the daemon was started from another version of polypeer",
                "restart the daemon: `polypeer shutdown` of the other version, then `polypeer run`",
            );
            return answer(&mut stream, &error.into()).await;
        }
        let place = match self.places.short().await {
            Ok(place) => place,
            Err(busy) => return answer(&mut stream, &busy.into()).await,
        };
        answer(&mut stream, &Answer::Done).await?;
        self.requests(stream, handler, place).await
    }

    /// Answers requests until the caller disconnects. `_place` is that of short ones, until one lasts.
    async fn requests(&self, stream: Stream, handler: &impl Handler, mut _place: Place) -> io::Result<()> {
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
            if request.is_lasting() {
                match self.places.lasting() {
                    Ok(lasting) => _place = lasting,
                    Err(busy) => {
                        answer(&mut writer, &busy.into()).await?;
                        continue;
                    }
                }
            }
            match respond(request, handler, &mut writer, &mut requests).await? {
                Responded::Completely { next } => ahead = next,
                Responded::CallerGone => return Ok(()),
            }
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
    let lasts = request.is_lasting();
    let mut handling = std::pin::pin!(handler.handle(request, sender));
    let (mut handled, mut drained, mut next) = (false, false, None);
    while !(handled && drained) {
        tokio::select! {
            () = &mut handling, if !handled => handled = true,
            one = answers.recv(), if !drained => match one {
                Some(one) if lasts => frames::write(writer, &one).await?,
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
