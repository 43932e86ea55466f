//! `config.toml` of a home: what the operator set for the whole node. Every key has a default, so the file may be
//! missing. Options of `polypeer run` go over it.

use std::net::SocketAddr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::home::Home;
use crate::manifest::LimitSettings;
use crate::toml_file::{self, Contradiction, FileError};

/// Most addresses to listen on.
pub const MAX_LISTEN: usize = 16;

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// UDP addresses of the node, `IP:PORT`; port 0 means any. Empty: 0.0.0.0:7470 and [::]:7470, or the next free
    /// port.
    pub listen: Vec<SocketAddr>,
    /// Whether to find peers on the local network. Default yes.
    pub lan: bool,
    /// Which nodes of a local network belong together. Default `main`.
    #[serde(deserialize_with = "network_name")]
    pub network: String,
    /// Whether the bundled apps are installed into a new home. Default yes.
    pub bundled_apps: bool,
    /// Defaults for plugins that do not set a limit themselves.
    pub limits: LimitSettings,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            lan: true,
            network: "main".into(),
            bundled_apps: true,
            limits: LimitSettings::default(),
        }
    }
}

fn network_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let fits = (1..=32).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits {
        Ok(name)
    } else {
        Err(D::Error::custom(format!("{name:?} is not a network name; expected 1 to 32 of a-z, 0-9 and '-'")))
    }
}

impl DaemonConfig {
    /// Reads the configuration of `home`; the defaults when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or breaks a rule.
    pub fn load(home: &Home) -> Result<Self, FileError> {
        let path = home.config_file();
        let text = match toml_file::read(&path, "") {
            Ok(text) => text,
            Err(FileError::Missing { .. }) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let config: Self = toml_file::parse(&path, &text)?;
        let place = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let wrong = |place, what, hint: &str| {
            toml_file::contradiction(&path, &text, Contradiction { place, what, hint: hint.into() })
        };
        if config.listen.len() > MAX_LISTEN {
            let what = format!("{} addresses; expected at most {MAX_LISTEN}", config.listen.len());
            return Err(wrong(place(&["listen"]), what, "use 0.0.0.0 and [::] to listen on every interface"));
        }
        if let Err((key, what)) = config.limits.check() {
            return Err(wrong(place(&["limits", key]), what, "correct the value"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<DaemonConfig, FileError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(folder.path());
        std::fs::write(home.config_file(), text).expect("the file is written");
        DaemonConfig::load(&home)
    }

    #[test]
    fn missing_and_empty_files_mean_the_defaults() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(DaemonConfig::load(&Home::at(folder.path())).expect("no file"), DaemonConfig::default());
        assert_eq!(load("").expect("an empty file"), DaemonConfig::default());
    }

    #[test]
    fn every_key_is_read() {
        let config = load(
            "listen = [\"127.0.0.1:0\", \"[::1]:7\"]\nlan = false\nnetwork = \"test-1\"\nbundled_apps = false\n[limits]\nmemory = \"64MiB\"\n",
        )
        .expect("a whole file");
        assert_eq!(config.listen.len(), 2);
        assert_eq!((config.lan, config.network.as_str(), config.bundled_apps), (false, "test-1", false));
        assert_eq!(config.limits.memory, Some(64 << 20));
    }

    #[test]
    fn mistakes_are_told_with_place_and_suggestion() {
        for (text, expected) in [
            ("lan = true\nlisen = []\n", "config.toml:2:1: unknown key \"lisen\""),
            ("listen = [\"localhost:1\"]", "socket address"),
            ("network = \"A B\"", "1 to 32 of a-z"),
            ("[limits]\nmemory = \"1KiB\"", "config.toml:2:1: 1 KiB is too little"),
            ("lan = 1", "boolean"),
        ] {
            let told = load(text).expect_err("refused").to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
