//! The folder of one node, and the only place that knows the paths in it. Two homes are two independent nodes on one
//! machine.
//!
//! [`Home::prepare`] creates it (all folders 0700), [`Home::lock`] ensures that one daemon at a time uses it. `lock` is
//! that lock.

mod lock;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::{Path, PathBuf};

use polypeer_ipc_protocol::ids::PluginId;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;
#[cfg(windows)]
pub(crate) use windows::random_pipe_name;

use crate::files;
pub use lock::HomeLock;

/// Longest path of a Unix socket, bytes. The lowest limit of the platforms is 103.
pub const MAX_SOCKET_PATH: usize = 100;
/// Space that [`Home::sockets`] leaves for names below it, bytes: `/gateway/NNNNNNNNNN/gateway.sock` and a reserve.
pub const SOCKET_ROOM: usize = 44;

/// The home of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Errors of using a home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// An operation on a path failed.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// The operation, to be read after "failed to".
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// Another daemon uses it.
    #[error("a daemon{} already runs on {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), root.display())]
    Running {
        /// Pid of that daemon, if known.
        pid: Option<u32>,
        root: PathBuf,
    },
    /// It has files of something else.
    #[error("{} is not empty and is not a Polypeer home", root.display())]
    Foreign { root: PathBuf },
    /// Other users could change it.
    #[error("{} {problem}", path.display())]
    Unsafe {
        path: PathBuf,
        /// The problem, to be read after the path.
        problem: &'static str,
    },
    /// It belongs to another user.
    #[error("{} belongs to {}", path.display(), owner.as_deref().unwrap_or("another user"))]
    NotOurs {
        path: PathBuf,
        /// That user's name, if it is known.
        owner: Option<String>,
    },
    /// No environment variable names a place for a home.
    #[error("no home folder: neither POLYPEER_HOME nor HOME is set")]
    Nowhere,
    /// Its path is not text, as child processes and documents need it.
    #[error("the path of the home folder is not UTF-8: {}", root.display())]
    NotText { root: PathBuf },
}

impl HomeError {
    /// The error for a path of another user.
    pub(crate) fn not_ours(path: &Path) -> Self {
        let owner = std::fs::metadata(path).ok().and_then(|metadata| files::owner(&metadata));
        Self::NotOurs { path: path.into(), owner }
    }

    /// What to try next.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "check the path, its owner and its permissions, and that the disk is not full".into(),
            Self::Running { root, .. } => {
                let command = |word| Home { root: root.clone() }.command(word);
                format!(
                    "check it with `{}`, stop it with `{}`, or use another --home",
                    command("status"),
                    command("shutdown")
                )
            }
            Self::Foreign { .. } => "give --home an empty folder, or one that does not exist yet".into(),
            Self::Unsafe { path, .. } => {
                format!("`chmod 700` and `chown` {} if it is yours, or use another --home", path.display())
            }
            Self::NotOurs { path, owner } => {
                let (who, path) = (owner.as_deref().unwrap_or("that user"), path.display());
                format!(
                    "run the command as {who} (`sudo -u`); if it is to be yours, `chown -R` {path}; or use another --home"
                )
            }
            Self::Nowhere => "set POLYPEER_HOME, or give --home DIR".into(),
            Self::NotText { .. } => "rename the folder, or give another --home".into(),
        }
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HomeError {
    move |source| HomeError::Io { action, path: path.into(), source }
}

impl Home {
    /// The home at `root`; a relative path is resolved against the working folder.
    pub fn at(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        Self { root: std::path::absolute(root).unwrap_or_else(|_| root.into()) }
    }

    /// The home at `asked`, else at `POLYPEER_HOME`, else in the platform's data folder.
    ///
    /// # Errors
    /// When none of these is known, or the path is not UTF-8.
    pub fn find(asked: Option<&Path>) -> Result<Self, HomeError> {
        let root = asked.map(Path::to_path_buf).or_else(|| variable("POLYPEER_HOME")).or_else(system::data_folder);
        let home = root.map(Self::at).ok_or(HomeError::Nowhere)?;
        if home.root.to_str().is_none() {
            return Err(HomeError::NotText { root: home.root });
        }
        Ok(home)
    }

    /// The folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The operator's configuration.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The node's key; netcore reads it.
    pub fn identity_key(&self) -> PathBuf {
        self.root.join("identity.key")
    }

    /// The database of [`crate::store`].
    pub fn state_db(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// The folder of the installed plugins.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The installed folder of one plugin: its working folder, read-only for it.
    pub fn plugin(&self, id: &PluginId) -> PathBuf {
        self.plugins().join(id.as_str())
    }

    /// The folder of the plugins' data folders.
    pub fn data_root(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The data folder of one plugin, its `HOME`.
    pub fn data(&self, id: &PluginId) -> PathBuf {
        self.data_root().join(id.as_str())
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The present log of one plugin; rotated ones have `.1`, `.2`, … appended.
    pub fn log(&self, id: &PluginId) -> PathBuf {
        self.logs().join(format!("{id}.log"))
    }

    /// The present log of netcore. No plugin can have this name.
    pub fn netcore_log(&self) -> PathBuf {
        self.logs().join("netcore_.log")
    }

    /// The present log of the daemon, with the network core's lines. No plugin can have this name.
    pub fn daemon_log(&self) -> PathBuf {
        self.logs().join("daemon_.log")
    }

    /// The folder of files that only exist while a daemon runs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The secret of the control socket, new at each start.
    pub fn control_key(&self) -> PathBuf {
        self.run().join("control.key")
    }

    pub fn control_socket(&self) -> PathBuf {
        system::control_socket(self)
    }

    /// The socket where metrics are read.
    pub fn metrics_socket(&self) -> PathBuf {
        system::metrics_socket(self)
    }

    fn lock_file(&self) -> PathBuf {
        self.run().join("daemon.lock")
    }

    /// The folder of all sockets: [`Home::run`], or a private folder elsewhere when paths below it would be too long
    /// for the system. Names below it have [`SOCKET_ROOM`] bytes.
    pub fn sockets(&self) -> PathBuf {
        system::sockets(self)
    }

    /// Creates missing folders, all 0700, and checks the owner and permissions of existing ones.
    ///
    /// # Errors
    /// When the folder cannot be created, belongs to something or somebody else, or is writable by others.
    pub fn prepare(&self) -> Result<(), HomeError> {
        let root = &self.root;
        match std::fs::read_dir(root) {
            Ok(mut entries) => {
                let ours = ["state.db", "config.toml", "identity.key", "run"];
                if entries.next().is_some() && !ours.iter().any(|name| root.join(name).exists()) {
                    return Err(HomeError::Foreign { root: root.clone() });
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(HomeError::Io { action: "read the folder", path: root.clone(), source }),
        }
        private_folder(root, Existing::OthersMayRead)?;
        for folder in [self.plugins(), self.root.join("data"), self.logs(), self.run()] {
            private_folder(&folder, Existing::Tighten)?;
        }
        Ok(())
    }

    /// Locks the home for this process and creates the folder of its sockets.
    ///
    /// # Errors
    /// When another daemon uses it, or the folder of the sockets is not safe.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let lock = HomeLock::take(self)?;
        system::place_sockets(self)?;
        Ok(lock)
    }

    /// The daemon that has locked this home, by its pid if that is known; `None` when there is none.
    pub fn daemon(&self) -> Option<Option<u32>> {
        lock::holder(&self.lock_file())
    }

    /// Another node that a command may be meant for, when this is the default home: that of the person who became root
    /// by sudo, if its daemon runs. With that person's name.
    pub fn before_sudo(&self) -> Option<(String, Self)> {
        let default = system::data_folder().is_some_and(|folder| folder == self.root);
        default.then(system::before_sudo).flatten().filter(|(_, home)| home.daemon().is_some())
    }

    /// Creates the folder of the sockets again. Only for the daemon that has locked the home.
    ///
    /// # Errors
    /// As [`Self::lock`].
    pub fn replace_sockets(&self) -> Result<(), HomeError> {
        private_folder(&self.run(), Existing::Tighten)?;
        system::place_sockets(self)
    }

    /// The command line that runs `words` on this home: with `--home`, unless it is the default one.
    pub fn command(&self, words: &str) -> String {
        if system::data_folder().is_some_and(|folder| folder == self.root) {
            return format!("polypeer {words}");
        }
        format!("polypeer --home {} {words}", quoted(&self.root.to_string_lossy()))
    }

    /// Removes the folder of the sockets if it is outside the home and empty; the next start creates it again.
    pub fn leave_sockets(&self) {
        system::leave_sockets(self);
    }

    /// Checks that only this user has access to the folder of the sockets, before a secret is sent to a socket there.
    ///
    /// # Errors
    /// When another user could have put a socket there.
    pub fn check_sockets(&self) -> Result<(), HomeError> {
        system::check_sockets(self)
    }
}

/// A word as a shell takes it: in quotes if it has characters that mean something to a shell.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+:@%,=\\".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A path from the environment; an empty one is none.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// What to do about the permissions of an existing folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    /// Accept that others can read it, but not write to it.
    OthersMayRead,
    /// Remove the permissions of others.
    Tighten,
    /// Refuse it if others have any permission: they may have changed it.
    #[cfg_attr(windows, allow(dead_code, reason = "no folder outside of a home is used there"))]
    MustBePrivate,
}

fn private_folder(path: &Path, existing: Existing) -> Result<(), HomeError> {
    if !path.exists() {
        files::create_private_folder(path).map_err(io("create", path))?;
    }
    match existing {
        Existing::MustBePrivate => check_private(path),
        Existing::Tighten | Existing::OthersMayRead => {
            let metadata = check_owner(path)?;
            if files::others_may_write(&metadata) && existing == Existing::OthersMayRead {
                return Err(HomeError::Unsafe { path: path.into(), problem: "is writable by others" });
            }
            if files::others_may_use(&metadata) && existing == Existing::Tighten {
                files::exclude_others(path).map_err(io("restrict the permissions of", path))?;
            }
            Ok(())
        }
    }
}

fn check_owner(path: &Path) -> Result<std::fs::Metadata, HomeError> {
    let metadata = std::fs::metadata(path).map_err(io("inspect", path))?;
    let problem = |problem| Err(HomeError::Unsafe { path: path.into(), problem });
    if !metadata.is_dir() {
        return problem("is not a folder");
    }
    if !files::is_ours(&metadata) {
        return Err(HomeError::not_ours(path));
    }
    Ok(metadata)
}

fn check_private(path: &Path) -> Result<(), HomeError> {
    let link = std::fs::symlink_metadata(path).map_err(io("inspect", path))?;
    if link.is_symlink() {
        return Err(HomeError::Unsafe { path: path.into(), problem: "is a symbolic link" });
    }
    match files::others_may_use(&check_owner(path)?) {
        false => Ok(()),
        true => Err(HomeError::Unsafe { path: path.into(), problem: "is accessible by others" }),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
