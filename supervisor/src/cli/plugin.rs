//! Commands about plugins.

use serde_json::json;

use super::args::Plugin;
use super::{Context, unexpected};
use crate::cli_error::{CliError, Exit};
use crate::config::DaemonConfig;
use crate::control::documents::{PluginDocument, PluginLine};
use crate::control::{Answer, Request};
use crate::install::{self, Candidate};
use crate::manifest::limits::{KEYS, LIMITS, Limit, LimitSettings};
use crate::manifest::values::shown_size;
use crate::manifest::{Limits, Peers};
use crate::output::{clean, known};

pub(super) async fn run(context: &Context, command: Plugin) -> Result<(), CliError> {
    match command {
        Plugin::Install { folder, yes, no_start } => install(context, &folder, yes, !no_start).await,
        Plugin::List => list(context).await,
        Plugin::Info { id } => {
            let plugin = ask(context, Request::PluginInfo { id }).await?;
            context.printer.either(&plugin, || info_text(context, &plugin))
        }
        Plugin::Start { id } => told(context, Request::PluginStart { id }).await,
        Plugin::Stop { id } => told(context, Request::PluginStop { id }).await,
        Plugin::Restart { id } => told(context, Request::PluginRestart { id }).await,
        Plugin::Enable { id } => told(context, Request::PluginEnable { id }).await,
        Plugin::Disable { id } => told(context, Request::PluginDisable { id }).await,
        Plugin::Remove { id, data, yes } => {
            let what = if data {
                format!("Remove {id} and delete its data?")
            } else {
                format!("Remove {id}? Its data stays.")
            };
            agree(context, yes, &what)?;
            match context.ask(Request::PluginRemove { id: id.clone(), data }).await? {
                Answer::Done if context.printer.json => context.printer.document(&json!({ "id": id, "removed": true })),
                Answer::Done => {
                    context.printer.say(format!("removed {id}"));
                    Ok(())
                }
                other => Err(unexpected(&other)),
            }
        }
        Plugin::Logs { id, follow, lines } => logs(context, Request::PluginLogs { id, lines, follow }).await,
        Plugin::Limit { id, limits } => {
            let limits = limits.iter().map(|text| parse_limit(text)).collect::<Result<Vec<_>, _>>()?;
            let plugin = ask(context, Request::PluginLimit { id, limits }).await?;
            context
                .printer
                .either(&json!({ "limits": plugin.limits, "overrides": plugin.overrides }), || limits_text(&plugin))
        }
        Plugin::Grants { id, add_peer, remove_peer } => {
            let nodes = |peers: Vec<super::args::Peer>| peers.iter().map(super::args::Peer::node).collect();
            let plugin =
                ask(context, Request::PluginPeers { id, add: nodes(add_peer), remove: nodes(remove_peer) }).await?;
            context.printer.either(&plugin.grants, || words(&plugin.grants.in_words))
        }
    }
}

async fn ask(context: &Context, request: Request) -> Result<Box<PluginDocument>, CliError> {
    match context.ask(request).await? {
        Answer::Plugin(plugin) => Ok(plugin),
        other => Err(unexpected(&other)),
    }
}

/// Asks for a change and says how the plugin is afterwards.
async fn told(context: &Context, request: Request) -> Result<(), CliError> {
    let plugin = ask(context, request).await?;
    tell(context, &plugin)
}

fn tell(context: &Context, plugin: &PluginDocument) -> Result<(), CliError> {
    if context.printer.json {
        return context.printer.document(plugin);
    }
    context.printer.say(format!("{} is {}", plugin.id, plugin.state));
    Ok(())
}

async fn install(context: &Context, folder: &std::path::Path, yes: bool, start: bool) -> Result<(), CliError> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let candidate = install::inspect(&folder)?;
    let id = &candidate.manifest.plugin.id;
    // Before anything is asked: without a daemon the answer would be for nothing.
    let before = context.control().await?.request(&Request::PluginInfo { id: id.clone() }).await;
    match before {
        Ok(Answer::Plugin(plugin)) if plugin.digest == candidate.digest => {
            context.printer.say(format!("{id} {} is already installed", plugin.version));
        }
        before => {
            if let Ok(Answer::Plugin(before)) = before {
                let version = &candidate.manifest.plugin.version;
                context.printer.say(format!("This replaces {id} {} by {version}.", before.version));
            }
            context.printer.say(permissions_text(context, &candidate)?);
            agree(context, yes, &format!("Install {id} and allow this?"))?;
        }
    }
    let folder = folder
        .to_str()
        .ok_or_else(|| CliError::usage(format!("{} is not UTF-8", folder.display()), "rename the folder"))?;
    let request = Request::PluginInstall { folder: folder.into(), digest: candidate.digest.clone(), start };
    // On a connection of its own: the daemon ends one that is silent for as long as a person may think.
    match context.ask(request).await? {
        Answer::Plugin(plugin) => {
            tell(context, &plugin)?;
            if start && plugin.state == "stopped" && context.only_serves_newcomers().await {
                let what = format!("{} is installed, and starts with a daemon run without --seed-only", plugin.id);
                context.printer.say(what);
            }
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

/// What the operator is asked to allow.
fn permissions_text(context: &Context, candidate: &Candidate) -> Result<String, CliError> {
    let manifest = &candidate.manifest;
    let limits = Limits::resolve(&[&DaemonConfig::load(&context.home)?.limits, &manifest.limits]);
    let mut text = format!("{} {} ({})", clean(manifest.shown_name()), manifest.plugin.version, manifest.plugin.id);
    if !manifest.plugin.description.is_empty() {
        text += &format!(": {}", clean(&manifest.plugin.description));
    }
    text += "\nIt asks for these permissions:\n";
    text += &words(&manifest.permissions.in_words());
    text += &format!("\nIts limits: {}", limits.in_words().join(", "));
    if manifest.permissions.peers == Peers::List {
        text += &format!(
            "\nIts list of peers is empty; add to it with `polypeer plugin grants {} --add-peer PEER`",
            manifest.plugin.id
        );
    }
    let skipped = manifest.not_enforced();
    if !skipped.is_empty() {
        text += &format!("\nNot enforced by this version: {}", skipped.join(", "));
    }
    Ok(text)
}

fn words(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  - {}", clean(line))).collect::<Vec<_>>().join("\n")
}

fn agree(context: &Context, yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    match context.printer.confirm(question) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::new(Exit::Refused, "not done: you said no", "nothing was changed")),
        None => Err(CliError::new(
            Exit::Refused,
            "this needs to be agreed to, and there is no terminal to ask on",
            "look at what it asks for, then run the command again with --yes",
        )),
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let plugins = match context.ask(Request::PluginList).await? {
        Answer::Plugins(plugins) => plugins,
        other => return Err(unexpected(&other)),
    };
    if plugins.is_empty() && !context.printer.json {
        context.printer.say("no plugins; install one with `polypeer plugin install FOLDER`");
        return Ok(());
    }
    context.printer.either(&plugins, || {
        let headings = ["ID", "VERSION", "STATE", "ENABLED", "PID", "RESTARTS", "MEMORY"];
        let row = |plugin: &PluginLine| {
            let enabled = if plugin.enabled { "yes" } else { "no" };
            vec![
                plugin.id.to_string(),
                plugin.version.clone(),
                plugin.state.clone(),
                enabled.into(),
                known(plugin.pid),
                plugin.restarts.to_string(),
                known(plugin.memory_bytes.map(shown_size)),
            ]
        };
        context.printer.table(&headings, &plugins.iter().map(row).collect::<Vec<_>>())
    })
}

fn info_text(context: &Context, plugin: &PluginDocument) -> String {
    let usage = &plugin.usage;
    let mut pairs = vec![
        ("plugin", format!("{} {} ({})", clean(&plugin.name), plugin.version, plugin.id)),
        ("state", plugin.state.clone()),
        ("enabled", if plugin.enabled { "yes" } else { "no" }.into()),
        ("pid", known(plugin.pid)),
        ("restarts", plugin.restarts.to_string()),
        ("last end", known(plugin.exit_reason.as_deref().map(clean))),
        ("source", clean(&plugin.source)),
        ("memory", known(usage.memory_bytes.map(shown_size))),
        ("processor", known(usage.cpu_percent.map(|percent| format!("{percent:.1} %")))),
        ("processes", known(usage.pids)),
        ("disk", known(usage.disk_bytes.map(shown_size))),
        ("sent", known(usage.sent_bytes.map(shown_size))),
        ("received", known(usage.received_bytes.map(shown_size))),
        ("allowed to", plugin.grants.in_words.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")),
        ("limits", limits_text(plugin)),
    ];
    if !plugin.description.is_empty() {
        pairs.insert(1, ("description", clean(&plugin.description)));
    }
    let measures = plugin.confinement.iter().map(|measure| match (&measure.why_not, measure.applied) {
        (_, true) => format!("{}: yes", measure.measure),
        (Some(why), false) => format!("{}: no, {}", measure.measure, clean(why)),
        (None, false) => format!("{}: no", measure.measure),
    });
    pairs.push(("confined by", measures.collect::<Vec<_>>().join("\n")));
    if !plugin.not_enforced.is_empty() {
        pairs.push(("not enforced", plugin.not_enforced.join("\n")));
    }
    context.printer.pairs(&pairs)
}

fn limits_text(plugin: &PluginDocument) -> String {
    let Some(limits) = plugin.limits.as_object() else { return "-".into() };
    let line = |limit: &Limit| {
        let own = if plugin.overrides.contains_key(limit.key) { " (set by you)" } else { "" };
        format!("{} {}{own}", limit.key, limit.shown(limits.get(limit.json)))
    };
    LIMITS.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn parse_limit(text: &str) -> Result<(String, Option<String>), CliError> {
    let hint = "such as: polypeer plugin limit chat memory=512MiB cpu=50%";
    if let Some((key, "default")) = text.split_once('=')
        && KEYS.contains(&key)
    {
        return Ok((key.into(), None));
    }
    let (key, value, _) = LimitSettings::from_argument(text).map_err(|what| CliError::usage(what, hint))?;
    Ok((key, Some(value)))
}

async fn logs(context: &Context, request: Request) -> Result<(), CliError> {
    let mut control = context.control().await?;
    let mut answer = control.request(&request).await?;
    let mut lines = Vec::new();
    loop {
        match answer {
            Answer::Line(line) if context.printer.json => lines.push(line),
            Answer::Line(line) => context.printer.data(&clean(&line))?,
            Answer::Done if context.printer.json => return context.printer.document(&json!({ "lines": lines })),
            Answer::Done => return Ok(()),
            other => return Err(unexpected(&other)),
        }
        answer = control.next().await?;
    }
}
