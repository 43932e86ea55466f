//! The commands' end of the control socket.

use std::io;
use std::time::Duration;

use polypeer_ipc_protocol::ids::Secret;
use tokio::time::Instant;

use super::frames::{self, MAX_DOCUMENT};
#[cfg(doc)]
use super::server;
use super::socket::{self, Stream};
use super::{Answer, Hello, Request, VERSION};
use crate::cli_error::{CliError, Exit};
use crate::home::{Home, HomeError};

/// Timeout for the daemon to accept a connection. Requests have none: they take as long as they need.
const GREETING: Duration = Duration::from_secs(10);
/// How long a command looks for the socket of a daemon that runs: it puts a removed one back within [`server::LOOK`],
/// and it may be starting or stopping.
const SEARCH: Duration = Duration::from_secs(5);
/// Interval of looks for the socket.
const LOOK: Duration = Duration::from_millis(50);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Control {
    stream: Stream,
    home: Home,
}

/// Why there is no connection yet.
enum NotConnected {
    /// Nobody listens.
    Absent,
    /// Somebody listens, and has too much to do.
    Full,
    /// It answered, or must not be used.
    Refused(CliError),
}

impl Control {
    /// Connects to the daemon of `home`.
    ///
    /// # Errors
    /// [`Exit::NotRunning`] when no daemon runs, which the lock of the home says; [`Exit::Refused`] when too many other
    /// commands use it; [`Exit::Failed`] when it cannot be reached or refuses the connection.
    pub async fn connect(home: &Home) -> Result<Self, CliError> {
        let until = Instant::now() + SEARCH;
        loop {
            let why = match Self::attempt(home).await {
                Ok(control) => return Ok(control),
                Err(NotConnected::Refused(error)) => return Err(error),
                Err(why) => why,
            };
            let daemon = home.daemon();
            match why {
                NotConnected::Absent if daemon.is_none() => return Err(not_running(home)),
                _ if Instant::now() < until => tokio::time::sleep(LOOK).await,
                _ if daemon.is_none() => return Err(not_running(home)),
                NotConnected::Full => return Err(full()),
                _ => return Err(out_of_reach(home, daemon.flatten())),
            }
        }
    }

    async fn attempt(home: &Home) -> Result<Self, NotConnected> {
        let (stream, secret) = connect(home).await?;
        let mut control = Self { stream, home: home.clone() };
        let hello = async {
            frames::write(&mut control.stream, &Hello { secret, version: VERSION }).await?;
            frames::read::<Answer>(&mut control.stream, MAX_DOCUMENT).await
        };
        match tokio::time::timeout(GREETING, hello).await {
            Ok(Ok(Some(Answer::Done))) => Ok(control),
            Ok(Ok(Some(Answer::Trouble(error)))) => Err(NotConnected::Refused(error)),
            // It made room for another command before it read ours, or it is stopping.
            Ok(_) => Err(NotConnected::Full),
            Err(_) => {
                let (who, end) = named(home.daemon().flatten());
                let hint = format!("see `polypeer logs`; if it hangs, end it with {end} and start it again");
                Err(NotConnected::Refused(CliError::failed(format!("{who} does not answer"), hint)))
            }
        }
    }

    /// Sends a request and waits for the answer, which is never [`Answer::Trouble`].
    ///
    /// # Errors
    /// The error of the daemon, or that it disconnected.
    pub async fn request(&mut self, request: &Request) -> Result<Answer, CliError> {
        self.send(request).await?;
        self.next().await
    }

    /// Sends a request without waiting for the answer.
    ///
    /// # Errors
    /// When the daemon disconnected.
    pub async fn send(&mut self, request: &Request) -> Result<(), CliError> {
        frames::write(&mut self.stream, request).await.map_err(|error| gone(&self.home, &error))
    }

    /// The next answer to a request that has several.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn next(&mut self) -> Result<Answer, CliError> {
        match frames::read(&mut self.stream, MAX_DOCUMENT).await.map_err(|error| gone(&self.home, &error))? {
            Some(Answer::Trouble(error)) => Err(error),
            Some(answer) => Ok(answer),
            None => Err(gone(&self.home, &io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Waits until the daemon ends the connection.
    pub async fn ended(&mut self) {
        while let Ok(Some(_)) = frames::read::<Answer>(&mut self.stream, MAX_DOCUMENT).await {}
    }
}

/// Makes one attempt. The secret is read anew each time: a daemon that starts makes a new one.
async fn connect(home: &Home) -> Result<(Stream, Secret), NotConnected> {
    let other_user = || NotConnected::Refused(HomeError::not_ours(home.root()).into());
    let secret = match std::fs::read_to_string(home.control_key()) {
        Ok(text) => text.trim().parse::<Secret>().map_err(|_| NotConnected::Absent)?,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(other_user()),
        Err(_) => return Err(NotConnected::Absent),
    };
    // Before the secret is sent to the process that listens there.
    home.check_sockets().map_err(|error| match error {
        HomeError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => NotConnected::Absent,
        error => NotConnected::Refused(error.into()),
    })?;
    match socket::connect(&home.control_socket()).await {
        Ok(stream) => Ok((stream, secret)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(NotConnected::Full),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(other_user()),
        Err(_) => Err(NotConnected::Absent),
    }
}

/// The error when no daemon runs on `home`.
pub(crate) fn not_running(home: &Home) -> CliError {
    let start = format!("start one with `{}`, or name another home with --home DIR", home.command("run"));
    let hint = match home.before_sudo() {
        Some((person, theirs)) => {
            let root = theirs.root().display();
            format!("the daemon of {person} runs on {root}: run the command without sudo to ask that one; or {start}")
        }
        None => start,
    };
    CliError::new(Exit::NotRunning, format!("no daemon runs on {}", home.root().display()), hint)
}

fn full() -> CliError {
    CliError::new(
        Exit::Refused,
        "the daemon is busy: more commands wait for it than its control socket holds, which is the limit",
        "run it again in a moment",
    )
}

fn out_of_reach(home: &Home, daemon: Option<u32>) -> CliError {
    let (who, end) = named(daemon);
    CliError::failed(
        format!(
            "{who} runs on {}, but nobody listens on its control socket {}",
            home.root().display(),
            home.control_socket().display()
        ),
        format!("it may be starting or stopping: try again; see `polypeer logs`; if it hangs, end it with {end}"),
    )
}

/// A daemon and what ends it.
fn named(pid: Option<u32>) -> (String, String) {
    match pid {
        Some(pid) => (format!("the daemon (pid {pid})"), format!("`kill {pid}`")),
        None => ("the daemon".to_owned(), "SIGTERM".to_owned()),
    }
}

fn gone(home: &Home, error: &io::Error) -> CliError {
    CliError::new(
        Exit::NotRunning,
        format!("the daemon disconnected: {error}"),
        format!("it may be stopping; see `polypeer logs`, or start it again with `{}`", home.command("run")),
    )
}
