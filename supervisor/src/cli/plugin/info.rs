//! `polypeer plugin info`: everything about one plugin.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;

use super::super::Context;
use super::ask;
use super::limit::limits_text;
use crate::cli_error::CliError;
use crate::control::Request;
use crate::control::documents::PluginDocument;
use crate::manifest::values::shown_size;
use crate::output::{clean, known};

/// Show everything about a plugin
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Plugin id
    id: PluginId,
}

impl Info {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let plugin = ask(context, Request::PluginInfo { id: self.id }).await?;
        context.printer.either(&plugin, || info_text(context, &plugin))
    }
}

fn note(text: &str) -> String {
    format!(": {}", clean(text))
}

fn info_text(context: &Context, plugin: &PluginDocument) -> String {
    let usage = &plugin.usage;
    let mut pairs = vec![
        ("plugin", format!("{} {} ({})", clean(&plugin.name), plugin.version, plugin.id)),
        ("state", format!("{}{}", plugin.state, plugin.note.as_deref().map(note).unwrap_or_default())),
        ("enabled", if plugin.enabled { "yes" } else { "no" }.into()),
        ("pid", known(plugin.pid)),
        ("restarts", plugin.restarts.to_string()),
        ("last exit", known(plugin.exit_reason.as_deref().map(clean))),
        ("source", format!("{}{}", clean(&plugin.source), if plugin.linked { " (linked)" } else { "" })),
        ("memory", known(usage.memory_bytes.map(shown_size))),
        ("cpu", known(usage.cpu_percent.map(|percent| format!("{percent:.1} %")))),
        ("processes", known(usage.pids)),
        ("disk", known(usage.disk_bytes.map(shown_size))),
        ("sent", known(usage.sent_bytes.map(shown_size))),
        ("received", known(usage.received_bytes.map(shown_size))),
        ("permissions", plugin.grants.in_words.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")),
        ("limits", limits_text(plugin)),
    ];
    if !plugin.warnings.is_empty() {
        pairs.insert(2, ("warnings", plugin.warnings.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")));
    }
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
