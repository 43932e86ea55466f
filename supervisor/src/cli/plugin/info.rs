//! `polypeer plugin info`: everything about one plugin. On a terminal, what matters most comes first and the rest is
//! short.

use clap::Args;
use polypeer_ipc_protocol::ids::PluginId;

use super::super::Context;
use super::ask;
use super::limit::{limits_text, shown_limits};
use crate::cli_error::CliError;
use crate::control::Request;
use crate::control::documents::PluginDocument;
use crate::limits::Measure;
use crate::manifest::values::shown_size;
use crate::output::{Printer, clean, known};

/// Show everything about a plugin
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Id of the plugin, as `polypeer plugin list` shows it
    id: PluginId,
    /// Show also every limit and every measure of confinement, as into a pipe
    #[arg(short, long)]
    wide: bool,
}

impl Info {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let plugin = ask(context, Request::PluginInfo { id: self.id }).await?;
        let printer = context.printer.wide(self.wide);
        printer.either(&plugin, || match printer.width() {
            Some(_) => short_text(&printer, &plugin),
            None => whole_text(&printer, &plugin),
        })
    }
}

fn whole_text(printer: &Printer, plugin: &PluginDocument) -> String {
    let usage = &plugin.usage;
    let mut pairs = vec![
        ("plugin", title(plugin)),
        ("state", state(printer, plugin)),
        ("enabled", if plugin.enabled { "yes" } else { "no" }.into()),
        ("pid", known(plugin.pid)),
        ("restarts", plugin.restarts.to_string()),
        ("last exit", known(plugin.exit_reason.as_deref().map(clean))),
        ("source", source(plugin)),
        ("memory", known(usage.memory_bytes.map(shown_size))),
        ("cpu", known(usage.cpu_percent.map(|percent| format!("{percent:.1} %")))),
        ("processes", known(usage.pids)),
        ("disk", known(usage.disk_bytes.map(shown_size))),
        ("sent", known(usage.sent_bytes.map(shown_size))),
        ("received", known(usage.received_bytes.map(shown_size))),
        ("permissions", permissions(plugin)),
        ("limits", limits_text(plugin, &[])),
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
    printer.pairs(&pairs)
}

fn short_text(printer: &Printer, plugin: &PluginDocument) -> String {
    let usage = &plugin.usage;
    let mut state = state(printer, plugin);
    if let Some(pid) = plugin.pid {
        state += &format!(", pid {pid}");
    }
    if !plugin.enabled {
        state += ", does not start with the daemon";
    }
    match plugin.restarts {
        0 => {}
        1 => state += ", restarted once",
        many => state += &format!(", restarted {many} times"),
    }
    let mut pairs = vec![("plugin", title(plugin))];
    if !plugin.description.is_empty() {
        pairs.push(("description", clean(&plugin.description)));
    }
    pairs.push(("state", state));
    if !plugin.warnings.is_empty() {
        pairs.push(("warnings", plugin.warnings.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")));
    }
    if let Some(reason) = &plugin.exit_reason {
        pairs.push(("last exit", clean(reason)));
    }
    let uses = [
        usage.memory_bytes.map(|bytes| format!("{} of memory", shown_size(bytes))),
        usage.cpu_percent.map(|percent| format!("{percent:.1} % of a core")),
        usage.pids.map(|pids| format!("{pids} processes and threads")),
        usage.disk_bytes.map(|bytes| format!("{} on disk", shown_size(bytes))),
    ];
    pairs.push(("uses", listed(uses.into_iter().flatten().collect(), "-")));
    if let (Some(sent), Some(received)) = (usage.sent_bytes, usage.received_bytes) {
        pairs.push(("traffic", format!("{} sent, {} received", shown_size(sent), shown_size(received))));
    }
    pairs.push(("permissions", permissions(plugin)));
    pairs.push(("limits", listed(shown_limits(plugin), "-")));
    if !plugin.not_enforced.is_empty() {
        pairs.push(("not enforced", listed(plugin.not_enforced.clone(), "-")));
    }
    pairs.push(("source", source(plugin)));
    pairs.push(("confined by", confinement(&plugin.confinement)));
    printer.pairs(&pairs)
}

/// The state, with what it is in the middle of or what is amiss.
fn state(printer: &Printer, plugin: &PluginDocument) -> String {
    let note = plugin.note.as_deref().map(|note| format!(": {}", clean(note))).unwrap_or_default();
    format!("{}{note}", printer.state(&plugin.state))
}

fn title(plugin: &PluginDocument) -> String {
    format!("{} {} ({})", clean(&plugin.name), plugin.version, plugin.id)
}

fn source(plugin: &PluginDocument) -> String {
    format!("{}{}", clean(&plugin.source), if plugin.linked { " (linked)" } else { "" })
}

fn permissions(plugin: &PluginDocument) -> String {
    plugin.grants.in_words.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")
}

/// The measures by name, without the reasons.
fn confinement(measures: &[Measure]) -> String {
    if measures.is_empty() {
        return "nothing yet: it has not been started".into();
    }
    let names = |applied: bool| -> Vec<String> {
        let chosen = measures.iter().filter(|measure| measure.applied == applied);
        chosen.map(|measure| measure.measure.replace('_', " ")).collect()
    };
    let applied = format!("{} of {} measures", names(true).len(), measures.len());
    match names(false) {
        missing if missing.is_empty() => applied,
        missing => format!("{applied}; without {} (--wide says why)", missing.join(", ")),
    }
}

fn listed(items: Vec<String>, none: &str) -> String {
    if items.is_empty() { none.into() } else { items.join(", ") }
}
