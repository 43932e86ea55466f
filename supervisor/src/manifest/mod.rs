//! `plugin.toml`: what a plugin is, how it runs, its permissions and limits. The whole schema of `docs/design.md`,
//! section 6, is accepted; [`Manifest::not_enforced`] names what this version does not enforce.
//!
//! [`Manifest::load`] is called at install; [`Manifest::parse`] at every start of the daemon, with the stored text. A
//! parsed manifest is valid: names follow their rules, paths stay inside the folder, sizes are bytes, and no keys
//! contradict.
//!
//! [`limits`] and [`permissions`] are the tables of their keys, [`limit_value`] and [`permission_value`] the types of
//! these keys, `health` the checks, [`values`] other values with a syntax of their own. Users: [`crate::install`],
//! [`crate::daemon`], [`crate::supervise`].

mod check;
mod health;
pub mod limit_value;
pub mod limits;
pub mod permission_value;
pub mod permissions;
pub mod values;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use polypeer_ipc_protocol::ids::{NodeId, Pattern, PluginId, Protocol};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use health::{Health, Live, Ready};
pub use limits::{LIMITS, Limit, LimitSettings, Limits};
pub use permissions::{Network, Peers, Permissions, Privacy};

use crate::toml_file::{self, FileError};
use values::TcpAddress;

/// File name of the manifest in a plugin's folder.
pub const FILE_NAME: &str = "plugin.toml";

/// Where an unknown key is looked up.
const REFERENCE: &str = "docs/manifest.md and docs/design.md, section 6, have every key";

/// A complete, valid manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub plugin: Plugin,
    #[serde(default)]
    pub permissions: Permissions,
    /// The author's limits; [`Limits::resolve`] merges them with the operator's.
    #[serde(default)]
    pub limits: LimitSettings,
    #[serde(default)]
    pub restart: Restart,
    #[serde(default)]
    pub health: Health,
    /// Stream forwarding for an unmodified program; `mode = "service"` only.
    #[serde(default)]
    pub tunnel: Vec<Tunnel>,
    /// A proxy for an unmodified program; `mode = "service"` only.
    pub socks5: Option<Socks5>,
    pub ui: Option<Ui>,
}

/// `[plugin]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    pub id: PluginId,
    #[serde(deserialize_with = "version")]
    pub version: semver::Version,
    /// For people; at most 80 characters. Default: the id.
    #[serde(default)]
    pub name: Option<String>,
    /// For people; at most 500 characters.
    #[serde(default)]
    pub description: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: String,
    /// Program and arguments; run in the plugin's folder. The program is a name looked up in `PATH`, a path inside
    /// the folder, or, with `mode = "service"`, an absolute path.
    pub command: Vec<String>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub start: Start,
    /// Idle time after which it is stopped; `start = "on-demand"` only. Default 10 min.
    #[serde(default, deserialize_with = "values::optional_duration")]
    pub idle_stop: Option<Duration>,
    /// Plugins that it requires on this node.
    #[serde(default)]
    pub requires: Vec<PluginId>,
}

/// How a plugin communicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is a client of the gateway.
    #[default]
    Native,
    /// One process per incoming stream, with the stream as its stdin and stdout.
    Stdio,
    /// It is an unmodified program behind tunnels.
    Service,
}

/// When a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Whenever it is enabled.
    #[default]
    Always,
    /// When a stream arrives or is opened. This version treats it as `Always`.
    OnDemand,
    /// When the operator starts it.
    Manual,
}

impl Start {
    /// Whether an enabled plugin starts with the daemon.
    pub fn is_with_daemon(self) -> bool {
        matches!(self, Self::Always | Self::OnDemand)
    }
}

/// `[restart]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    #[serde(default)]
    pub policy: RestartPolicy,
}

/// After which exits a plugin is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    Always,
    /// All but exit status 0.
    #[default]
    OnFailure,
    Never,
}

/// `[[tunnel]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// Protocol whose incoming streams are forwarded to `to`.
    pub serve: Option<Protocol>,
    /// A port in the plugin's own network namespace.
    pub to: Option<TcpAddress>,
    /// Protocol of the streams opened for connections to `from`.
    pub dial: Option<Protocol>,
    /// A port in the plugin's own network namespace.
    pub from: Option<TcpAddress>,
    /// The node that streams are opened to; `None`: any peer that serves the protocol.
    #[serde(default, deserialize_with = "tunnel_peer")]
    pub peer: Option<NodeId>,
}

/// `[socks5]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socks5 {
    /// A loopback address in the plugin's own network namespace.
    pub listen: std::net::SocketAddr,
}

/// `[ui]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ui {
    /// Folder of static files, inside the plugin's folder.
    #[serde(deserialize_with = "inside")]
    pub path: PathBuf,
}

impl Manifest {
    /// Reads `plugin.toml` of `folder`.
    ///
    /// # Errors
    /// When the folder or the manifest is missing or unreadable, or the manifest breaks a rule.
    pub fn load(folder: &Path) -> Result<Self, FileError> {
        let read_error = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => FileError::Missing {
                path: folder.into(),
                hint: "give the path of a plugin's folder: one that holds a plugin.toml".into(),
            },
            _ => FileError::Read { path: folder.into(), source },
        };
        std::fs::read_dir(folder).map_err(read_error)?;
        let path = folder.join(FILE_NAME);
        let text =
            toml_file::read(&path, "a plugin is a folder with a plugin.toml; check that this is the right folder")?;
        Self::parse(&path, &text)
    }

    /// Parses a manifest's text; `path` is only for messages.
    ///
    /// # Errors
    /// When the manifest breaks a rule.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let manifest: Self = toml_file::parse(path, text, REFERENCE)?;
        match check::contradiction(&manifest) {
            Some(found) => Err(toml_file::contradiction(path, text, found)),
            None => Ok(manifest),
        }
    }

    /// The name shown to people.
    pub fn shown_name(&self) -> &str {
        self.plugin.name.as_deref().unwrap_or(self.plugin.id.as_str())
    }

    /// The readiness check, with the default of the mode.
    pub fn ready(&self) -> Ready {
        let default = if self.plugin.mode == Mode::Native { Ready::Session } else { Ready::None };
        self.health.ready.unwrap_or(default)
    }

    /// The keys that are set and that this version does not enforce, as `section.key`; `limits` are the author's with
    /// the operator's over them.
    pub fn not_enforced(&self, limits: &LimitSettings) -> Vec<String> {
        let mut found = Vec::new();
        let mut say = |set: bool, key: &str| {
            if set {
                found.push(key.to_owned());
            }
        };
        say(self.plugin.mode == Mode::Stdio, "plugin.mode = \"stdio\"");
        say(self.plugin.mode == Mode::Service, "plugin.mode = \"service\"");
        say(self.plugin.start == Start::OnDemand, "plugin.start = \"on-demand\"");
        say(self.plugin.idle_stop.is_some(), "plugin.idle_stop");
        say(!self.tunnel.is_empty(), "tunnel");
        say(self.socks5.is_some(), "socks5");
        say(self.ui.is_some(), "ui");
        say(self.health.live.as_ref().is_some_and(|live| *live != Live::Session), "health.live");
        found.extend(self.permissions.not_enforced().iter().map(|key| format!("permissions.{key}")));
        found.extend(limits.not_enforced().iter().map(|key| format!("limits.{key}")));
        found
    }

    /// What its operator should know: it says one thing and another is missing for it to have an effect.
    pub fn warnings(&self) -> Vec<String> {
        let served = &self.permissions.serve.0;
        if served.is_empty() || self.permissions.peers != Peers::None {
            return Vec::new();
        }
        let names: Vec<_> = served.iter().map(ToString::to_string).collect();
        vec![format!(
            "it serves {} and no peer can reach it: its manifest does not say peers = \"any\" or \"list\"",
            names.join(", ")
        )]
    }
}

/// Whether `path` is relative and has no `..`.
fn stays_inside(path: &Path) -> bool {
    !path.as_os_str().is_empty()
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn inside<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if stays_inside(&path) {
        return Ok(path);
    }
    Err(D::Error::custom(format!(
        "{:?} leaves the plugin's folder; expected a relative path without \"..\"",
        path.display().to_string()
    )))
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<semver::Version, D::Error> {
    let text = String::deserialize(deserializer)?;
    let told = |error| {
        D::Error::custom(format!("{text:?} is not a version ({error}); expected three numbers such as \"1.2.0\""))
    };
    text.parse().map_err(told)
}

fn tunnel_peer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeId>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "any" => Ok(None),
        id => id
            .parse()
            .map(Some)
            .map_err(|_| D::Error::custom(format!("{id:?} is not a peer; expected any or a node id"))),
    }
}

/// Whether one of `patterns` matches `protocol`.
fn allowed(patterns: &[Pattern], protocol: &Protocol) -> bool {
    patterns.iter().any(|pattern| pattern.allows(protocol.as_str()))
}

#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;
