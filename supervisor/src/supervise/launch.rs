//! What a plugin or netcore is started with: the one place that knows the environment, what is hidden, and which
//! namespaces are asked for.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::gateway::{Gateway, folder_of_all};
use super::{PluginSpec, Programs};
use crate::config::DaemonConfig;
use crate::home::Home;
use crate::limits::sampled;
use crate::manifest::{Network, Ready};
use crate::process::message::{Isolation, Kept, Setup};
use crate::process::spawn::Launch;

/// Open files of netcore: every peer, plugin and stream takes one or two.
const NETCORE_OPEN_FILES: u64 = 65_536;

/// A plugin's launch. Makes its data folder.
pub(super) fn of_plugin(spec: &PluginSpec, gateway: &Gateway, home: &Home, programs: &Programs) -> io::Result<Launch> {
    let temporary = spec.data.join("tmp");
    DirBuilder::new().recursive(true).mode(0o700).create(&temporary)?;
    // The kernel's view of where things are; a link in a path would lead around what is hidden.
    let folder = fs::canonicalize(&spec.folder)?;
    let data = fs::canonicalize(&spec.data)?;
    let sockets = fs::canonicalize(&gateway.folder)?;
    let root = fs::canonicalize(home.root())?;
    let mut hidden = vec![root.clone()];
    let all_sockets = fs::canonicalize(home.sockets())?;
    if !all_sockets.starts_with(&root) {
        hidden.push(all_sockets);
    }
    let mut environment = inherited(&["LANG", "TZ"]);
    environment.push(path());
    let mut set = |name: &str, value: &OsStr| environment.push((name.to_owned(), value.to_string_lossy().into_owned()));
    set("HOME", data.as_os_str());
    set("TMPDIR", data.join("tmp").as_os_str());
    set("POLYPEER_GATEWAY", sockets.join("gateway.sock").as_os_str());
    set("POLYPEER_TOKEN", OsStr::new(&gateway.token.to_text()));
    set("POLYPEER_PLUGIN", OsStr::new(spec.id().as_str()));
    set("POLYPEER_DATA", data.as_os_str());
    set("PYTHONUNBUFFERED", OsStr::new("1"));
    if let Some(share) = &programs.share {
        set("PYTHONPATH", share.join("sdk-python").as_os_str());
    }
    let keep = |path: &PathBuf, writable| Kept { path: path.clone(), writable };
    Ok(Launch {
        name: format!("{}-{}", spec.id(), gateway.number),
        polypeer: programs.polypeer.clone(),
        mark: gateway.folder.clone(),
        isolation: Isolation {
            user: !nix::unistd::geteuid().is_root(),
            process: true,
            network: spec.manifest.permissions.network == Network::None,
        },
        setup: Setup {
            command: spec.manifest.plugin.command.clone(),
            kept: vec![keep(&folder, false), keep(&data, true), keep(&sockets, true)],
            folder,
            environment,
            hidden,
            open_files: spec.limits.open_files.into(),
            processes: Some(spec.limits.pids),
            low_ports: false,
            ready_port: match spec.manifest.ready() {
                Ready::Tcp(port) => Some(port),
                Ready::Session | Ready::Notify | Ready::None => None,
            },
        },
        descriptors: Vec::new(),
        limits: Some(spec.limits.clone()),
    })
}

/// Netcore's launch; `admin` becomes its descriptor 3. `listen` goes before what `config` says of it.
pub(super) fn of_netcore(
    number: u64,
    admin: OwnedFd,
    listen: &[SocketAddr],
    home: &Home,
    config: &DaemonConfig,
    programs: &Programs,
) -> Launch {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut command = vec![text(&programs.netcore), "--home".to_owned(), text(home.root())];
    for address in listen {
        command.extend(["--listen".to_owned(), address.to_string()]);
    }
    discovery_options(config, &mut command);
    command.extend(["--network".to_owned(), config.network.clone()]);
    let mut environment = inherited(&["LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"]);
    environment.push(path());
    Launch {
        name: format!("netcore_-{number}"),
        polypeer: programs.polypeer.clone(),
        mark: folder_of_all(&home.sockets()).join("netcore"),
        isolation: Isolation { user: false, process: false, network: false },
        setup: Setup {
            command,
            folder: home.root().to_owned(),
            environment,
            hidden: Vec::new(),
            kept: Vec::new(),
            open_files: open_files_within(NETCORE_OPEN_FILES),
            processes: None,
            low_ports: true,
            ready_port: None,
        },
        descriptors: vec![admin],
        limits: None,
    }
}

/// What netcore is told of finding peers; only what differs from its defaults.
fn discovery_options(config: &DaemonConfig, command: &mut Vec<String>) {
    let discovery = &config.discovery;
    let mut switch = |off: bool, name: &str| command.extend(off.then(|| name.to_owned()));
    switch(!config.lan || !discovery.lan, "--no-lan");
    switch(!discovery.remembered, "--no-remembered");
    switch(!discovery.builtin, "--no-builtin");
    switch(!discovery.exchange, "--no-exchange");
    switch(!discovery.dht, "--no-dht");
    switch(config.seed_only, "--seed-only");
    let mut set = |name: &str, value: &dyn std::fmt::Display| command.push(format!("--{name}={value}"));
    discovery.dns_seeds.iter().for_each(|seed| set("dns-seed", seed));
    discovery.resolver.iter().for_each(|resolver| set("resolver", resolver));
    discovery.list.iter().for_each(|entry| set("seed", entry));
    if discovery.mainline.enabled {
        set("mainline", &discovery.mainline.port);
        discovery.mainline.bootstrap.iter().for_each(|node| set("mainline-bootstrap", node));
    }
    config.peers.low.iter().for_each(|low| set("low", low));
    config.peers.high.iter().for_each(|high| set("high", high));
}

fn inherited(names: &[&str]) -> Vec<(String, String)> {
    names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

fn path() -> (String, String) {
    let usual = || "/usr/local/bin:/usr/bin:/bin".to_owned();
    ("PATH".to_owned(), std::env::var("PATH").unwrap_or_else(|_| usual()))
}

/// As many as asked for, or as many as we may have ourselves.
fn open_files_within(wanted: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, most)| most.min(wanted))
}

/// See [`super::Supervisor::is_confined`].
pub(super) fn is_confined(pid: i32, tag: &str) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/pid"));
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"));
    match (namespace("self"), namespace(&pid.to_string()), groups) {
        (Ok(ours), Ok(theirs), Ok(groups)) => {
            ours != theirs || groups.contains(&format!("/polypeer-{tag}/")) || is_below_us(pid)
        }
        _ => true,
    }
}

/// Whether this process started another, over any number of generations: we and every plugin's init are subreapers, so
/// a process that lost its parents stays below us. What is left to go by where a plugin has neither group nor namespace.
fn is_below_us(pid: i32) -> bool {
    let ours = i32::try_from(std::process::id()).expect("a pid fits");
    sampled::descendants(&sampled::processes(), ours).iter().any(|process| process.pid == pid && pid != ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_started_may_be_a_plugins_and_who_started_us_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        assert!(is_confined(i32::try_from(child.id()).expect("a pid fits"), "none"));
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert!(!is_confined(nix::unistd::getppid().as_raw(), "none"));
        assert!(!is_confined(nix::unistd::getpid().as_raw(), "none"));
    }
}
