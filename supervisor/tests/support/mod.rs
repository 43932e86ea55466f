//! A world for tests of the supervisor: a temporary home, a fake network core, small plugins written on the spot.

#![allow(dead_code, unreachable_pub, reason = "shared by test programs that each use a part of it")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::PluginId;
use polypeer_supervisor::config::DaemonConfig;
use polypeer_supervisor::home::Home;
use polypeer_supervisor::manifest::{Limits, Manifest};
use polypeer_supervisor::supervise::{PluginSpec, PluginStatus, Programs, StartError, State, Supervisor};
use tempfile::TempDir;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

/// How long anything may take. An emulated machine is slow; a healthy one never gets near it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn id(name: &str) -> PluginId {
    name.parse().expect("a valid id")
}

/// A plugin that runs a shell script.
pub struct Script {
    pub id: String,
    pub script: String,
    /// More lines of the manifest, after `[plugin]`.
    pub manifest: String,
}

impl Script {
    pub fn new(id: &str, script: &str) -> Self {
        Self { id: id.to_owned(), script: script.to_owned(), manifest: "[health]\nready = \"none\"\n".to_owned() }
    }

    pub fn manifest(mut self, text: &str) -> Self {
        self.manifest = text.to_owned();
        self
    }

    /// Writes it into the home as if it were installed.
    pub fn install(&self, home: &Home) -> PluginSpec {
        let id = id(&self.id);
        let folder = home.plugin(&id);
        std::fs::create_dir_all(&folder).expect("writable");
        std::fs::write(folder.join("main.sh"), &self.script).expect("writable");
        let text = format!(
            "[plugin]\nid = \"{}\"\nversion = \"1.0.0\"\ncommand = [\"sh\", \"main.sh\"]\n{}",
            self.id, self.manifest
        );
        let manifest = Manifest::parse(Path::new("plugin.toml"), &text).expect("a valid manifest");
        let limits = Limits::resolve(&[&manifest.limits]);
        let data = home.data(&id);
        PluginSpec { limits, folder, data, grants: Grants::default(), enabled: true, manifest }
    }
}

/// A home with a supervisor running on it.
pub struct World {
    pub folder: TempDir,
    pub home: Home,
    pub supervisor: Supervisor,
    pub exit: JoinHandle<()>,
}

pub fn programs() -> Programs {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Programs {
        polypeer: PathBuf::from(env!("CARGO_BIN_EXE_polypeer")),
        netcore: here.join("tests/support/fake_netcore.py"),
        lib: None,
    }
}

pub fn new_home() -> (TempDir, Home) {
    let folder = tempfile::Builder::new().prefix("pp-").tempdir().expect("a temporary folder");
    let home = Home::at(folder.path().join("h"));
    home.prepare().expect("a new home");
    (folder, home)
}

impl World {
    pub async fn start(scripts: &[Script]) -> Self {
        let (folder, home) = new_home();
        let plugins = scripts.iter().map(|script| script.install(&home)).collect();
        let (supervisor, exit) = start(&home, plugins).await.expect("it starts");
        Self { folder, home, supervisor, exit }
    }

    pub async fn status(&self, name: &str) -> PluginStatus {
        self.supervisor.plugin(&id(name)).await.expect("installed")
    }

    /// Waits until a plugin is in this state.
    pub async fn reaches(&self, name: &str, state: State) -> PluginStatus {
        self.becomes(name, &format!("{state:?}"), |status| status.state == state).await
    }

    /// Waits until a plugin's status is as it should be, looking again whenever its state changes.
    pub async fn becomes(&self, name: &str, what: &str, right: impl Fn(&PluginStatus) -> bool) -> PluginStatus {
        let mut events = self.supervisor.subscribe();
        let waiting = async {
            loop {
                let status = self.status(name).await;
                if right(&status) {
                    return status;
                }
                // Where some were missed the status is looked at, too.
                let has_ended = matches!(events.recv().await, Err(RecvError::Closed));
                assert!(!has_ended, "the supervisor ended before {name} was {what}");
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(status) => status,
            Err(_) => panic!("{name} never is {what}; last: {:?}\n{}", self.status(name).await, self.log(name)),
        }
    }

    pub fn log(&self, name: &str) -> String {
        let text = std::fs::read(self.home.logs().join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for a file in a plugin's data folder, and for its last line to be whole; returns its text.
    pub async fn file(&self, plugin: &str, name: &str) -> String {
        let path = self.home.data(&id(plugin)).join(name);
        let mut text = String::new();
        until(&format!("{} is written", path.display()), || {
            text = std::fs::read_to_string(&path).unwrap_or_default();
            text.ends_with('\n')
        })
        .await;
        text
    }

    pub async fn end(self) {
        self.supervisor.shutdown(Duration::from_secs(20)).await;
        self.exit.await.expect("the task ends in order");
    }
}

pub async fn start(home: &Home, plugins: Vec<PluginSpec>) -> Result<(Supervisor, JoinHandle<()>), StartError> {
    let mut config = DaemonConfig::default();
    config.net.discovery.lan = false;
    Supervisor::start_with(home.clone(), config, plugins, programs()).await
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => !text[text.rfind(')').unwrap_or(0)..].starts_with(") Z"),
        Err(_) => false,
    }
}

/// Processes with this text in their command line or environment.
pub fn marked_processes(mark: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("readable");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        ["cmdline", "environ"].iter().any(|file| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
    };
    let own = i32::try_from(std::process::id()).expect("a pid fits");
    pids.filter(|pid| *pid != own && is_alive(*pid) && has(pid)).collect()
}
