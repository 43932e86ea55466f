//! The checks of `polypeer doctor`: those that need no daemon, then those that the daemon makes. Each warning and
//! problem has a remedy.

use std::path::Path;

use polypeer_ipc_protocol::ids::PluginId;

use crate::control::documents::{Check, PluginDocument, StatusDocument, Verdict};
use crate::files;
use crate::home::{Home, MAX_SOCKET_PATH};
use crate::store::Store;
use crate::supervise::{PluginStatus, Programs, State};

/// A check that passed.
pub(crate) fn ok(name: &str, found: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Ok, found: found.into(), remedy: None }
}

/// Something works, but worse than it could.
pub(crate) fn warning(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Warning, found: found.into(), remedy: Some(remedy.into()) }
}

/// Something does not work.
pub(crate) fn problem(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Problem, found: found.into(), remedy: Some(remedy.into()) }
}

/// Checks of the home and of this installation.
pub(crate) fn of_home(home: &Home) -> Vec<Check> {
    vec![folder(home), key(&home.identity_key()), database(home), sockets(home), netcore(), share(), python()]
}

fn folder(home: &Home) -> Check {
    let root = home.root();
    match std::fs::metadata(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            warning("home", format!("{} does not exist yet", root.display()), "`polypeer run` creates it")
        }
        Err(error) => problem("home", format!("{}: {error}", root.display()), "check the path and its permissions"),
        Ok(metadata) if !metadata.is_dir() => {
            problem("home", format!("{} is not a folder", root.display()), "give another --home")
        }
        Ok(metadata) if !files::is_ours(&metadata) => problem(
            "home",
            format!("{} belongs to another user", root.display()),
            "run as that user, or give another --home",
        ),
        Ok(metadata) if files::others_may_write(&metadata) => problem(
            "home",
            format!("{} is writable by others", root.display()),
            format!("chmod 700 {}", root.display()),
        ),
        Ok(_) => ok("home", root.display().to_string()),
    }
}

fn key(path: &Path) -> Check {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            warning("identity key", "does not exist yet", "`polypeer run` creates it")
        }
        Err(error) => problem("identity key", error.to_string(), "check the permissions of the home"),
        Ok(metadata) if !metadata.is_file() => problem(
            "identity key",
            format!("{} is not a regular file", path.display()),
            "restore the key from a backup",
        ),
        Ok(metadata) if files::others_may_use(&metadata) => problem(
            "identity key",
            "readable by others",
            format!("chmod 600 {}; others may already have copied it", path.display()),
        ),
        Ok(_) => ok("identity key", "private"),
    }
}

fn database(home: &Home) -> Check {
    let path = home.state_db();
    if !path.exists() {
        return warning("database", "does not exist yet", "`polypeer run` creates it");
    }
    match Store::check(&path) {
        Ok(()) => ok("database", "intact"),
        Err(error) => problem("database", error.to_string(), error.hint()),
    }
}

fn sockets(home: &Home) -> Check {
    let folder = home.sockets();
    if folder == home.run() {
        return ok("sockets", "in the home");
    }
    if !folder.exists() {
        return ok(
            "sockets",
            format!(
                "will be in {}, because the path of the home is too long (socket paths have at most {MAX_SOCKET_PATH} bytes)",
                folder.display()
            ),
        );
    }
    match home.check_sockets() {
        Ok(()) => ok("sockets", format!("in {}, because the path of the home is too long", folder.display())),
        Err(error) => problem("sockets", error.to_string(), error.hint()),
    }
}

fn netcore() -> Check {
    match Programs::find() {
        Ok(programs) if programs.netcore.is_file() => ok("network core", programs.netcore.display().to_string()),
        Ok(programs) => {
            let found = format!("{} is missing", programs.netcore.display());
            problem("network core", found, "install it in the folder of the program polypeer")
        }
        Err(error) => problem("network core", error.to_string(), "check the installation"),
    }
}

fn share() -> Check {
    match Programs::find().ok().and_then(|programs| programs.share) {
        Some(folder) => ok("shared files", folder.display().to_string()),
        None => warning(
            "shared files",
            "there is no folder with sdk-python beside this program",
            "Python plugins need it: reinstall Polypeer, or keep the program in its source tree",
        ),
    }
}

fn python() -> Check {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file()));
    match found {
        Some(path) => ok("python3", path.display().to_string()),
        None => warning("python3", "not found in PATH", "install Python 3: plugins written in Python need it"),
    }
}

/// Checks of the network core, the sources and the peers.
pub(super) fn of_network(status: &StatusDocument) -> Vec<Check> {
    let netcore = &status.netcore;
    let mut checks = vec![match netcore.state.as_str() {
        "ready" if netcore.restarts > 0 => warning(
            "network core process",
            format!("running; restarted {} times since the daemon started", netcore.restarts),
            "see logs/netcore_.log in the home for the reason",
        ),
        "ready" => ok("network core process", "running"),
        state => problem("network core process", state, "see logs/netcore_.log in the home; restart the daemon"),
    }];
    for source in status.sources.iter().flatten() {
        let name = format!("source {}", source.name);
        checks.push(match (&source.problem, source.enabled) {
            (Some(found), _) => warning(
                &name,
                found,
                "the other sources still find peers; add one by hand with `polypeer peers add TICKET`",
            ),
            (None, false) => ok(&name, "off"),
            (None, true) => ok(&name, format!("{} found", source.found)),
        });
    }
    checks.push(match &status.peers {
        Some(peers) if peers.connected > 0 => ok("peers", format!("{} connected", peers.connected)),
        Some(peers) => warning(
            "peers",
            format!("none connected, {} known", peers.known),
            "add one with `polypeer peers add TICKET`",
        ),
        None => warning(
            "peers",
            "unknown: the network core does not answer",
            "see logs/netcore_.log in the home; restart the daemon",
        ),
    });
    checks.extend(status.warnings.iter().map(|text| match text == super::SEED_ONLY {
        true => ok("plugins", text),
        false => warning("warning", text, "see logs/netcore_.log in the home"),
    }));
    checks
}

/// Whether the operator wants the bundled apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Yes,
    /// `bundled_apps = false`.
    No,
    /// The daemon runs with `--seed-only`.
    NotNow,
}

/// Check of one bundled app.
pub(super) fn of_app(id: &PluginId, plugin: Option<&PluginDocument>, wanted: Wanted) -> Check {
    let name = format!("app {id}");
    match plugin {
        _ if wanted == Wanted::NotNow => ok(&name, "not started: the daemon runs with --seed-only"),
        Some(plugin) if plugin.state == "ready" => ok(&name, "ready"),
        Some(plugin) => {
            let reason = plugin.exit_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            warning(&name, format!("{}{reason}", plugin.state), format!("polypeer plugin start {id}"))
        }
        None if wanted == Wanted::No => ok(&name, "not installed: bundled_apps = false in config.toml"),
        None => warning(&name, "not installed", format!("build it, then `polypeer plugin install contrib/apps/{id}`")),
    }
}

/// Failed plugins, and measures of confinement that this machine cannot apply.
pub(super) fn of_plugins(plugins: &[PluginStatus]) -> Vec<Check> {
    let mut checks = Vec::new();
    for plugin in plugins {
        if plugin.state == State::Failed {
            let reason = plugin.exit_reason.as_deref().unwrap_or("not running");
            checks.push(problem(
                &format!("plugin {}", plugin.id),
                reason,
                format!("polypeer plugin logs {}", plugin.id),
            ));
        }
    }
    let missing = |plugin: &&PluginStatus| plugin.confinement.iter().any(|measure| !measure.applied);
    // The reasons are the machine's, so one plugin is enough to report them.
    match plugins.iter().find(missing) {
        Some(plugin) => checks.extend(plugin.confinement.iter().filter(|measure| !measure.applied).map(|measure| {
            let why = measure.why_not.as_deref().unwrap_or("not applied");
            let remedy = match why.contains("this version") {
                true => "run only plugins that you trust",
                false => "run Polypeer as a service that is delegated these rights",
            };
            warning(&format!("confinement {}", measure.measure), why, remedy)
        })),
        None if plugins.iter().any(|plugin| !plugin.confinement.is_empty()) => {
            checks.push(ok("confinement", "all measures are applied"));
        }
        None => {}
    }
    checks
}
