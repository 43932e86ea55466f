//! `polypeer plugin install`: shows what a plugin asks for, and installs it once the operator agrees.

use std::path::{Component, Path, PathBuf};

use clap::{Args, ValueHint};

use super::super::Context;
use super::{ask, bullets, confirm, print_state};
use crate::cli_error::CliError;
use crate::config::DaemonConfig;
use crate::control::{Answer, Request};
use crate::daemon::bundle;
use crate::install::{self, Candidate, Way};
use crate::manifest::{Limits, Peers};
use crate::output::clean;

/// Install a plugin from its folder, or a bundled app by its name; enable and start it
#[derive(Debug, Args)]
pub(super) struct Install {
    /// Folder that contains its plugin.toml, or the name of a bundled app: chat, files
    #[arg(value_hint = ValueHint::DirPath)]
    folder: PathBuf,
    /// Run it from this folder instead of a copy, so that edits take effect when it is restarted
    #[arg(long)]
    link: bool,
    /// Grant the permissions it asks for without asking
    #[arg(short, long)]
    yes: bool,
    /// Do not enable or start it
    #[arg(long)]
    no_start: bool,
}

impl Install {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (yes, start) = (self.yes, !self.no_start);
        let folder = folder(&self.folder)?;
        let way = if self.link { Way::Link } else { Way::Copy };
        let candidate = install::inspect(&folder, way)?;
        let id = &candidate.manifest.plugin.id;
        // Before the question: without a daemon the answer would be useless.
        let before = context.control().await?.request(&Request::PluginInfo { id: id.clone() }).await;
        match before {
            Ok(Answer::Plugin(plugin)) if plugin.digest == candidate.digest => {
                context.printer.say(format!("{id} {} is already installed", plugin.version));
            }
            before => {
                if let Ok(Answer::Plugin(before)) = before {
                    let version = &candidate.manifest.plugin.version;
                    context.printer.say(format!("This replaces {id} {} with {version}.", before.version));
                }
                context.printer.say(permissions_text(context, &candidate)?);
                confirm(context, yes, &format!("Install {id} and grant this?"))?;
            }
        }
        let folder = folder
            .to_str()
            .ok_or_else(|| CliError::usage(format!("{} is not UTF-8", folder.display()), "rename the folder"))?;
        let request = Request::PluginInstall { folder: folder.into(), digest: candidate.digest.clone(), way, start };
        // On a new connection: the daemon closes one that is silent for as long as a person may think.
        let plugin = ask(context, request).await?;
        print_state(context, &plugin)?;
        if start && plugin.state == "stopped" && context.is_seed_only().await {
            let what = format!("{} is installed; it starts once the daemon runs without --seed-only", plugin.id);
            context.printer.say(what);
        }
        Ok(())
    }
}

/// The folder that is meant: the path as typed if it exists, else that of a bundled app.
fn folder(typed: &Path) -> Result<PathBuf, CliError> {
    let is_name =
        matches!(Vec::from_iter(typed.components())[..], [Component::Normal(name)] if name == typed.as_os_str());
    if typed.exists() || !is_name {
        return Ok(std::path::absolute(typed).unwrap_or_else(|_| typed.into()));
    }
    let name = typed.to_string_lossy();
    bundle::folder(&name).ok_or_else(|| {
        let here: Vec<_> = bundle::APPS.iter().copied().filter(|app| bundle::folder(app).is_some()).collect();
        let apps = match here.as_slice() {
            [] => "this installation has no bundled apps".to_owned(),
            here => format!("the bundled apps are {}", here.join(", ")),
        };
        CliError::usage(
            format!("there is neither a folder {:?} here nor a bundled app of this name", clean(&name)),
            format!("give the path of a plugin's folder: one that holds a plugin.toml; {apps}"),
        )
    })
}

/// What the operator is asked to confirm.
fn permissions_text(context: &Context, candidate: &Candidate) -> Result<String, CliError> {
    let manifest = &candidate.manifest;
    let set = DaemonConfig::load(&context.home)?.limits.overlaid(&manifest.limits);
    let limits = Limits::resolve(&[&set]);
    let mut text = format!("{} {} ({})", clean(manifest.shown_name()), manifest.plugin.version, manifest.plugin.id);
    if !manifest.plugin.description.is_empty() {
        text += &format!(": {}", clean(&manifest.plugin.description));
    }
    text += "\nIt asks for these permissions:\n";
    text += &bullets(&manifest.permissions.in_words());
    text += &format!("\nIts limits: {}", limits.in_words().join(", "));
    if manifest.permissions.peers == Peers::List {
        text += &format!(
            "\nIts list of peers is empty; add a peer with `polypeer plugin grants {} --add-peer PEER`",
            manifest.plugin.id
        );
    }
    if candidate.way == Way::Link {
        text += &format!("\nEach start runs what is in {} then", clean(&candidate.folder.display().to_string()));
    }
    for warning in manifest.warnings() {
        text += &format!("\nNote: {warning}");
    }
    let skipped = manifest.not_enforced(&set);
    if !skipped.is_empty() {
        text += &format!("\nNot enforced by this version: {}", skipped.join(", "));
    }
    Ok(text)
}
