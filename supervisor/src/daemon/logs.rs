//! Sends the log of a plugin: its latest lines, and new ones as they are written.

use std::io;
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::cli_error::CliError;
use crate::control::Answer;
use crate::log_files::latest;

/// Sends the latest `count` lines; then, with `follow`, new ones until the receiver is dropped, else [`Answer::Done`].
pub(super) async fn send(
    path: PathBuf,
    count: usize,
    follow: bool,
    answers: mpsc::Sender<Answer>,
) -> Result<(), CliError> {
    let told =
        |error: io::Error| CliError::failed(format!("failed to read the log: {error}"), "check the folder logs/");
    let read = tokio::task::spawn_blocking(move || latest(&path, count)).await;
    let (lines, mut follower) =
        read.unwrap_or_else(|_| Err(io::Error::other("the reading task was aborted"))).map_err(told)?;
    for line in lines {
        if answers.send(Answer::Line(line)).await.is_err() {
            return Ok(());
        }
    }
    if !follow {
        let _ = answers.send(Answer::Done).await; // Nobody may be listening any more.
        return Ok(());
    }
    loop {
        for line in follower.wait().await.map_err(told)? {
            if answers.send(Answer::Line(line)).await.is_err() {
                return Ok(());
            }
        }
    }
}
