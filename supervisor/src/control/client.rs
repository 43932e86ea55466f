//! The commands' end of the control socket.

use std::io;
use std::time::Duration;

use polypeer_ipc_protocol::ids::Secret;

use super::frames::{self, MAX_DOCUMENT};
use super::socket::{self, Stream};
use super::{Answer, Hello, Request, VERSION};
use crate::cli_error::{CliError, Exit};
use crate::home::Home;

/// Timeout for the daemon to accept a connection. Requests have none: they take as long as they need.
const GREETING: Duration = Duration::from_secs(10);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Control {
    stream: Stream,
}

impl Control {
    /// Connects to the daemon of `home`.
    ///
    /// # Errors
    /// [`Exit::NotRunning`] when no daemon runs; [`Exit::Failed`] when it refuses the connection.
    pub async fn connect(home: &Home) -> Result<Self, CliError> {
        let secret = match std::fs::read_to_string(home.control_key()) {
            Ok(text) => text.trim().parse::<Secret>().map_err(|_| not_running(home))?,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(CliError::failed(
                    format!("{} belongs to another user", home.root().display()),
                    "run the command as the user who runs the daemon, or give your own --home",
                ));
            }
            Err(_) => return Err(not_running(home)),
        };
        // Before the secret is sent to the process that listens there.
        home.check_sockets()?;
        let stream = socket::connect(&home.control_socket()).await.map_err(|_| not_running(home))?;
        let mut control = Self { stream };
        let hello = async {
            frames::write(&mut control.stream, &Hello { secret, version: VERSION }).await?;
            frames::read::<Answer>(&mut control.stream, MAX_DOCUMENT).await
        };
        match tokio::time::timeout(GREETING, hello).await {
            Ok(Ok(Some(Answer::Done))) => Ok(control),
            Ok(Ok(Some(Answer::Trouble(error)))) => Err(error),
            Ok(_) => Err(CliError::failed(
                "the daemon closed the connection",
                "commands cannot be run from inside a plugin; else try again, or restart the daemon",
            )),
            Err(_) => Err(CliError::failed("the daemon does not answer", "check its output; restart it if it hangs")),
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
        frames::write(&mut self.stream, request).await.map_err(gone)
    }

    /// The next answer to a request that has several.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn next(&mut self) -> Result<Answer, CliError> {
        match frames::read(&mut self.stream, MAX_DOCUMENT).await.map_err(gone)? {
            Some(Answer::Trouble(error)) => Err(error),
            Some(answer) => Ok(answer),
            None => Err(gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Waits until the daemon ends the connection.
    pub async fn ended(&mut self) {
        while let Ok(Some(_)) = frames::read::<Answer>(&mut self.stream, MAX_DOCUMENT).await {}
    }
}

fn not_running(home: &Home) -> CliError {
    CliError::new(
        Exit::NotRunning,
        format!("no daemon runs on {}", home.root().display()),
        "start one with `polypeer run`, or name another home with --home DIR",
    )
}

fn gone(error: io::Error) -> CliError {
    CliError::new(
        Exit::NotRunning,
        format!("the daemon disconnected: {error}"),
        "it may be stopping; see its output, or start it again with `polypeer run`",
    )
}
