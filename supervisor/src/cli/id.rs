//! `polypeer id`: the node id, of the daemon that runs or of the key in the home.

use std::process::Command;

use clap::Args;
use serde_json::json;

use super::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::control::{Answer, Request};
use crate::home::Home;
use crate::supervise::Programs;

/// Print this node's id
#[derive(Debug, Args)]
pub(super) struct Id {}

impl Id {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let id = match context.ask(Request::Id).await {
            Ok(Answer::Text(id)) => id,
            Ok(other) => return Err(unexpected(&other)),
            Err(error) if error.exit == Exit::NotRunning => of_key(&context.home, error)?,
            Err(error) => return Err(error),
        };
        context.printer.either(&json!({ "node_id": id }), || id.clone())
    }
}

/// The node id of the key in a home, which the network core reads; `otherwise` when there is no key yet.
pub(super) fn of_key(home: &Home, otherwise: CliError) -> Result<String, CliError> {
    if !home.identity_key().exists() {
        return Err(otherwise);
    }
    let failed =
        |what: String| CliError::failed(format!("failed to read the node id: {what}"), "see `polypeer doctor`");
    let netcore = Programs::find().map_err(|error| failed(error.to_string()))?.netcore;
    let output = Command::new(netcore).arg("--home").arg(home.root()).arg("--id").output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
