//! Launches of plugins and netcore: command, environment, hidden folders, namespaces and limits of each.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::transport::admin::AdminEnd;

use super::environment::{folders, inherited};
use super::gateway::{Gateway, folder_of_all};
use super::host::{is_root, open_files_within};
use super::{PluginSpec, Programs};
use crate::config::LogSettings;
use crate::files::{create_private_folder, real_path};
use crate::home::Home;
use crate::install;
use crate::manifest::{Network, Ready};
use crate::process::launch::{Isolation, Kept, Launch, Setup};

/// Open files of netcore: each peer, plugin and stream takes one or two.
const NETCORE_OPEN_FILES: u64 = 65_536;

/// The launch of a plugin. Creates its data folder. Looks through the folder of a linked plugin, which may take long,
/// and fails if others may change it by now.
pub(super) fn of_plugin(spec: &PluginSpec, gateway: &Gateway, home: &Home, programs: &Programs) -> io::Result<Launch> {
    let temporary = spec.data.join("tmp");
    create_private_folder(&temporary)?;
    install::check_at_start(&spec.folder).map_err(|error| io::Error::other(format!("{error}; {}", error.hint())))?;
    // Resolved paths: a symbolic link in a path would bypass what is hidden.
    let folder = real_path(&spec.folder)?;
    let data = real_path(&spec.data)?;
    let sockets = real_path(&gateway.folder)?;
    let root = real_path(home.root())?;
    let mut hidden = vec![root.clone()];
    let all_sockets = real_path(&home.sockets())?;
    if !all_sockets.starts_with(&root) {
        hidden.push(all_sockets);
    }
    let mut environment = inherited(&["LANG", "TZ"]);
    environment.extend(folders(&data));
    let mut set = |name: &str, value: &OsStr| environment.push((name.to_owned(), value.to_string_lossy().into_owned()));
    set("POLYPEER_GATEWAY", gateway.address_in(&sockets).as_os_str());
    set("POLYPEER_TOKEN", OsStr::new(&gateway.token.to_text()));
    set("POLYPEER_PLUGIN", OsStr::new(spec.id().as_str()));
    set("POLYPEER_DATA", data.as_os_str());
    set("POLYPEER_DISK_LIMIT", OsStr::new(&spec.limits.disk_bytes.to_string()));
    set("PYTHONUNBUFFERED", OsStr::new("1"));
    if let Some(lib) = &programs.lib {
        set("PYTHONPATH", lib.join("sdk-python").as_os_str());
    }
    let keep = |path: &PathBuf, writable| Kept { path: path.clone(), writable };
    Ok(Launch {
        name: format!("{}-{}", spec.id(), gateway.number),
        title: format!("polypeer: init of {}", spec.id()),
        mark: gateway.folder.clone(),
        isolation: Isolation {
            groups: Vec::new(),
            user: !is_root(),
            process: true,
            network: spec.manifest.permissions.network == Network::None,
        },
        setup: Setup {
            command: spec.manifest.plugin.command.clone(),
            kept: vec![keep(&folder, false), keep(&data, true), keep(&sockets, true)],
            folder,
            environment,
            hidden,
            rlimits: vec![("open_files".into(), spec.limits.open_files.into())],
            processes: Some(spec.limits.pids),
            low_ports: false,
            ready_port: match spec.manifest.ready() {
                Ready::Tcp(port) => Some(port),
                Ready::Session | Ready::Notify | Ready::None => None,
            },
        },
        admin: None,
        limits: Some(spec.limits.clone()),
    })
}

/// Launch of netcore; `admin` is the session that it inherits.
pub(super) fn of_netcore(number: u64, admin: AdminEnd, home: &Home, programs: &Programs, log: &LogSettings) -> Launch {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut command = vec![text(&programs.netcore), "--home".to_owned(), text(home.root())];
    command.extend(["--log".to_owned(), log.netcore_filter()]);
    let environment = inherited(&["LANG", "TZ", "RUST_BACKTRACE"]);
    Launch {
        name: format!("netcore_-{number}"),
        title: "polypeer: init of the network core".to_owned(),
        mark: folder_of_all(&home.sockets()).join("netcore"),
        isolation: Isolation::default(),
        setup: Setup {
            command,
            folder: home.root().to_owned(),
            environment,
            hidden: Vec::new(),
            kept: Vec::new(),
            rlimits: vec![("open_files".into(), open_files_within(NETCORE_OPEN_FILES))],
            processes: None,
            low_ports: true,
            ready_port: None,
        },
        admin: Some(admin),
        limits: None,
    }
}
