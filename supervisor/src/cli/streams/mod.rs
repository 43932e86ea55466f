//! Commands that open or accept streams: `pipe request serve send get files chat`. Each is a client of the gateway, as
//! the built-in plugin `operator`, with a launch of its own. The launch is a lease: it ends with the command's control
//! connection. File contents are streamed to the bundled apps, or handed over as a descriptor; paths never leave the
//! command.
//!
//! `send`, `get` and `files` (a folder each) share `file_link`, `folder`, `files_app` and `handover`. The processes of
//! `serve` are in `children`.

pub mod chat;
pub(super) mod children;
pub mod file_link;
pub mod files;
mod files_app;
mod folder;
pub mod get;
mod handover;
pub mod lines;
pub mod pipe;
pub mod request;
pub mod send;
pub mod serve;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use polypeer_ipc_protocol::client::{Client, ClientError, DataStream, Events};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Target;
use polypeer_ipc_protocol::ids::{PluginId, Protocol, Secret};
use tokio::time::timeout;

use crate::cli::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::control::client::Control;
use crate::control::{Answer, Request};

/// A control session on the gateway.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) events: Events,
    gateway: PathBuf,
    token: Secret,
    /// The control connection; the launch ends with it.
    lease: Control,
}

/// Time for the end of the session to be noticed after a stream of it has failed.
const NOTICE: Duration = Duration::from_millis(500);

impl Session {
    /// Requests a launch from the daemon and starts its session.
    pub(crate) async fn open(context: &Context) -> Result<Self, CliError> {
        let mut lease = context.control().await?;
        let (gateway, token) = match lease.request(&Request::Operator).await? {
            Answer::Operator { gateway, token } => (PathBuf::from(gateway), token),
            other => return Err(unexpected(&other)),
        };
        let (client, events) = match Client::connect(&gateway, token.clone()).await {
            Err(error) if error.failure().is(ErrorCode::ShuttingDown) => return Err(stopped()),
            connected => connected?,
        };
        Ok(Self { client, events, gateway, token, lease })
    }

    /// Starts a new session on the same launch, after netcore ended the old one.
    pub(crate) async fn reconnect(&mut self) -> Result<(), ClientError> {
        (self.client, self.events) = Client::connect(&self.gateway, self.token.clone()).await?;
        Ok(())
    }

    /// `done`, or why it failed if that was the end of this node rather than anything at the other end.
    pub(crate) async fn explained<T>(&mut self, done: Result<T, CliError>) -> Result<T, CliError> {
        match done {
            Err(error) if matches!(error.exit, Exit::Failed | Exit::Refused) => Err(self.explain(error).await),
            done => done,
        }
    }

    /// As [`Self::explained`], for a request: it fails with the session, or for a reason of its own.
    /// `to` is what was asked.
    pub(crate) async fn answered<T>(&mut self, to: &Target, answer: Result<T, ClientError>) -> Result<T, CliError> {
        match answer {
            Err(error @ (ClientError::Ended(_) | ClientError::Transport(_))) => Err(self.explain(error.into()).await),
            Err(error) if *to == Target::Local => Err(CliError::from_own_plugin(&error)),
            answer => answer.map_err(CliError::from),
        }
    }

    async fn explain(&mut self, error: CliError) -> CliError {
        let Ok(ended) = timeout(NOTICE, self.client.ended()).await else { return error };
        if self.is_over(&ended).await {
            return stopped();
        }
        CliError::failed(
            format!("the network core of this node ended ({ended}) and is started again"),
            "run the command again; `polypeer status` shows whether it is running",
        )
    }

    /// Whether the end of the session is that of this node, and not of its network core alone.
    async fn is_over(&mut self, ended: &Failure) -> bool {
        ended.is(ErrorCode::ShuttingDown) || timeout(NOTICE, self.lease.ended()).await.is_ok()
    }

    /// Starts a new session if the network core ended the old one; tries once. Returns the error if this node stopped.
    pub(crate) async fn restored(&mut self) -> Option<CliError> {
        let Ok(ended) = timeout(Duration::ZERO, self.client.ended()).await else { return None };
        if self.is_over(&ended).await {
            return Some(stopped());
        }
        let _ = self.reconnect().await; // What needs it fails, and tries again.
        None
    }

    /// Opens a stream to a bundled app of this node.
    pub(crate) async fn app(&self, context: &Context, id: &str, protocol: &str) -> Result<DataStream, CliError> {
        let protocol: Protocol = protocol.parse().expect("a protocol of ours");
        match self.client.open(Target::Local, protocol, None).await {
            Ok(stream) => Ok(stream),
            Err(error) => Err(app_error(context, id, &error).await),
        }
    }
}

fn stopped() -> CliError {
    CliError::new(
        Exit::NotRunning,
        "the daemon of this node stopped while the command ran",
        "start it again with `polypeer run`, then run the command again",
    )
}

/// The error for an app that cannot be reached: not installed, not running, or the failure of the gateway.
async fn app_error(context: &Context, id: &str, error: &ClientError) -> CliError {
    if !error.failure().is(ErrorCode::NotServed) && !error.failure().is(ErrorCode::TimedOut) {
        return CliError::from_failure(&error.failure());
    }
    if context.is_seed_only().await {
        let message = format!("the app {id} is not running: {}", crate::daemon::SEED_ONLY);
        return CliError::new(Exit::Refused, message, "run the daemon without --seed-only");
    }
    let plugin: PluginId = id.parse().expect("an id of ours");
    match context.ask(Request::PluginInfo { id: plugin }).await {
        Ok(Answer::Plugin(plugin)) if plugin.state == "ready" => CliError::failed(
            format!("the app {id} is running but does not answer"),
            format!("see `polypeer plugin logs {id}`"),
        ),
        Ok(Answer::Plugin(plugin)) => {
            let reason = plugin.exit_reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let message = format!("the app {id} is not running: its state is {}{reason}", plugin.state);
            CliError::failed(
                message,
                format!("start it with `polypeer plugin start {id}`; its output: `polypeer plugin logs {id}`"),
            )
        }
        _ => {
            let hint = match crate::daemon::bundle::folder(id) {
                Some(_) => format!("install it with `polypeer plugin install {id}`"),
                None => "reinstall Polypeer: this installation has no bundled apps".to_owned(),
            };
            CliError::failed(format!("the app {id} is not installed"), hint)
        }
    }
}

/// The error for a local file that cannot be used.
pub(crate) fn file_error(action: &str, path: &std::path::Path, error: &std::io::Error) -> CliError {
    let exit = if error.kind() == ErrorKind::NotFound { Exit::Usage } else { Exit::Failed };
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "make room on the disk, or write to another one, then run the command again"
        }
        ErrorKind::NotFound => "check the path",
        _ => "check the path and its permissions",
    };
    CliError::new(exit, format!("failed to {action} {}: {error}", path.display()), hint)
}
