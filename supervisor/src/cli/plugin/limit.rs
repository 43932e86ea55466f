//! `polypeer plugin limit`: the limits in force, and the operator's own.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;
use serde_json::json;

use super::super::Context;
use super::ask;
use crate::cli_error::CliError;
use crate::control::Request;
use crate::control::documents::PluginDocument;
use crate::manifest::limits::{self, KEYS, LIMITS, LimitSettings};

/// Show or change the limits of a plugin
#[derive(Debug, Args)]
#[command(after_help = keys_text())]
pub(super) struct Limit {
    /// Id of the plugin, as `polypeer plugin list` shows it
    id: PluginId,
    /// Limit to set, such as memory=512MiB; KEY=default removes your setting
    #[arg(value_name = "KEY=VALUE")]
    limits: Vec<String>,
}

impl Limit {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let limits = self.limits.iter().map(|text| parse_limit(text)).collect::<Result<Vec<_>, _>>()?;
        let changed: Vec<String> = limits.iter().map(|(key, _)| key.clone()).collect();
        let plugin = ask(context, Request::PluginLimit { id: self.id, limits }).await?;
        let is_set = |key: &&String| plugin.overrides.contains_key(*key) && is_not_enforced(&plugin, key);
        for key in changed.iter().filter(is_set) {
            context.printer.say(format!("{key} is stored, and not enforced by this version: it limits nothing yet"));
        }
        let not_enforced: Vec<_> = plugin.not_enforced.iter().filter_map(|key| key.strip_prefix("limits.")).collect();
        let document = json!({ "limits": plugin.limits, "overrides": plugin.overrides, "not_enforced": not_enforced });
        context.printer.either(&document, || limits_text(&plugin, &changed))
    }
}

/// The keys with their meaning, for `--help`.
fn keys_text() -> String {
    let line = |limit: &limits::Limit| {
        let note = if limit.is_enforced { "" } else { " (not enforced yet)" };
        format!("  {:14}  {}{note}", limit.key, limit.meaning.trim_end_matches('.'))
    };
    format!("Keys:\n{}", LIMITS.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// The limits in force, one a line: those that were changed, else all. Those the operator set are marked.
pub(super) fn limits_text(plugin: &PluginDocument, changed: &[String]) -> String {
    let Some(limits) = plugin.limits.as_object() else { return "-".into() };
    let line = |limit: &limits::Limit| {
        let own = if plugin.overrides.contains_key(limit.key) { " (set by you)" } else { "" };
        let idle = if is_not_enforced(plugin, limit.key) { " (not enforced by this version)" } else { "" };
        format!("{} {}{own}{idle}", limit.key, limit.shown(limits.get(limit.json)))
    };
    let shown = LIMITS.iter().filter(|limit| changed.is_empty() || changed.iter().any(|key| key == limit.key));
    shown.map(line).collect::<Vec<_>>().join("\n")
}

fn is_not_enforced(plugin: &PluginDocument, key: &str) -> bool {
    plugin.not_enforced.iter().any(|one| one.strip_prefix("limits.") == Some(key))
}

/// The limits that an install shows, and those that the operator set, as phrases.
pub(super) fn shown_limits(plugin: &PluginDocument) -> Vec<String> {
    let Some(limits) = plugin.limits.as_object() else { return Vec::new() };
    let phrase = |limit: &limits::Limit| match plugin.overrides.contains_key(limit.key) {
        true if is_not_enforced(plugin, limit.key) => {
            Some(format!("{} (set by you, not enforced by this version)", limit.phrase(limits.get(limit.json))))
        }
        true => Some(format!("{} (set by you)", limit.phrase(limits.get(limit.json)))),
        false => limit.is_shown_at_install().then(|| limit.phrase(limits.get(limit.json))),
    };
    LIMITS.iter().filter_map(phrase).collect()
}

fn parse_limit(text: &str) -> Result<(String, Option<String>), CliError> {
    let hint = "such as: `polypeer plugin limit chat memory=512MiB cpu=50%`";
    if let Some((key, "default")) = text.split_once('=')
        && KEYS.contains(&key)
    {
        return Ok((key.into(), None));
    }
    let (key, value, _) = LimitSettings::from_argument(text).map_err(|what| CliError::usage(what, hint))?;
    Ok((key, Some(value)))
}
