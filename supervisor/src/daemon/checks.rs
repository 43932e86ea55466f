//! What `polypeer doctor` looks at: first what can be seen without a daemon, then what the daemon knows. Each finding
//! says what to do.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use polypeer_ipc_protocol::ids::PluginId;

use crate::control::documents::{Check, PluginDocument, StatusDocument, Verdict};
use crate::home::{Home, MAX_SOCKET_PATH};
use crate::store::Store;
use crate::supervise::{PluginStatus, Programs, State};

/// As it should be.
pub(crate) fn ok(name: &str, found: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Ok, found: found.into(), remedy: None }
}

/// Works less well than it could.
pub(crate) fn warning(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Warning, found: found.into(), remedy: Some(remedy.into()) }
}

/// Does not work.
pub(crate) fn problem(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Problem, found: found.into(), remedy: Some(remedy.into()) }
}

/// What the folder and this installation look like.
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
        Ok(metadata) if metadata.uid() != nix::unistd::geteuid().as_raw() => problem(
            "home",
            format!("{} belongs to another user", root.display()),
            "run as that user, or give another --home",
        ),
        Ok(metadata) if metadata.mode() & 0o022 != 0 => problem(
            "home",
            format!("{} can be written to by others", root.display()),
            format!("chmod 700 {}", root.display()),
        ),
        Ok(_) => ok("home", root.display().to_string()),
    }
}

fn key(path: &Path) -> Check {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            warning("identity key", "there is none yet", "`polypeer run` creates it")
        }
        Err(error) => problem("identity key", error.to_string(), "check the permissions of the home"),
        Ok(metadata) if !metadata.is_file() => {
            problem("identity key", format!("{} is not a regular file", path.display()), "put the key back from a copy")
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => problem(
            "identity key",
            "others can read it",
            format!("chmod 600 {}; if others had access, it may be known", path.display()),
        ),
        Ok(_) => ok("identity key", "private"),
    }
}

fn database(home: &Home) -> Check {
    let path = home.state_db();
    if !path.exists() {
        return warning("database", "there is none yet", "`polypeer run` creates it");
    }
    match Store::check(&path) {
        Ok(()) => ok("database", "sound"),
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
            format!("will be in {}: the path of the home is over {MAX_SOCKET_PATH} bytes", folder.display()),
        );
    }
    match home.check_sockets() {
        Ok(()) => ok("sockets", format!("in {}, as the path of the home is long", folder.display())),
        Err(error) => problem("sockets", error.to_string(), error.hint()),
    }
}

fn netcore() -> Check {
    match Programs::find() {
        Ok(programs) if programs.netcore.is_file() => ok("network core", programs.netcore.display().to_string()),
        Ok(programs) => {
            let found = format!("{} is missing", programs.netcore.display());
            problem("network core", found, "install it beside the program polypeer")
        }
        Err(error) => problem("network core", error.to_string(), "check the installation"),
    }
}

fn share() -> Check {
    match Programs::find().ok().and_then(|programs| programs.share) {
        Some(folder) => ok("shared files", folder.display().to_string()),
        None => warning(
            "shared files",
            "no folder with sdk-python beside this program",
            "Python plugins need it: reinstall, or keep the program where it was built",
        ),
    }
}

fn python() -> Check {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file()));
    match found {
        Some(path) => ok("python3", path.display().to_string()),
        None => warning("python3", "not found in PATH", "plugins written in Python need it"),
    }
}

/// What the daemon says of the network.
pub(super) fn of_network(status: &StatusDocument) -> Vec<Check> {
    let netcore = &status.netcore;
    let mut checks = vec![match netcore.state.as_str() {
        "ready" if netcore.restarts > 0 => warning(
            "network core runs",
            format!("yes; restarts since the daemon's start: {}", netcore.restarts),
            "see logs/netcore_.log in the home for why",
        ),
        "ready" => ok("network core runs", "yes"),
        state => problem("network core runs", state, "see logs/netcore_.log in the home; restart the daemon"),
    }];
    for source in status.sources.iter().flatten() {
        let name = format!("source {}", source.name);
        checks.push(match (&source.problem, source.enabled) {
            (Some(found), _) => {
                warning(&name, found, "peers are found by the other sources, or by `polypeer peers add TICKET`")
            }
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
        None => warning("peers", "not known", "the network core does not answer"),
    });
    checks.extend(status.warnings.iter().map(|text| match text == super::SEED_ONLY {
        true => ok("plugins", text),
        false => warning("warning", text, "see the log of the network core"),
    }));
    checks
}

/// Whether the operator wants the bundled apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// As usual.
    Yes,
    /// `bundled_apps = false`.
    No,
    /// This run starts no plugins.
    NotNow,
}

/// How a bundled app is.
pub(super) fn of_app(id: &PluginId, plugin: Option<&PluginDocument>, wanted: Wanted) -> Check {
    let name = format!("app {id}");
    match plugin {
        _ if wanted == Wanted::NotNow => ok(&name, "not started, as --seed-only says"),
        Some(plugin) if plugin.state == "ready" => ok(&name, "ready"),
        Some(plugin) => {
            let reason = plugin.exit_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            warning(&name, format!("{}{reason}", plugin.state), format!("polypeer plugin start {id}"))
        }
        None if wanted == Wanted::No => ok(&name, "not installed, as config.toml says"),
        None => warning(&name, "not installed", format!("build it, then `polypeer plugin install contrib/apps/{id}`")),
    }
}

/// What confines plugins here and what could not be applied.
pub(super) fn of_plugins(plugins: &[PluginStatus]) -> Vec<Check> {
    let mut checks = Vec::new();
    for plugin in plugins {
        if plugin.state == State::Failed {
            let reason = plugin.exit_reason.as_deref().unwrap_or("it does not run");
            checks.push(problem(
                &format!("plugin {}", plugin.id),
                reason,
                format!("polypeer plugin logs {}", plugin.id),
            ));
        }
    }
    let missing = |plugin: &&PluginStatus| plugin.confinement.iter().any(|measure| !measure.applied);
    // The reasons lie in the machine, so one plugin stands for all.
    match plugins.iter().find(missing) {
        Some(plugin) => checks.extend(plugin.confinement.iter().filter(|measure| !measure.applied).map(|measure| {
            let why = measure.why_not.as_deref().unwrap_or("not applied");
            let remedy = match why.contains("this version") {
                true => "keep to plugins you trust with it",
                false => "run it as a service, which hands these rights over",
            };
            warning(&format!("confinement {}", measure.measure), why, remedy)
        })),
        None if plugins.iter().any(|plugin| !plugin.confinement.is_empty()) => {
            checks.push(ok("confinement", "every measure is applied"));
        }
        None => {}
    }
    checks
}
