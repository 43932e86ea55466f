//! `[log]`: levels and format of the log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Most targets with a level of their own.
pub const MAX_TARGETS: usize = 32;
/// Longest target, bytes.
const MAX_TARGET: usize = 64;
/// Target of the events that the network core's lines become.
pub(crate) const CORE: &str = "netcore";
/// The crates of the daemon.
const DAEMON_CRATES: &[&str] = &["polypeer_supervisor", "polypeer_ipc_protocol"];
/// The crates of the network core.
const CORE_CRATES: &[&str] = &["polypeer_netcore", "polypeer_engine", "polypeer_ipc_protocol"];

/// How much is logged: this, and what is more severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What failed.
    Error,
    /// What may need the operator.
    Warn,
    /// What happens: states of plugins, peers that come and go.
    #[default]
    Info,
    /// For whoever looks for a fault.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level `steps` more detailed, at most [`Self::Trace`].
    pub fn more(self, steps: u8) -> Self {
        let index = (self as usize).saturating_add(steps.into());
        Self::ALL[index.min(Self::ALL.len() - 1)]
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    /// The level of crates of others: their details matter to nobody but whoever wants everything.
    fn of_others(self) -> Self {
        if self == Self::Trace { self } else { self.min(Self::Warn) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter().fmt(f)
    }
}

/// The format of the lines on the daemon's stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// As it suits the reader: a terminal, a file, the journal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A part of the node with a level of its own: `daemon` or `netcore`, or a module of it such as `netcore::peers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Target(String);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split("::");
        let is_part = matches!(parts.next(), Some("daemon" | "netcore"));
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        match is_part && parts.all(is_word) && text.len() <= MAX_TARGET {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "{text:?} is not a part of the node; expected daemon or netcore, or a module such as netcore::peers"
            )),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Of all that has no level of its own.
    pub level: Level,
    pub format: Format,
    /// At most [`MAX_TARGETS`].
    pub targets: BTreeMap<Target, Level>,
}

impl LogSettings {
    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.targets.len() {
            0..=MAX_TARGETS => Ok(()),
            count => Err(format!("{count} targets; expected at most {MAX_TARGETS}")),
        }
    }

    /// What the daemon logs. The network core's lines are filtered there.
    pub(crate) fn daemon_filter(&self) -> Targets {
        Targets::new()
            .with_default(self.level.of_others().filter())
            .with_targets(self.of_part("daemon", DAEMON_CRATES))
            .with_target(CORE, LevelFilter::TRACE)
    }

    /// What the network core logs: what its option `--log` takes.
    pub(crate) fn netcore_filter(&self) -> String {
        let mut text = self.level.of_others().to_string();
        for (target, level) in self.of_part("netcore", CORE_CRATES) {
            text += &format!(",{target}={level}");
        }
        text
    }

    /// The levels of one part's crates and of modules in them.
    fn of_part(&self, part: &str, crates: &[&str]) -> Vec<(String, LevelFilter)> {
        let whole = crates.iter().map(|name| ((*name).to_owned(), self.level.filter()));
        let own = self.targets.iter().filter_map(|(target, level)| {
            let module = target.0.strip_prefix(part)?;
            Some(crates.iter().map(move |name| (format!("{name}{module}"), level.filter())))
        });
        whole.chain(own.flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(targets: &[(&str, Level)]) -> LogSettings {
        let targets = targets.iter().map(|(target, level)| (target.parse().expect("a target"), *level)).collect();
        LogSettings { targets, ..LogSettings::default() }
    }

    #[test]
    fn level_of_a_target_goes_to_its_part_alone() {
        let settings =
            settings(&[("netcore", Level::Error), ("netcore::peers", Level::Debug), ("daemon", Level::Trace)]);
        let core: Targets = settings.netcore_filter().parse().expect("a filter");
        let daemon = settings.daemon_filter();
        for (filter, target, level, passes) in [
            (&core, "polypeer_netcore::core", tracing::Level::INFO, false),
            (&core, "polypeer_netcore::peers::dialer", tracing::Level::DEBUG, true),
            (&core, "polypeer_engine::peers", tracing::Level::DEBUG, true),
            (&core, "quinn", tracing::Level::INFO, false),
            (&core, "quinn", tracing::Level::WARN, true),
            (&daemon, "polypeer_supervisor::store", tracing::Level::TRACE, true),
            (&daemon, "netcore", tracing::Level::DEBUG, true),
            (&daemon, "rusqlite", tracing::Level::INFO, false),
        ] {
            assert_eq!(filter.would_enable(target, &level), passes, "{target} {level}");
        }
    }

    #[test]
    fn targets_are_parts_of_the_node() {
        for good in ["daemon", "netcore", "netcore::peers::dialer"] {
            good.parse::<Target>().expect(good);
        }
        for bad in ["", "chat", "netcore:", "netcore::", "netcorepeers", "netcore::A", "quinn=trace"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_rise_to_the_last() {
        assert_eq!((Level::Info.more(1), Level::Warn.more(200)), (Level::Debug, Level::Trace));
    }
}
