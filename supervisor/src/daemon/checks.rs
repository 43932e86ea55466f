//! The checks of `polypeer doctor`: those that need no daemon, then those that the daemon makes. Each warning and
//! problem has a remedy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use polypeer_ipc_protocol::ids::PluginId;

use crate::control::documents::{Check, PluginDocument, StatusDocument, Verdict};
use crate::files;
use crate::home::{Home, MAX_SOCKET_PATH};
use crate::limits::Measure;
use crate::store::Store;
use crate::supervise::{PluginStatus, Programs, State, plugin_path};

/// Restarts of the network core from which they are a warning.
const MANY_RESTARTS: u64 = 3;

/// A check that passed.
pub(crate) fn ok(name: &str, found: impl Into<String>) -> Check {
    Check { name: name.into(), result: Verdict::Ok, found: found.into(), remedy: None }
}

/// Something to know that needs no action.
pub(crate) fn info(name: &str, found: impl Into<String>) -> Check {
    Check { result: Verdict::Info, ..ok(name, found) }
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
    let mut checks = vec![folder(home)];
    // A missing file is told by the daemon that runs: it was removed since.
    let is_running = home.daemon().is_some();
    checks.extend((!is_running || home.identity_key().exists()).then(|| key(&home.identity_key())));
    checks.extend((!is_running || home.state_db().exists()).then(|| database(home)));
    checks.extend([sockets(home), netcore(), lib(), python()]);
    checks
}

fn folder(home: &Home) -> Check {
    let root = home.root();
    match std::fs::metadata(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            info("home", format!("{} does not exist yet; `polypeer run` creates it", root.display()))
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
        Ok(metadata) => match files::try_writing(root) {
            Err(error) => problem(
                "home",
                format!("no file can be made in {}: {error}", root.display()),
                "check its permissions, and that its disk is neither full nor read-only",
            ),
            Ok(()) if files::others_may_use(&metadata) => warning(
                "home",
                format!("other users may look into {}", root.display()),
                format!("chmod 700 {}", root.display()),
            ),
            Ok(()) => ok("home", root.display().to_string()),
        },
    }
}

fn key(path: &Path) -> Check {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            info("identity key", "does not exist yet; `polypeer run` creates it")
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
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return info("database", "does not exist yet; `polypeer run` creates it"),
        Err(error) => return problem("database", error.to_string(), "check the permissions of the home"),
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

fn lib() -> Check {
    match Programs::find().ok().and_then(|programs| programs.lib) {
        Some(folder) => ok("shared files", folder.display().to_string()),
        None => warning(
            "shared files",
            "there is no folder with sdk-python beside this program",
            "Python plugins need it: reinstall Polypeer, or keep the program in its source tree",
        ),
    }
}

fn python() -> Check {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| plugin_path().into());
    let found = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file());
    match found {
        Some(path) => ok("python3", path.display().to_string()),
        None => warning("python3", "not found in PATH", "install Python 3: plugins written in Python need it"),
    }
}

/// Checks of the network core, the sources and the peers.
pub(super) fn of_network(status: &StatusDocument) -> Vec<Check> {
    let netcore = &status.netcore;
    let mut checks = vec![match netcore.state.as_str() {
        "ready" if netcore.restarts > MANY_RESTARTS => warning(
            "network core process",
            format!("running; restarted {} times since the daemon started", netcore.restarts),
            "see logs/netcore_.log in the home for the reason",
        ),
        "ready" if netcore.restarts > 0 => info(
            "network core process",
            format!(
                "running; restarted {} times since the daemon started; logs/netcore_.log in the home says why",
                netcore.restarts
            ),
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
    checks.extend(status.listen.as_ref().map(|listen| reach(listen, &status.reach)));
    checks.push(match &status.peers {
        Some(peers) if peers.connected > 0 => ok("peers", format!("{} connected", peers.connected)),
        Some(peers) => {
            info("peers", format!("none connected, {} known; add one with `polypeer peers add TICKET`", peers.known))
        }
        None => warning(
            "peers",
            "unknown: the network core does not answer",
            "see logs/netcore_.log in the home; restart the daemon",
        ),
    });
    checks.extend(status.warnings.iter().map(|text| match text == super::SEED_ONLY {
        true => ok("plugins", text),
        false => warning("node", text, "see logs/netcore_.log in the home"),
    }));
    checks
}

/// Whether other machines can connect to this node.
fn reach(listen: &[String], reach: &str) -> Check {
    let is_loopback =
        |address: &String| address.parse::<SocketAddr>().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    if listen.iter().all(is_loopback) {
        let found = "this node listens on loopback only: no other machine can connect to it";
        return warning("reach", found, "start it without --listen, or with an address of this machine");
    }
    let text = "not known yet: peers of other networks find it out; within one network it does not matter";
    if reach == "unknown" { info("reach", text) } else { ok("reach", reach) }
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
        Some(plugin) if plugin.state == "stopped" && plugin.exit_reason.is_none() => {
            info(&name, format!("stopped; `polypeer plugin start {id}` starts it"))
        }
        Some(plugin) => {
            let reason = plugin.exit_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            warning(&name, format!("{}{reason}", plugin.state), format!("`polypeer plugin start {id}`"))
        }
        None if wanted == Wanted::No => ok(&name, "not installed: bundled_apps = false in config.toml"),
        None => match super::bundle::folder(id.as_str()) {
            Some(_) => info(&name, format!("not installed; `polypeer plugin install {id}` installs it")),
            None => warning(&name, "not installed, and not among the files of this installation", "reinstall Polypeer"),
        },
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
                format!("`polypeer plugin logs {}`", plugin.id),
            ));
        }
    }
    checks.extend(of_confinement(plugins));
    checks
}

/// Two lines at most: what this version lacks, which is the same for everybody, and what this machine does not allow.
fn of_confinement(plugins: &[PluginStatus]) -> Vec<Check> {
    let missing = |of_version: bool| {
        let all = plugins.iter().flat_map(|plugin| &plugin.confinement).filter(|measure| !measure.applied);
        let chosen = all.filter(|measure| is_of_version(measure) == of_version);
        let names: BTreeSet<_> = chosen.map(|measure| measure.measure.replace('_', " ")).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    if plugins.iter().all(|plugin| plugin.confinement.is_empty()) {
        return Vec::new();
    }
    let (of_version, of_machine) = (missing(true), missing(false));
    let mut checks = vec![match of_machine.as_str() {
        "" => ok("confinement", "all measures of this version are applied"),
        _ => warning(
            "confinement",
            format!("plugins are held less strictly on this machine, without: {of_machine}"),
            "run Polypeer with control groups and namespaces delegated to it, or only plugins that you trust; `polypeer \
             plugin info ID --wide` gives each reason",
        ),
    }];
    if !of_version.is_empty() {
        checks.push(info(
            "not yet confined",
            format!("this version does not confine {of_version}; run plugins you trust"),
        ));
    }
    checks
}

/// Whether a measure is missing on every machine.
fn is_of_version(measure: &Measure) -> bool {
    measure.why_not.as_deref().is_some_and(|why| why.contains("this version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(confinement: Vec<Measure>) -> PluginStatus {
        PluginStatus {
            id: "chat".parse().expect("an id"),
            state: State::Ready,
            pid: None,
            restarts: 0,
            exit_reason: None,
            note: None,
            last_line: None,
            too_tight: None,
            usage: crate::supervise::UsageStatus::default(),
            confinement,
        }
    }

    #[test]
    fn what_every_machine_lacks_is_no_warning() {
        let lacks = || Measure::missing("files", "this version hides only Polypeer's own files");
        let checks = of_plugins(&[plugin(vec![Measure::applied("memory"), lacks()]), plugin(vec![lacks()])]);
        let verdicts: Vec<_> = checks.iter().map(|check| check.result).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Info], "{checks:?}");
    }

    #[test]
    fn what_this_machine_does_not_allow_is_one_warning() {
        let measures = ["memory", "pids", "cpu"].map(|name| Measure::missing(name, "no control group"));
        let checks = of_plugins(&[plugin(measures.to_vec()), plugin(measures.to_vec())]);
        let [Check { result: Verdict::Warning, found, remedy: Some(_), .. }] = &checks[..] else {
            panic!("one warning: {checks:?}");
        };
        assert!(found.ends_with("without: cpu, memory, pids"), "{found}");
    }

    #[test]
    fn node_on_loopback_alone_is_a_warning_and_an_unknown_reach_is_not() {
        let verdict = |listen: &[&str], known: &str| {
            let listen: Vec<String> = listen.iter().map(|address| (*address).to_owned()).collect();
            reach(&listen, known).result
        };
        assert_eq!(verdict(&["127.0.0.1:7470", "[::1]:7470"], "unknown"), Verdict::Warning);
        assert_eq!(verdict(&["0.0.0.0:7470"], "unknown"), Verdict::Info);
        assert_eq!(verdict(&["0.0.0.0:7470"], "public"), Verdict::Ok);
    }
}
