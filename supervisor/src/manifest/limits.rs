//! What a plugin may use. Three people may set a limit: the plugin's author in `[limits]` of the manifest, the operator
//! for all plugins in `[limits]` of `config.toml`, the operator for one plugin by `polypeer plugin limit`. Each is a
//! [`LimitSettings`]; [`Limits::resolve`] lays them over the defaults.

use serde::{Deserialize, Serialize, Serializer};

use super::values::{self, Quota, Rate, Window, shown_size};
use crate::toml_file::closest;

/// Least memory a plugin can be given, bytes: less and not even its init starts.
pub const MIN_MEMORY: u64 = 8 << 20;

/// Limits as somebody set them; what is absent is left to the next one.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Of the whole process tree, bytes. Default 256 MiB.
    #[serde(default, deserialize_with = "values::optional_size")]
    pub memory: Option<u64>,
    /// Beside the memory, bytes. Default 0.
    #[serde(default, deserialize_with = "values::optional_size")]
    pub swap: Option<u64>,
    /// Ceiling, percent of one core. Default 100.
    #[serde(default, deserialize_with = "values::optional_percent")]
    pub cpu: Option<u32>,
    /// Share when the processor is contended, 1 to 10,000. Default 100.
    pub cpu_weight: Option<u32>,
    /// Share when the disk is contended, 1 to 10,000. Default 100.
    pub io_weight: Option<u32>,
    /// Processes and threads. Default 64.
    pub pids: Option<u32>,
    /// Open files of each process. Default 256.
    pub open_files: Option<u32>,
    /// Its data folder, bytes. Default 1 GiB.
    #[serde(default, deserialize_with = "values::optional_size")]
    pub disk: Option<u64>,
    /// To peers. Default unlimited.
    pub upload: Option<Rate>,
    /// From peers. Default unlimited.
    pub download: Option<Rate>,
    /// Share of contended traffic, 1 to 10,000. Default 100.
    pub traffic_weight: Option<u32>,
    /// Whether it belongs to the latency class. Default no.
    pub latency: Option<bool>,
    /// Traffic over a longer time. Default none.
    pub quota: Option<Quota>,
    /// When it may run. Default always.
    pub schedule: Option<Vec<Window>>,
}

/// The names of all limits, in the order of the manifest.
pub const KEYS: &[&str] = &[
    "memory",
    "swap",
    "cpu",
    "cpu_weight",
    "io_weight",
    "pids",
    "open_files",
    "disk",
    "upload",
    "download",
    "traffic_weight",
    "latency",
    "quota",
    "schedule",
];

/// Limits this version stores and does not apply.
const NOT_ENFORCED: &[&str] =
    &["io_weight", "disk", "upload", "download", "traffic_weight", "latency", "quota", "schedule"];

impl LimitSettings {
    /// One setting as the operator typed it, `memory=512MiB`: the key, and the settings that hold only it.
    ///
    /// # Errors
    /// What is wrong and what was expected, as text.
    pub fn from_argument(argument: &str) -> Result<(String, String, Self), String> {
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| format!("{argument:?} is not a limit; expected KEY=VALUE such as memory=512MiB"))?;
        let (key, value) = (key.trim(), value.trim());
        Ok((key.into(), value.into(), Self::from_text(key, value)?))
    }

    /// The settings that hold one key with its value as text.
    ///
    /// # Errors
    /// What is wrong and what was expected, as text.
    pub fn from_text(key: &str, value: &str) -> Result<Self, String> {
        if !KEYS.contains(&key) {
            let meant = closest(key, KEYS).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            return Err(format!("there is no limit {key:?}; expected one of {}{meant}", KEYS.join(", ")));
        }
        let value = match key {
            "cpu_weight" | "io_weight" | "pids" | "open_files" | "traffic_weight" => {
                toml::Value::Integer(value.parse().map_err(|_| format!("{key}: expected a whole number"))?)
            }
            "latency" => toml::Value::Boolean(value.parse().map_err(|_| format!("{key}: expected true or false"))?),
            "schedule" => value.split(',').filter(|part| !part.is_empty()).collect::<Vec<_>>().into(),
            _ => value.into(),
        };
        let table = toml::Table::from_iter([(key.to_owned(), value)]);
        let settings: Self =
            table.try_into().map_err(|error: toml::de::Error| format!("{key}: {}", error.message()))?;
        settings.check().map_err(|(key, what)| format!("{key}: {what}"))?;
        Ok(settings)
    }

    /// Lays `over` upon these.
    pub fn overlaid(self, over: &Self) -> Self {
        let over = over.clone();
        Self {
            memory: over.memory.or(self.memory),
            swap: over.swap.or(self.swap),
            cpu: over.cpu.or(self.cpu),
            cpu_weight: over.cpu_weight.or(self.cpu_weight),
            io_weight: over.io_weight.or(self.io_weight),
            pids: over.pids.or(self.pids),
            open_files: over.open_files.or(self.open_files),
            disk: over.disk.or(self.disk),
            upload: over.upload.or(self.upload),
            download: over.download.or(self.download),
            traffic_weight: over.traffic_weight.or(self.traffic_weight),
            latency: over.latency.or(self.latency),
            quota: over.quota.or(self.quota),
            schedule: over.schedule.or(self.schedule),
        }
    }

    /// The key and what is wrong with it, if a number is out of its range.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let range = |key, value: Option<u32>, low: u32, high: u32| match value {
            Some(value) if !(low..=high).contains(&value) => {
                Err((key, format!("{value} is out of range; expected {low} to {high}")))
            }
            _ => Ok(()),
        };
        range("cpu_weight", self.cpu_weight, 1, 10_000)?;
        range("io_weight", self.io_weight, 1, 10_000)?;
        range("traffic_weight", self.traffic_weight, 1, 10_000)?;
        range("pids", self.pids, 1, 100_000)?;
        range("open_files", self.open_files, 16, 1_048_576)?;
        match self.memory {
            Some(memory) if memory < MIN_MEMORY => {
                Err(("memory", format!("{} is too little; expected at least 8MiB", shown_size(memory))))
            }
            _ => Ok(()),
        }
    }

    /// The keys that are set and that this version does not apply.
    pub fn not_enforced(&self) -> Vec<&'static str> {
        let set = [
            self.io_weight.is_some(),
            self.disk.is_some(),
            matches!(self.upload, Some(Rate::PerSecond(_))),
            matches!(self.download, Some(Rate::PerSecond(_))),
            self.traffic_weight.is_some(),
            self.latency == Some(true),
            self.quota.is_some(),
            self.schedule.as_ref().is_some_and(|windows| !windows.is_empty()),
        ];
        NOT_ENFORCED.iter().zip(set).filter(|(_, set)| *set).map(|(key, _)| *key).collect()
    }
}

/// The limits in force, none left open. As JSON: the names of `polypeer plugin info --json`, units in the name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// Of the whole process tree.
    pub memory_bytes: u64,
    /// Beside the memory.
    pub swap_bytes: u64,
    /// Ceiling, of one core.
    pub cpu_percent: u32,
    /// Share when the processor is contended, 1 to 10,000.
    pub cpu_weight: u32,
    /// Share when the disk is contended, 1 to 10,000.
    pub io_weight: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Open files of each process.
    pub open_files: u32,
    /// Its data folder.
    pub disk_bytes: u64,
    /// To peers, bytes a second; absent in JSON when unlimited.
    #[serde(rename = "upload_bytes_per_s", serialize_with = "rate", skip_serializing_if = "is_unlimited")]
    pub upload: Rate,
    /// From peers, bytes a second; absent in JSON when unlimited.
    #[serde(rename = "download_bytes_per_s", serialize_with = "rate", skip_serializing_if = "is_unlimited")]
    pub download: Rate,
    /// Share of contended traffic, 1 to 10,000.
    pub traffic_weight: u32,
    /// Whether it belongs to the latency class.
    pub latency: bool,
    /// Traffic over a longer time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// When it may run; empty: always.
    pub schedule: Vec<Window>,
}

fn rate<S: Serializer>(rate: &Rate, serializer: S) -> Result<S::Ok, S::Error> {
    match rate {
        Rate::Unlimited => serializer.serialize_none(),
        Rate::PerSecond(bytes) => serializer.serialize_u64(*bytes),
    }
}

fn is_unlimited(rate: &Rate) -> bool {
    *rate == Rate::Unlimited
}

impl Limits {
    /// The limits in force: each of `layers` over those before it, all over the defaults.
    pub fn resolve(layers: &[&LimitSettings]) -> Self {
        let set = layers.iter().fold(LimitSettings::default(), |below, above| below.overlaid(above));
        Self {
            memory_bytes: set.memory.unwrap_or(256 << 20),
            swap_bytes: set.swap.unwrap_or(0),
            cpu_percent: set.cpu.unwrap_or(100),
            cpu_weight: set.cpu_weight.unwrap_or(100),
            io_weight: set.io_weight.unwrap_or(100),
            pids: set.pids.unwrap_or(64),
            open_files: set.open_files.unwrap_or(256),
            disk_bytes: set.disk.unwrap_or(1 << 30),
            upload: set.upload.unwrap_or(Rate::Unlimited),
            download: set.download.unwrap_or(Rate::Unlimited),
            traffic_weight: set.traffic_weight.unwrap_or(100),
            latency: set.latency.unwrap_or(false),
            quota: set.quota,
            schedule: set.schedule.unwrap_or_default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::resolve(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_win_and_absent_ones_fall_through() {
        let author = LimitSettings { memory: Some(64 << 20), pids: Some(10), ..Default::default() };
        let (_, _, operator) = LimitSettings::from_argument("memory=512MiB").expect("a limit");
        let limits = Limits::resolve(&[&author, &operator]);
        assert_eq!((limits.memory_bytes, limits.pids, limits.swap_bytes), (512 << 20, 10, 0));
    }

    #[test]
    fn every_key_can_be_set_by_argument_and_bad_ones_say_why() {
        for good in [
            "memory=16MiB",
            "swap=0",
            "cpu=50%",
            "cpu_weight=5",
            "io_weight=5",
            "pids=3",
            "open_files=64",
            "disk=1GiB",
            "upload=1MiB/s",
            "download=unlimited",
            "traffic_weight=1",
            "latency=true",
            "quota=1GiB/day",
            "schedule=01:00-02:00,03:00-04:00",
        ] {
            let (key, _, settings) = LimitSettings::from_argument(good).expect(good);
            assert!(KEYS.contains(&key.as_str()) && settings != LimitSettings::default(), "{good}");
        }
        let error = |argument| LimitSettings::from_argument(argument).expect_err("refused");
        assert!(error("memry=1MiB").contains("did you mean \"memory\""));
        assert!(error("memory=lots").contains("256MiB"));
        assert!(error("memory=1KiB").contains("at least 8MiB"));
        assert!(error("pids=0").contains("1 to 100000"));
        assert!(error("memory").contains("KEY=VALUE"));
    }
}
